"""Which events does one record of ftrace's ring buffer tell?

A record holds the fields as the kernel's description of the event (`event_format`) says. The
meaning of the fields is that of the text, and rare events are told through the text's handlers;
the few that make up nearly all of a trace are read in one step.

Records come from a guest and are not trusted.

Sources: Linux 7.2 include/trace/events/{dma,swiotlb,iommu}.h.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from operator import itemgetter
from typing import TypeAlias

from topbit.errors import InputError
from topbit.events import Event
from topbit.readers.ftrace.events import DIRECTIONS, HANDLERS
from topbit.readers.trace_dat.event_format import Field, Format
from topbit.recording.schema import DMA_MAPPING_ERROR


class RecordError(InputError):
    """What is wrong with a record?"""


Decoder: TypeAlias = Callable[[bytes, int, int, float | None], tuple[Event, ...]]
"""Which events does the record of `size` bytes at `begin` of a page tell? (page, begin, size, time)

It raises RecordError where the record makes no sense.
"""

_OURS = ("dma_", "swiotlb_")
WAYS = tuple(DIRECTIONS[str(number)] for number in range(4))
"""The direction that each value of the field `dir` means."""
_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}
SINGLES = {
    **dict.fromkeys(("dma_map_phys", "dma_map_page", "dma_map_resource"), "dma_map"),
    **dict.fromkeys(("dma_unmap_phys", "dma_unmap_page", "dma_unmap_resource"), "dma_unmap"),
    **dict.fromkeys(("dma_sync_single_for_cpu", "dma_sync_single_for_device"), "dma_sync"),
}
"""Events of one range, and the kind that each is told as."""
# Arrays that the text names otherwise.
_SHOWN_AS = {"addrs": "phys_addrs", "lengths": "sizes"}
_DECIMAL = {"size", "err"}


def decoders_of(formats: dict[int, Format]) -> dict[int, Decoder]:
    """Who reads which records, by the number of the event? Events of other kinds have nobody."""
    return {
        number: _decoder(format_)
        for number, format_ in formats.items()
        if format_.name in HANDLERS or format_.name.startswith(_OURS)
    }


def _decoder(format_: Format) -> Decoder:
    decoder = None
    if format_.name in SINGLES:
        decoder = _single(format_)
    elif format_.name == "swiotlb_bounced":
        decoder = _bounced(format_)
    return decoder or _through_text(format_)


class _Texts:
    """Which text stands where a field points to? There are few different ones."""

    def __init__(self) -> None:
        self._known: dict[bytes, str] = {}

    def at(self, page: bytes, begin: int, size: int, where: int) -> str:
        offset, length = where & 0xFFFF, where >> 16
        if offset + length > size:
            raise RecordError(f"a record of {size} bytes with text at {offset}+{length}")
        raw = page[begin + offset : begin + offset + length]
        text = self._known.get(raw)
        if text is None:
            try:
                text = raw.split(b"\0")[0].decode()
            except UnicodeDecodeError as error:
                raise RecordError(f"a name that is no text: {raw!r}") from error
            if not text.isprintable() or not text or " " in text:
                raise RecordError(f"a name that is none: {raw!r}")
            self._known[raw] = text
        return text


class _Attrs:
    """How does the text show DMA attributes?"""

    def __init__(self, format_: Format) -> None:
        self._names = format_.attrs
        self._known: dict[int, str] = {0: ""}

    def shown(self, value: int) -> str:
        text = self._known.get(value)
        if text is None:
            names = [name for bit, name in self._names.items() if value >> bit & 1]
            rest = value & ~sum(1 << bit for bit in self._names)
            text = "|".join([*names, f"0x{rest:x}"] if rest else names)
            self._known[value] = text
        return text


_Reader: TypeAlias = tuple[Callable[[bytes, int], tuple[int, ...]], int]
"""What reads some fields of a record at a place of a page, and how long must the record be?"""


def reader_of(fields: list[Field | None]) -> _Reader | None:
    """How are these fields (at least two) read in one step? Of a missing one any number comes.

    None if two of them overlap.
    """
    there = sorted((f for f in fields if f is not None), key=lambda f: f.offset)
    code, at = "<", 0
    for place in there:
        if place.offset < at:
            return None
        code += f"{place.offset - at}x{_CODES[place.size]}"
        at = place.offset + place.size
    layout = struct.Struct(code)
    unpack, pick = layout.unpack_from, itemgetter(*(there.index(f) if f else 0 for f in fields))
    return lambda page, begin: pick(unpack(page, begin)), layout.size


def plain_fields(format_: Format, *names: str) -> list[Field | None] | None:
    """Where do these fields stand? None if one of them is not of the usual form."""
    fields = [format_.fields.get(name) for name in names]
    sizes = {"device": 4, "dev_name": 4, "dir": 4, "force": 1}
    for name, place in zip(names, fields, strict=True):
        text = name in ("device", "dev_name")
        if place and (place.size != sizes.get(name, 8) or place.entry != int(text)):
            return None
        if place and place.offset > 0xFFFF:
            return None
    return fields


def single_fields(format_: Format) -> list[Field | None] | None:
    """Where do device, address, size, direction, buffer and attributes of one range stand?

    None if they are not of the usual form.
    """
    kind = SINGLES[format_.name]
    address = "dma_addr" if "dma_addr" in format_.fields else "addr"
    fields = plain_fields(format_, "device", address, "size", "dir", "phys_addr", "attrs")
    if fields is None or None in fields[:4]:
        return None
    lacks_buffer = kind == "dma_map" and fields[4] is None
    has_attrs = fields[5] is not None
    return None if lacks_buffer or has_attrs != (kind != "dma_sync") else fields


def bounced_fields(format_: Format) -> list[Field | None] | None:
    """Where do device, mask, buffer, size and force of a bounce stand?"""
    fields = plain_fields(format_, "dev_name", "dma_mask", "dev_addr", "size", "force")
    return None if fields is None or None in fields else fields


def _single(format_: Format) -> Decoder | None:
    """Who reads the mapping, unmapping or sync of one range?"""
    kind = SINGLES[format_.name]
    fields = single_fields(format_)
    if fields is None:
        return None
    is_map, has_attrs = kind == "dma_map", fields[5] is not None
    reader = reader_of(fields)
    if reader is None:
        return None
    values_at, needed = reader
    detail = format_.name.rsplit("single_", 1)[-1] if kind == "dma_sync" else None
    name_at = _Texts().at
    attributes = attribute_words(format_)

    def decode(page: bytes, begin: int, size: int, time: float | None) -> tuple[Event, ...]:
        if size < needed:
            raise RecordError(f"{format_.name}: a record of {size} bytes")
        where, address, length, way, phys, attrs = values_at(page, begin)
        if way > 3:
            raise RecordError(f"{format_.name}: direction {way}")
        return (
            Event(
                "guest",
                kind,
                name_at(page, begin, size, where),
                None,
                address,
                phys if is_map else None,
                None,
                length,
                WAYS[way],
                "error" if is_map and address == DMA_MAPPING_ERROR else None,
                attributes(attrs) if has_attrs else None,
                detail,
                None,
                time,
            ),
        )

    return decode


def attribute_words(format_: Format) -> Callable[[int], str | None]:
    """What is the `attrs` column of a value? Through the text, which knows names for old bits."""
    shown = _Attrs(format_).shown
    known: dict[int, str | None] = {0: None}

    def attributes(value: int) -> str | None:
        if value not in known:
            body = f"d dir=NONE dma_addr=0 size=0 attrs={shown(value)}"
            known[value] = HANDLERS["dma_unmap_phys"]("dma_unmap_phys", body)[0].attrs
        return known[value]

    return attributes


def _bounced(format_: Format) -> Decoder | None:
    """Who reads the bouncing of a buffer?"""
    fields = bounced_fields(format_)
    if fields is None:
        return None
    reader = reader_of(fields)
    if reader is None:
        return None
    values_at, needed = reader
    name_at = _Texts().at

    def decode(page: bytes, begin: int, size: int, time: float | None) -> tuple[Event, ...]:
        if size < needed:
            raise RecordError(f"{format_.name}: a record of {size} bytes")
        where, mask, address, length, force = values_at(page, begin)
        device = name_at(page, begin, size, where)
        how = "FORCE" if force else "NORMAL"
        return (
            Event(
                "guest",
                "swiotlb_bounced",
                device=device,
                mask=mask,
                phys=address,
                size=length,
                status=how,
                time=time,
            ),
        )

    return decode


def _through_text(format_: Format) -> Decoder:
    """Who reads a rare event, by telling it as the text would?"""
    name, texts, attrs = format_.name, _Texts(), _Attrs(format_)
    handler = HANDLERS.get(name)

    def decode(page: bytes, begin: int, size: int, time: float | None) -> tuple[Event, ...]:
        if handler is None:
            raise RecordError(f"{name} is not known")
        record = page[begin : begin + size]
        values = {f.name: _value(f, record, texts, attrs) for f in format_.fields.values()}
        try:
            events = handler(name, _body(name, values))
        except (KeyError, ValueError, IndexError) as error:
            raise RecordError(f"{name}: {error}") from error
        for event in events:
            event.time = time
        return tuple(events)

    return decode


def _body(name: str, values: dict[str, int | str]) -> str:
    """What would the text of the event be, in the form of `trace-cmd report -R`?"""
    if name in ("map", "unmap"):
        start, size = int(values["iova"]), int(values["size"])
        head = f"IOMMU: iova=0x{start:016x} - 0x{start + size & (1 << 64) - 1:016x} "
        if name == "map":
            return f"{head}paddr=0x{values['paddr']:016x} size={size}"
        return f"{head}size={size} unmapped_size={values['unmapped_size']}"
    if name == "io_page_fault":
        return (
            f"IOMMU:{values['driver']} {values['device']} iova=0x{values['iova']:016x} "
            f"flags=0x{values['flags']:04x}"
        )
    words = []
    for key, value in values.items():
        shown = _SHOWN_AS.get(key, key)
        if name == "dma_map_sg_err" and key == "phys_addrs":
            shown = "dma_addrs"
        if isinstance(value, int) and key not in _DECIMAL and key != "dir":
            value = f"{value & (1 << 64) - 1:x}"
        words.append(f"{shown}={value}")
    return " ".join(words)


def _value(place: Field, record: bytes, texts: _Texts, attrs: _Attrs) -> int | str:
    raw = record[place.offset : place.offset + place.size]
    if len(raw) < place.size:
        raise RecordError(f"a record of {len(record)} bytes without {place.name}")
    number = int.from_bytes(raw, "little", signed=place.signed)
    if place.entry == 1:
        return texts.at(record, 0, len(record), number)
    if place.entry:
        offset, length, width = number & 0xFFFF, number >> 16, place.entry
        if offset + length > len(record):
            raise RecordError(f"a record of {len(record)} bytes with {place.name} beyond it")
        entries = (record[n : n + width] for n in range(offset, offset + length, width))
        return "{" + ",".join(f"{int.from_bytes(entry, 'little'):x}" for entry in entries) + "}"
    return attrs.shown(number) if place.name == "attrs" else number
