"""Which events does the body of one trace event tell? One handler for each event's name.

Sources: Linux 7.2 include/trace/events/{dma,swiotlb}.h; the same of 6.12 for the older
names dma_map_page, dma_map_resource and their unmaps.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from topbit.events import Event
from topbit.readers.ftrace import iommu
from topbit.recording.schema import DMA_MAPPING_ERROR, TRUNCATED

DIRECTIONS = {
    "BIDIRECTIONAL": "BIDIRECTIONAL",
    "TO_DEVICE": "TO_DEVICE",
    "FROM_DEVICE": "FROM_DEVICE",
    "NONE": "NONE",
    # `trace-cmd report -R` prints enum dma_data_direction as it stands.
    "0": "BIDIRECTIONAL",
    "1": "TO_DEVICE",
    "2": "FROM_DEVICE",
    "3": "NONE",
}
# DMA_ATTR_* bits as -R prints them (Linux 7.3 include/linux/dma-mapping.h).
ATTRIBUTES = {
    1: "WEAK_ORDERING",
    2: "WRITE_COMBINE",
    4: "NO_KERNEL_MAPPING",
    5: "SKIP_CPU_SYNC",
    6: "FORCE_CONTIGUOUS",
    7: "ALLOC_SINGLE_PAGES",
    8: "NO_WARN",
    9: "PRIVILEGED",
    10: "MMIO",
    12: "REQUIRE_COHERENT",
    13: "CC_SHARED",
    14: "ALLOC_CC_SHARED",
}
ARRAYS = {"dma_addrs", "phys_addrs", "sizes"}
# As the kernel prints them, and `trace-cmd report`.
NULL_POINTERS = {"(null)", "(nil)", "0", "0000000000000000", "00000000"}

HEX_DIGITS = re.compile("[0-9a-f]{1,16}")

Fields = dict[str, str]


def _fields(body: str) -> Fields:
    """Which `key=value` fields has a body? The device stands before them (-R: in `device`)."""
    fields: Fields = {}
    key = ""
    words = body.split()
    if words and "=" not in words[0]:
        fields["device"] = words.pop(0)
    for word in words:
        if word == "[TRUNCATED]":
            continue
        if key in ARRAYS and word.isdecimal():
            # `trace-cmd report` separates an array's entries by blanks.
            fields[key] += f" {word}"
            continue
        key, equals, value = word.partition("=")
        if not equals:
            raise ValueError(word)
        if key in fields:
            raise ValueError(word)
        fields[key] = value
    # perf trace, babeltrace and people's own programs tell the device as a field.
    for name in ("dev_name", "dev"):
        if name in fields:
            fields.setdefault("device", fields[name])
    # What the text calls dma_addr of an unmap is the field `addr`.
    if "addr" in fields:
        fields.setdefault("dma_addr", fields.pop("addr"))
    return fields


def _number(text: str) -> int:
    """What is a number as %llx prints it: hexadecimal digits, 16 at most, usually without 0x?"""
    text = text.removeprefix("0x")
    # int() takes signs, underscores and blanks too; the kernel prints small letters.
    if HEX_DIGITS.fullmatch(text) is None:
        raise ValueError(text)
    return int(text, 16)


def _array(text: str) -> list[int]:
    """What are the entries: {0x1,0x2} as the kernel prints them, or 1 2 of `trace-cmd report`?"""
    if not text.startswith("{"):
        return [_decimal(entry) for entry in text.split()]
    if not text.endswith("}"):
        raise ValueError(text)
    return [_number(entry.removeprefix("0x")) for entry in text[1:-1].split(",") if entry]


def _decimal(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ValueError(text)
    return int(text)


def _attrs(fields: Fields) -> str:
    value = fields["attrs"]
    if re.fullmatch(r"[\w|]*", value) is None:
        raise ValueError(value)
    if value.startswith("0x"):
        bits = _number(value[2:])
        return "|".join(name for bit, name in ATTRIBUTES.items() if bits >> bit & 1)
    return value


def _single(kind: str, *, phys: bool = False, attrs: bool = True) -> Callable[..., list[Event]]:
    def handle(name: str, body: str) -> list[Event]:
        f = _fields(body)
        return [
            Event(
                "guest",
                kind,
                device=f["device"],
                direction=DIRECTIONS[f["dir"]],
                address=_number(f["dma_addr"]),
                size=_decimal(f["size"]),
                phys=_number(f["phys_addr"]) if phys else None,
                attrs=(_attrs(f) if attrs else "") or None,
                detail=name.rsplit("single_", 1)[-1] if kind == "dma_sync" else None,
                status="error"
                if kind == "dma_map" and f["dma_addr"] == f"{DMA_MAPPING_ERROR:x}"
                else None,
            )
        ]

    return handle


def _alloc(kind: str) -> Callable[..., list[Event]]:
    def handle(name: str, body: str) -> list[Event]:
        f = _fields(body)
        address = _number(f["dma_addr"])
        if "virt_addr" not in f and "phys_addrs" not in f:
            raise KeyError("virt_addr")
        attrs = None if name == "dma_free_sgt" else _attrs(f) or None
        failed = name.endswith("_err") or f.get("virt_addr") in NULL_POINTERS
        failed = failed or address == DMA_MAPPING_ERROR
        return [
            Event(
                "guest",
                kind,
                device=f["device"],
                # Linux 6.12 does not tell the direction.
                direction=DIRECTIONS[f["dir"]] if "dir" in f else None,
                address=address,
                size=_decimal(f["size"]),
                attrs=attrs,
                status="error" if failed and kind == "dma_alloc" else None,
            )
        ]

    return handle


def _map_sg(name: str, body: str) -> list[Event]:
    f = _fields(body)
    direction, attrs = DIRECTIONS[f["dir"]], _attrs(f) or None
    if name == "dma_map_sg_err":
        # What the event calls dma_addrs are the entries' physical addresses.
        return [
            Event(
                "guest",
                "dma_map",
                device=f["device"],
                direction=direction,
                address=DMA_MAPPING_ERROR,
                phys=phys,
                attrs=attrs,
                status="error",
                detail=f"err={f['err']}",
            )
            for phys in _array(f["dma_addrs"])
        ]
    addresses, sizes, buffers = (_array(f[key]) for key in ("dma_addrs", "sizes", "phys_addrs"))
    if len(addresses) != len(sizes):
        raise ValueError(body)
    # Entries that were merged have no buffer of their own.
    paired = buffers if len(buffers) == len(addresses) else [None] * len(addresses)
    return [
        Event(
            "guest",
            "dma_map",
            device=f["device"],
            direction=direction,
            address=address,
            size=size,
            phys=phys,
            attrs=attrs,
            detail=TRUNCATED if "[TRUNCATED]" in body.split() else None,
        )
        for address, size, phys in zip(addresses, sizes, paired, strict=True)
    ]


def _unmap_sg(name: str, body: str) -> list[Event]:
    f = _fields(body)
    attrs = _attrs(f) or None
    return [
        Event(
            "guest",
            "dma_unmap_sg",
            device=f["device"],
            direction=DIRECTIONS[f["dir"]],
            phys=phys,
            attrs=attrs,
        )
        for phys in _array(f["phys_addrs"])
    ]


def _sync_sg(name: str, body: str) -> list[Event]:
    f = _fields(body)
    addresses, sizes = _array(f["dma_addrs"]), _array(f["sizes"])
    if len(addresses) != len(sizes):
        raise ValueError(body)
    return [
        Event(
            "guest",
            "dma_sync",
            device=f["device"],
            direction=DIRECTIONS[f["dir"]],
            address=address,
            size=size,
            detail=name.rsplit("sg_", 1)[-1],
        )
        for address, size in zip(addresses, sizes, strict=True)
    ]


def _bounced(name: str, body: str) -> list[Event]:
    head = body.removeprefix("dev_name: ")
    for how in ("FORCE", "NORMAL"):
        if head.endswith(f" {how}"):
            f = _fields(head.removesuffix(how))
            break
    else:
        f = _fields(head)
        how = {"0": "NORMAL", "1": "FORCE"}[f["force"]]
    return [
        Event(
            "guest",
            "swiotlb_bounced",
            device=f.get("device") or f["dev_name"],
            mask=_number(f["dma_mask"]),
            phys=_number(f["dev_addr"]),
            size=_decimal(f["size"]),
            status=how,
        )
    ]


_MAP = _single("dma_map", phys=True)
_UNMAP = _single("dma_unmap")
_SYNC = _single("dma_sync", attrs=False)
HANDLERS: dict[str, Callable[..., list[Event]]] = {
    **dict.fromkeys(("dma_map_phys", "dma_map_page", "dma_map_resource"), _MAP),
    **dict.fromkeys(("dma_unmap_phys", "dma_unmap_page", "dma_unmap_resource"), _UNMAP),
    **dict.fromkeys(("dma_map_sg", "dma_map_sg_err"), _map_sg),
    "dma_unmap_sg": _unmap_sg,
    **dict.fromkeys(
        ("dma_alloc", "dma_alloc_pages", "dma_alloc_sgt", "dma_alloc_sgt_err"),
        _alloc("dma_alloc"),
    ),
    **dict.fromkeys(("dma_free", "dma_free_pages", "dma_free_sgt"), _alloc("dma_free")),
    **dict.fromkeys(("dma_sync_single_for_cpu", "dma_sync_single_for_device"), _SYNC),
    **dict.fromkeys(("dma_sync_sg_for_cpu", "dma_sync_sg_for_device"), _sync_sg),
    "swiotlb_bounced": _bounced,
    "map": iommu.mapping,
    "unmap": iommu.mapping,
    "io_page_fault": iommu.page_fault,
}
