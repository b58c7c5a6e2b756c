"""Which parts has a trace.dat, and what stands in each?

A file of version 6 is one sequence of parts. One of version 7 is a set of sections: the options
tell where the others are, and each may be compressed, the trace data in chunks of whole pages.
Only what tells about DMA is read; options and sections that are not known are skipped.

Whoever wrote the file is not trusted: offsets, counts and sizes are checked before they are used.

Sources: trace-cmd.dat.v6(5), trace-cmd.dat.v7(5); version 6 with buffer instances as trace-cmd
3.1.6 writes it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from topbit.readers.stored_bytes import Bytes
from topbit.readers.trace_dat.cursor import (
    Cursor,
    DamagedError,
    Unpacker,
    UnreadableError,
    text_of,
)
from topbit.readers.trace_dat.event_format import Format, page_layout, read_formats

MAGIC = b"\x17\x08\x44tracing"
SYSTEMS = ("dma", "swiotlb", "iommu")
"""Whose events tell about DMA (directories of events/)."""

_COMPRESSED = 1
_DONE, _DATE, _CPUSTAT, _BUFFER, _TRACECLOCK, _UNAME, _OFFSET, _CPUCOUNT = 0, 1, 2, 3, 4, 5, 7, 8
_HEADER_INFO, _EVENT_FORMATS, _BUFFER_TEXT = 16, 18, 22
_PAGE_SIZES = range(512, (64 << 20) + 1)
_ADDED = re.compile(r"(-?)(?:0x([0-9a-f]{1,16})|(\d{1,19}))\s*$")


@dataclass(frozen=True, slots=True)
class Cpu:
    """Where does the trace data of one CPU stand (bytes in the file)?"""

    number: int
    offset: int
    size: int


@dataclass(slots=True)
class Buffer:
    """What is known about one buffer of the trace, the top one or an instance?

    Attributes:
        name: of the instance; empty for the top one.
        clock: what its times are taken from.
        page_size: bytes.
        cpus: where their data stands.
        compressed: the data is packed in chunks.
    """

    name: str
    clock: str
    page_size: int
    cpus: list[Cpu]
    compressed: bool = False


@dataclass(slots=True)
class TraceDat:
    """What does the file tell, but for the trace data itself?

    Attributes:
        formats: the events that tell about DMA, by number.
        buffers: all but those that hold text.
        uname: what `uname` prints of the machine; empty if it is not told.
        offset: nanoseconds that belong to every time (trace-cmd record --date, --ts-offset).
        overwritten: events lost in the ring buffer, by buffer and CPU, as the kernel counted them.
        has_text: there is a buffer of a latency tracer's text, which is not read.
        damage: what is wrong with parts without which the rest can be read.
    """

    formats: dict[int, Format] = field(default_factory=dict)
    buffers: list[Buffer] = field(default_factory=list)
    uname: str = ""
    offset: int = 0
    overwritten: dict[tuple[str, int], int] = field(default_factory=dict)
    has_text: bool = False
    damage: list[str] = field(default_factory=list)


class File:
    """What does a trace.dat hold?

    Args:
        data: the whole file, which begins with MAGIC.

    Raises:
        DamagedError: nothing of it can be read.
        UnreadableError: it is of a kind that is not read.
    """

    def __init__(self, data: Bytes) -> None:
        self.data = data
        self._unpacker = Unpacker("none", len(data))
        self.told = TraceDat()
        self._clock, self._count, self._stats_of = "local", 0, ""
        head = Cursor(data, len(MAGIC), "the header")
        version = head.string()
        if version not in ("6", "7"):
            raise UnreadableError(f"is a trace.dat of version {version!r}; read are 6 and 7")
        big_endian, _ = head.number(1), head.number(1)
        if big_endian:
            raise UnreadableError("is a trace.dat of a big-endian machine, which is not read")
        self._page_size, self._sub_buffer = head.number(4), 0
        if version == "6":
            self._read_sequence(head)
        else:
            self._unpacker = Unpacker(head.string(), len(data))
            head.string()  # its version
            self._read_sections(head.number(8))
        for buffer in list(self.told.buffers):
            if buffer.page_size not in _PAGE_SIZES:
                self.told.damage.append(f"a page size of {buffer.page_size} bytes")
                self.told.buffers.remove(buffer)

    # Version 6.

    def _read_sequence(self, parts: Cursor) -> None:
        self._read_header_info(parts)
        parts.part = "the ftrace event formats"
        for _ in range(parts.number(4)):
            parts.take(parts.number(8))
        self._read_formats(parts)
        for part, width in (("kallsyms", 4), ("printk formats", 4), ("command lines", 8)):
            parts.part = part
            parts.take(parts.number(width))
        parts.part = "the options"
        count = self._count = parts.number(4)
        kind = parts.take(10)
        instances: list[tuple[int, str]] = []
        if kind.startswith(b"options"):
            while option := parts.number(2):
                data = parts.take(parts.number(4))
                if option == _BUFFER:
                    inside = Cursor(data, 0, "a BUFFER option")
                    instances.append((inside.number(8), inside.string()))
                else:
                    self._read_option(option, data)
            kind = parts.take(10)
        self._read_table("", kind, count, parts)
        for offset, name in instances:
            try:
                table = Cursor(self.data, offset, f"the buffer {name!r}")
                self._read_table(name, table.take(10), self._count, table)
            except DamagedError as error:
                self.told.damage.append(str(error))

    def _read_table(self, name: str, kind: bytes, count: int, table: Cursor) -> None:
        """Which CPUs has a buffer?"""
        if kind.startswith(b"latency"):
            self.told.has_text = True
            return
        if not kind.startswith(b"flyrecord"):
            raise DamagedError(f"{table.part}: no trace data at offset 0x{table.at:x}")
        cpus = []
        table.part = "the table of CPUs"
        try:
            for number in range(count):
                cpus.append(Cpu(number, table.number(8), table.number(8)))
        except DamagedError as error:
            self.told.damage.append(str(error))
        page_size = self._sub_buffer or self._page_size
        self.told.buffers.append(Buffer(name, self._clock, page_size, cpus))

    # Version 7.

    def _read_sections(self, offset: int) -> None:
        found: dict[int, int] = {}
        seen: set[int] = set()
        buffers: list[bytes] = []
        try:
            while offset and offset not in seen:
                seen.add(offset)
                offset = self._read_options(offset, found, buffers)
            if offset:
                raise DamagedError(f"the options lead back to offset 0x{offset:x}")
        except DamagedError as error:
            if not buffers:
                raise
            self.told.damage.append(str(error))
        if _EVENT_FORMATS not in found:
            raise DamagedError("it has no event formats")
        if _HEADER_INFO in found:
            self._read_header_info(Cursor(self._section(found[_HEADER_INFO]), 0, "the header info"))
        self._read_formats(Cursor(self._section(found[_EVENT_FORMATS]), 0, "the event formats"))
        for data in buffers:
            try:
                self._read_buffer(Cursor(data, 0, "a BUFFER option"))
            except DamagedError as error:
                self.told.damage.append(str(error))

    def _read_options(self, offset: int, found: dict[int, int], buffers: list[bytes]) -> int:
        """Where do the next options stand? 0 if there are none."""
        options = Cursor(self._section(offset), 0, f"the options at 0x{offset:x}")
        while True:
            option = options.number(2)
            data = options.take(options.number(4))
            if option == _DONE:
                return int.from_bytes(data[:8], "little")
            if option == _BUFFER:
                buffers.append(data)
            elif option == _BUFFER_TEXT:
                self.told.has_text = True
            elif option in (_HEADER_INFO, _EVENT_FORMATS):
                found[option] = int.from_bytes(data[:8], "little")
            else:
                self._read_option(option, data)

    def _read_buffer(self, option: Cursor) -> None:
        offset, name, clock = option.number(8), option.string(), option.string()
        page_size, count = option.number(4), option.number(4)
        cpus = [Cpu(option.number(4), option.number(8), option.number(8)) for _ in range(count)]
        if not name and self._sub_buffer:
            # trace-cmd 3.1 does not know of sub-buffers larger than a page.
            page_size = self._sub_buffer
        _, flags, _ = self._section_header(offset)
        compressed = bool(flags & _COMPRESSED)
        self.told.buffers.append(Buffer(name, clock, page_size, cpus, compressed))

    def _section_header(self, offset: int) -> tuple[int, int, int]:
        """Which section stands there, with which flags, and how many bytes of it follow?"""
        header = Cursor(self.data, offset, "a section")
        number, flags, _, size = struct.unpack("<HHIQ", header.take(16))
        return number, flags, size

    def _section(self, offset: int) -> bytes:
        """What stands in a section, unpacked?"""
        number, flags, size = self._section_header(offset)
        raw = Cursor(self.data, offset + 16, f"section {number}").take(size)
        self._unpacker.spend(size, f"section {number}")
        if not flags & _COMPRESSED:
            return raw
        packed = Cursor(raw, 0, f"section {number}")
        compressed, unpacked = packed.number(4), packed.number(4)
        return self._unpacker.unpack(packed.take(compressed), unpacked, f"section {number}")

    # Both.

    def _read_header_info(self, info: Cursor) -> None:
        info.part = "the header info"
        page = text_of(info.named(b"header_page\0"))
        info.named(b"header_event\0")
        layout = page_layout(page)
        if layout is None:
            return
        if layout[0] != 16:
            raise UnreadableError("is a trace.dat of a 32-bit kernel, which is not read")
        self._sub_buffer = sum(layout)

    def _read_formats(self, formats: Cursor) -> None:
        formats.part = "the event formats"
        for _ in range(formats.number(4)):
            system = formats.string()
            for _ in range(formats.number(4)):
                text = formats.take(formats.number(8))
                if system in SYSTEMS:
                    self.told.formats |= read_formats(text.decode("utf-8", "replace"))

    def _read_option(self, option: int, data: bytes) -> None:
        text = text_of(data)
        if option == _TRACECLOCK and (clock := re.search(r"\[([\w-]+)\]", text)):
            self._clock = clock[1]
        elif option == _UNAME:
            self.told.uname = text.strip()
        elif option == _CPUCOUNT:
            self._count = int.from_bytes(data[:4], "little")
        elif option in (_DATE, _OFFSET) and (added := _ADDED.match(text)):
            value = int(added[2], 16) if added[2] else int(added[3])
            # The date is told in microseconds, the offset in nanoseconds.
            self.told.offset += (-value if added[1] else value) * (1000 if option == _DATE else 1)
        elif option == _CPUSTAT:
            self._read_stats(text)

    def _read_stats(self, text: str) -> None:
        """How many events did the kernel lose on one CPU (its per_cpu/cpuN/stats)?"""
        if name := re.search(r"^Buffer: (.*)$", text, re.MULTILINE):
            self._stats_of = name[1]
        cpu = re.search(r"^CPU: (\d{1,9})$", text, re.MULTILINE)
        lost = re.findall(r"^(?:overrun|dropped events): (\d{1,18})$", text, re.MULTILINE)
        if cpu:
            self.told.overwritten[self._stats_of, int(cpu[1])] = sum(map(int, lost))

    def trace_data(self, buffer: Buffer, cpu: Cpu, block: int) -> Iterator[bytes]:
        """Which pages hold the trace of this CPU, about `block` bytes at a time?

        Raises:
            DamagedError: a part of it is missing or damaged; what stands before it was given.
        """
        part = f"CPU {cpu.number}"
        if not cpu.size:
            return
        if buffer.compressed:
            # The size is not asked: trace-cmd 3.1 leaves the count of the chunks out of it.
            chunks = Cursor(self.data, cpu.offset, part)
            for _ in range(chunks.number(4)):
                compressed, unpacked = chunks.number(4), chunks.number(4)
                yield self._unpacker.unpack(chunks.take(compressed), unpacked, part)
            return
        there = max(min(cpu.size, len(self.data) - cpu.offset), 0)
        self._unpacker.spend(there, part)
        step = max(block - block % buffer.page_size, buffer.page_size)
        for start in range(0, there, step):
            at = cpu.offset + start
            yield self.data[at : at + min(step, there - start)]
        if there < cpu.size:
            raise DamagedError(f"{part}: 0x{there:x} of 0x{cpu.size:x} bytes are there")
