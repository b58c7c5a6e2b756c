"""Files as trace-cmd writes them, made of parts that a test chooses."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

import zstandard

MAGIC = b"\x17\x08\x44tracing"
COMMON = (
    "\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n"
    "\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n"
    "\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n"
    "\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n"
)
# Compressors as trace-cmd calls them; its Zstandard frames have no content size.
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "zlib": zlib.compress,
    "zstd": lambda data: zstandard.ZstdCompressor(write_content_size=False).compress(data),
}


@dataclass(frozen=True)
class Kind:
    """How is an event laid out? `fields`: (C type, name, struct code), arrays as "u64[]"."""

    system: str
    name: str
    fields: tuple[tuple[str, str, str], ...]
    shown: str

    def format(self, number: int) -> bytes:
        lines, at = [], 8
        for type_, name, code in self.fields:
            size = struct.calcsize(code)
            at += -at % size
            signed = int(code.islower())
            kind = f"__data_loc {type_}" if type_.endswith("[]") else type_
            lines.append(f"\tfield:{kind} {name};\toffset:{at};\tsize:{size};\tsigned:{signed};\n")
            at += size
        return (
            f"name: {self.name}\nID: {number}\nformat:\n{COMMON}{''.join(lines)}\n"
            f"print fmt: {self.shown}\n"
        ).encode()

    def record(self, number: int, *values: int | str | list[int]) -> bytes:
        fixed, tail, at = struct.pack("<HBBi", number, 1, 0, 1), b"", 8
        length = 8
        for _, _, code in self.fields:
            length += -length % struct.calcsize(code) + struct.calcsize(code)
        for (type_, _, code), value in zip(self.fields, values, strict=True):
            size = struct.calcsize(code)
            fixed += bytes(-at % size)
            at += -at % size + size
            if isinstance(value, int):
                fixed += struct.pack("<" + code, value)
                continue
            width = "Q" if "64" in type_ else "I"
            data = (
                value.encode() + b"\0"
                if isinstance(value, str)
                else struct.pack(f"<{len(value)}{width}", *value)
            )
            fixed += struct.pack("<I", len(data) << 16 | length + len(tail))
            tail += data
        return fixed + tail


DIR = (
    '__print_symbolic(REC->dir, { 0, "BIDIRECTIONAL" }, { 1, "TO_DEVICE" }, '
    '{ 2, "FROM_DEVICE" }, { 3, "NONE" })'
)
ATTRS = (
    '__print_flags(REC->attrs, "|", { (1UL << 1), "WEAK_ORDERING" }, '
    '{ (1UL << 5), "SKIP_CPU_SYNC" }, { (1UL << 8), "NO_WARN" })'
)
DEVICE = ("char[]", "device", "I")
WAY, BITS = ("enum dma_data_direction", "dir", "I"), ("unsigned long", "attrs", "Q")
ADDRESS, SIZE = ("u64", "dma_addr", "Q"), ("size_t", "size", "Q")


def array(name: str, width: int = 64) -> str:
    bytes_ = width // 8
    return (
        f"__print_array(__get_dynamic_array({name}), __get_dynamic_array_len({name}) / {bytes_}, "
        f"{bytes_})"
    )


def dma(name: str, shown: str, *fields: tuple[str, str, str]) -> Kind:
    return Kind("dma", name, fields, shown)


def _single(name: str, *extra: tuple[str, str, str], attrs: bool = True) -> Kind:
    text = '"%s dir=%s dma_addr=%llx size=%zu'
    arguments = f"__get_str(device), {DIR}, REC->dma_addr, REC->size"
    for _, field_, _ in extra:
        text += f" {field_}={'%p' if field_ == 'virt_addr' else '%llx'}"
        arguments += f", REC->{field_}"
    if attrs:
        text, arguments = text + " attrs=%s", f"{arguments}, {ATTRS}"
    end = (BITS,) if attrs else ()
    return dma(name, f'{text}", {arguments}', DEVICE, *extra, ADDRESS, SIZE, WAY, *end)


_VIRT, _PHYS = ("void *", "virt_addr", "Q"), ("u64", "phys_addr", "Q")
KINDS = {
    kind.name: kind
    for kind in (
        *(_single(f"dma_map_{what}", _PHYS) for what in ("phys", "page", "resource")),
        *(_single(f"dma_unmap_{what}") for what in ("phys", "page", "resource")),
        *(_single(f"dma_sync_single_for_{who}", attrs=False) for who in ("cpu", "device")),
        *(_single(name, _VIRT) for name in ("dma_alloc", "dma_alloc_pages", "dma_free")),
        dma(
            "dma_map_sg",
            f'"%s dir=%s dma_addrs=%s sizes=%s phys_addrs=%s attrs=%s", __get_str(device), {DIR}, '
            f"{array('dma_addrs')}, {array('lengths', 32)}, {array('phys_addrs')}, {ATTRS}",
            DEVICE,
            ("u64[]", "phys_addrs", "I"),
            ("u64[]", "dma_addrs", "I"),
            ("unsigned int[]", "lengths", "I"),
            WAY,
            BITS,
        ),
        dma(
            "dma_map_sg_err",
            f'"%s dir=%s dma_addrs=%s err=%d attrs=%s", __get_str(device), {DIR}, '
            f"{array('phys_addrs')}, REC->err, {ATTRS}",
            DEVICE,
            ("u64[]", "phys_addrs", "I"),
            ("int", "err", "i"),
            WAY,
            BITS,
        ),
        dma(
            "dma_unmap_sg",
            f'"%s dir=%s phys_addrs=%s attrs=%s", __get_str(device), {DIR}, {array("addrs")}, '
            f"{ATTRS}",
            DEVICE,
            ("u64[]", "addrs", "I"),
            WAY,
            BITS,
        ),
        dma(
            "dma_sync_sg_for_cpu",
            f'"%s dir=%s dma_addrs=%s sizes=%s", __get_str(device), {DIR}, {array("dma_addrs")}, '
            f"{array('lengths', 32)}",
            DEVICE,
            ("u64[]", "dma_addrs", "I"),
            ("unsigned int[]", "lengths", "I"),
            WAY,
        ),
        Kind(
            "swiotlb",
            "swiotlb_bounced",
            (
                ("char[]", "dev_name", "I"),
                ("u64", "dma_mask", "Q"),
                ("dma_addr_t", "dev_addr", "Q"),
                SIZE,
                ("bool", "force", "B"),
            ),
            '"dev_name: %s dma_mask=%llx dev_addr=%llx size=%zu %s", __get_str(dev_name), '
            'REC->dma_mask, REC->dev_addr, REC->size, REC->force ? "FORCE" : "NORMAL"',
        ),
        Kind(
            "iommu",
            "map",
            (("u64", "iova", "Q"), ("u64", "paddr", "Q"), SIZE),
            '"IOMMU: iova=0x%016llx - 0x%016llx paddr=0x%016llx size=%zu", REC->iova, '
            "REC->iova + REC->size, REC->paddr, REC->size",
        ),
        Kind(
            "iommu",
            "unmap",
            (("u64", "iova", "Q"), SIZE, ("size_t", "unmapped_size", "Q")),
            '"IOMMU: iova=0x%016llx - 0x%016llx size=%zu unmapped_size=%zu", REC->iova, '
            "REC->iova + REC->size, REC->size, REC->unmapped_size",
        ),
        Kind(
            "iommu",
            "io_page_fault",
            (DEVICE, ("char[]", "driver", "I"), ("u64", "iova", "Q"), ("int", "flags", "i")),
            '"IOMMU:%s %s iova=0x%016llx flags=0x%04x", __get_str(driver), __get_str(device), '
            "REC->iova, REC->flags",
        ),
        Kind("dma_fence", "dma_fence_emit", (("unsigned int", "seqno", "I"),), '"%u", REC->seqno'),
    )
}
NUMBERS = {name: 100 + number for number, name in enumerate(KINDS)}


def event(name: str, *values: int | str | list[int], delta: int = 1000) -> bytes:
    """One event as it stands on a page, `delta` nanoseconds after the one before."""
    record = KINDS[name].record(NUMBERS[name], *values)
    record += bytes(-len(record) % 4)
    return struct.pack("<II", delta << 5, len(record) + 4) + record


def a_map(address: int = 0x100_4000_0000, phys: int = 0x4000_0000, delta: int = 1000) -> bytes:
    return event("dma_map_phys", "0000:00:01.0", phys, address, 512, 1, 0, delta=delta)


def as_the_kernel(record: bytes) -> bytes:
    """The kernel writes the size of a record of up to 112 bytes in the word before it.

    Source: Linux 7.2 kernel/trace/ring_buffer.c:rb_update_event, RB_MAX_SMALL_DATA.
    """
    (word,), data = struct.unpack("<I", record[:4]), record[8:]
    return struct.pack("<I", word | len(data) >> 2) + data if len(data) <= 112 else record


def page(*events: bytes, time: int = 5_000_000_000, size: int = 4096, flags: int = 0) -> bytes:
    data = b"".join(events)
    return (struct.pack("<QQ", time, len(data) | flags) + data).ljust(size, b"\0")


@dataclass
class Buffer:
    """One buffer: the pages of each CPU. `name`: empty for the top one."""

    cpus: dict[int, bytes]
    name: str = ""
    clock: str = "local"


@dataclass
class TraceDat:
    """What goes into a file; `options` are (number, data) that come before the others."""

    buffers: list[Buffer]
    page_size: int = 4096
    options: list[tuple[int, bytes]] = field(default_factory=list)
    chunk_pages: int = 2

    def _header_info(self) -> bytes:
        text = (
            "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n"
            "\tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;\n"
            "\tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;\n"
            f"\tfield: char data;\toffset:16;\tsize:{self.page_size - 16};\tsigned:0;\n"
        ).encode()
        made = b""
        for name, data in ((b"header_page\0", text), (b"header_event\0", b"#\n")):
            made += name + struct.pack("<Q", len(data)) + data
        return made

    def _formats(self) -> bytes:
        systems: dict[str, list[bytes]] = {}
        for kind in KINDS.values():
            systems.setdefault(kind.system, []).append(kind.format(NUMBERS[kind.name]))
        made = struct.pack("<I", len(systems))
        for system, formats in systems.items():
            made += system.encode() + b"\0" + struct.pack("<I", len(formats))
            made += b"".join(struct.pack("<Q", len(text)) + text for text in formats)
        return made

    def version_6(self) -> bytes:
        made = MAGIC + b"6\0\0\x08" + struct.pack("<I", self.page_size) + self._header_info()
        made += struct.pack("<I", 0) + self._formats() + struct.pack("<IIQ", 0, 0, 0)
        top, *others = self.buffers
        clock = f"[{top.clock}] other\n\0".encode()
        options = b"".join(option(n, data) for n, data in [*self.options, (4, clock)])
        names = [buffer.name.encode() + b"\0" for buffer in others]
        length = len(made) + 4 + 10 + len(options) + sum(14 + len(n) for n in names) + 2 + 10
        at = length + 16 * len(top.cpus)
        data, tables = bytearray(), []
        for buffer in self.buffers:
            start = at + len(data)
            if buffer is not top:
                data += b"flyrecord\0" + bytes(16 * len(buffer.cpus))
            table = b""
            for pages in buffer.cpus.values():
                data += bytes(-(at + len(data)) % self.page_size)
                table += struct.pack("<QQ", at + len(data), len(pages))
                data += pages
            tables.append((start, table))
            if buffer is not top:
                data[start - at + 10 : start - at + 10 + len(table)] = table
        for name, (start, _) in zip(names, tables[1:], strict=True):
            options += option(3, struct.pack("<Q", start) + name)
        made += struct.pack("<I", len(top.cpus)) + b"options  \0" + options + bytes(2)
        made += b"flyrecord\0" + tables[0][1]
        assert len(made) == at
        return made + bytes(data)

    def version_7(self, algorithm: str = "none") -> bytes:
        made = bytearray(MAGIC + b"7\0\0\x08" + struct.pack("<I", self.page_size))
        made += algorithm.encode() + b"\x001\0"
        pointer = len(made)
        made += bytes(8)
        pack = PACKERS.get(algorithm)

        def section(number: int, data: bytes, packed: bool = True) -> int:
            start = len(made)
            if pack and packed:
                small = pack(data)
                data = struct.pack("<II", len(small), len(data)) + small
            flags = int(bool(pack) and packed)
            made.extend(struct.pack("<HHIQ", number, flags, 0, len(data)) + data)
            return start

        info, formats = section(16, self._header_info()), section(18, self._formats())
        first = [*self.options, (16, struct.pack("<Q", info)), (18, struct.pack("<Q", formats))]
        last = [section(0, b"".join(option(n, data) for n, data in first) + bytes(14), False)]
        made[pointer : pointer + 8] = struct.pack("<Q", last[0])
        for buffer in self.buffers:
            start = len(made)
            made += bytes(16)
            cpus = b""
            for number, pages in buffer.cpus.items():
                made += bytes(-len(made) % self.page_size)
                at = len(made)
                made += self._chunks(pages, pack) if pack else pages
                cpus += struct.pack("<IQQ", number, at, len(made) - at)
            struct.pack_into("<HHIQ", made, start, 3, int(bool(pack)), 0, len(made) - start - 16)
            data = struct.pack("<Q", start) + buffer.name.encode() + b"\0"
            data += buffer.clock.encode() + b"\0"
            data += struct.pack("<II", self.page_size, len(buffer.cpus)) + cpus
            follows = last[-1] + 16 + struct.unpack_from("<Q", made, last[-1] + 8)[0] - 8
            last.append(section(0, option(3, data) + option(0, bytes(8)), False))
            if len(last) == 2:  # the first ends with room for DONE
                struct.pack_into("<HIQ", made, follows - 6, 0, 8, last[-1])
            else:
                struct.pack_into("<Q", made, follows, last[-1])
        return bytes(made)

    def _chunks(self, pages: bytes, pack: Callable[[bytes], bytes]) -> bytes:
        step = self.page_size * self.chunk_pages
        parts = [pages[n : n + step] for n in range(0, len(pages), step)]
        made = struct.pack("<I", len(parts))
        for part in parts:
            small = pack(part)
            made += struct.pack("<II", len(small), len(part)) + small
        return made


def option(number: int, data: bytes) -> bytes:
    return struct.pack("<HI", number, len(data)) + data
