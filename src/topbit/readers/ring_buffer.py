"""Which trace lines do the raw pages of ftrace's ring buffer hold?

per_cpu/cpuN/trace_pipe_raw gives the pages as they stand in memory, events/*/*/format the layout of
each event. Reading them costs the traced system next to nothing, where its own text costs
formatting. The lines made here are those of the text, so that everything else reads both alike.

Pages come from a guest and are not trusted: what makes no sense ends its page with an error.

Sources: Linux 7.2 include/linux/ring_buffer.h (struct ring_buffer_event, enum ring_buffer_type),
kernel/trace/ring_buffer.c (struct buffer_data_page, RB_MISSED_EVENTS, RB_MISSED_STORED),
include/trace/events/{dma,swiotlb}.h.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

PAGE = 4096
_HEADER = struct.Struct("<QQ")  # time stamp, commit
_MISSED, _MISSED_STORED = 1 << 31, 1 << 30
_PADDING, _TIME_EXTEND, _TIME_STAMP = 29, 30, 31
_DELTA_BITS = 27
_ABSOLUTE_BITS = 59  # of a TIME_STAMP; the bits above stay as they were
_COMMON_TYPE = struct.Struct("<H")

_NAME = re.compile(r"^name: (\w+)$")
_ID = re.compile(r"^ID: (\d+)$")
_FIELD = re.compile(r"^\tfield:(.*?)([\w]+)(\[\d+\])?;\toffset:(\d+);\tsize:(\d+);")

_DIRECTIONS = ("BIDIRECTIONAL", "TO_DEVICE", "FROM_DEVICE", "NONE")
# Fields that the text names otherwise, and fields that it does not show.
_SHOWN_AS = {"addr": "dma_addr", "addrs": "phys_addrs", "lengths": "sizes"}
_HIDDEN = {"device", "dev_name", "full_nents", "full_ents", "truncated", "flags"}
_ORDER = {"dma_mask": 0, "dir": 0, "dev_addr": 1, "dma_addr": 1, "size": 2, "phys_addr": 3,
          "attrs": 9, "force": 9}  # fmt: skip
_ANYWHERE = 5
_DECIMAL = {"size", "err"}


class RingBufferError(ValueError):
    """What is wrong with a page or a format?"""


@dataclass(frozen=True, slots=True)
class Field:
    """Where does a field stand in an event's record?

    Attributes:
        name: as the text shows it.
        offset, size: bytes. An array's four bytes there say where its data stands.
        entry: bytes of an array's entry; 0 for a plain number, 1 for text.
    """

    name: str
    offset: int
    size: int
    entry: int = 0


@dataclass(slots=True)
class Format:
    """How is one event laid out?

    Attributes:
        name: the event.
        device: the field with the device's name.
        fields: the others that the text shows, in its order.
    """

    name: str
    device: Field | None = None
    fields: list[Field] = field(default_factory=list)


def read_formats(text: str) -> dict[int, Format]:
    """Which event has which number? `text`: the format files, one behind the other."""
    formats: dict[int, Format] = {}
    name, current = "", Format("")
    for line in text.splitlines():
        if match := _NAME.match(line):
            name = match[1]
        elif match := _ID.match(line):
            current = formats[int(match[1])] = Format(name)
        elif (match := _FIELD.match(line)) and not match[2].startswith("common_"):
            _add(current, match[1], match[2], int(match[4]), int(match[5]))
    for format_ in formats.values():
        format_.fields.sort(key=lambda f: _ORDER.get(f.name, _ANYWHERE))
    return formats


def _add(format_: Format, type_: str, name: str, offset: int, size: int) -> None:
    entry = 0
    if type_.startswith("__data_loc"):
        entry = 1 if "char" in type_ else 8 if "u64" in type_ else 4
    if entry == 1 and name in ("device", "dev_name"):
        format_.device = Field(name, offset, size, entry)
    elif name not in _HIDDEN:
        name = _SHOWN_AS.get(name, name)
        if format_.name == "dma_map_sg_err" and name == "phys_addrs":
            name = "dma_addrs"
        format_.fields.append(Field(name, offset, size, entry))


@dataclass(slots=True)
class Records:
    """What do the pages of one CPU hold?

    Attributes:
        lines: (time in nanoseconds, text of the event), in order.
        count: how many events there are, with those that have no format.
        lost: how many events the pages say were lost; at least 1 if they do not say how many.
        damage: what is wrong with the first page that makes no sense; empty if none is.
    """

    lines: list[tuple[int, str]] = field(default_factory=list)
    count: int = 0
    lost: int = 0
    damage: str = ""


def read_pages(pages: bytes, formats: dict[int, Format]) -> Records:
    """Which events do these pages hold? Events without a format are left out."""
    records = Records()
    for number, start in enumerate(range(0, len(pages), PAGE)):
        try:
            _read_page(pages[start : start + PAGE], formats, records)
        except (RingBufferError, struct.error, UnicodeDecodeError) as error:
            records.damage = records.damage or f"page {number}: {error}"
    return records


def _read_page(page: bytes, formats: dict[int, Format], records: Records) -> None:
    time, commit = _HEADER.unpack_from(page)
    end = _HEADER.size + (commit & (_MISSED_STORED - 1))
    if end > len(page):
        raise RingBufferError(f"0x{commit:x} bytes on a page of 0x{len(page):x}")
    if commit & _MISSED:
        stored = commit & _MISSED_STORED and end + 8 <= len(page)
        records.lost += int.from_bytes(page[end : end + 8], "little") if stored else 1
    for when, data in _events(page[:end], time):
        records.count += 1
        format_ = formats.get(_COMMON_TYPE.unpack_from(data)[0])
        if format_ is not None:
            stamp = (when + 500) // 1000
            seconds = f"{stamp // 1_000_000}.{stamp % 1_000_000:06}"
            records.lines.append((when, f"{seconds}: {format_.name}: {_body(format_, data)}"))


def _events(page: bytes, time: int) -> Iterator[tuple[int, bytes]]:
    """Which records stand on the page, and when were they made? (nanoseconds)"""
    at = _HEADER.size
    while at < len(page):
        word = int.from_bytes(page[at : at + 4], "little")
        kind, delta = word & 31, word >> 5
        array = int.from_bytes(page[at + 4 : at + 8], "little")
        if kind == _PADDING:
            if delta == 0:
                return
            time += delta
            at += 4 + max(array, 4)
        elif kind == _TIME_EXTEND:
            time += array << _DELTA_BITS | delta
            at += 8
        elif kind == _TIME_STAMP:
            time = time >> _ABSOLUTE_BITS << _ABSOLUTE_BITS | array << _DELTA_BITS | delta
            at += 8
        else:
            time += delta
            begin, size = (at + 4, kind * 4) if kind else (at + 8, array - 4)
            if size < 0 or begin + size > len(page):
                raise RingBufferError(f"a record of {size} bytes at 0x{at:x}")
            yield time, page[begin : begin + size]
            at = begin + (size + 3 & -4)


def _body(format_: Format, data: bytes) -> str:
    device = _array(format_.device, data).split(b"\0")[0].decode() if format_.device else ""
    if format_.name == "swiotlb_bounced":
        *fields, force = format_.fields
        shown = [f"{f.name}={_value(f, data)}" for f in fields]
        return " ".join(
            ["dev_name:", device, *shown, "FORCE" if _number(force, data) else "NORMAL"]
        )
    return " ".join([device, *(f"{f.name}={_value(f, data)}" for f in format_.fields)])


def _value(place: Field, data: bytes) -> str:
    if place.entry > 1:
        raw = _array(place, data)
        width = place.entry
        entries = (raw[n : n + width] for n in range(0, len(raw), width))
        return "{" + ",".join(f"{int.from_bytes(entry, 'little'):x}" for entry in entries) + "}"
    if place.entry:
        return _array(place, data).split(b"\0")[0].decode()
    number = _number(place, data)
    if place.name == "dir":
        return _DIRECTIONS[number] if number < len(_DIRECTIONS) else str(number)
    if place.name == "attrs":
        return f"0x{number:x}" if number else ""
    return str(number) if place.name in _DECIMAL else f"{number:x}"


def _number(place: Field, data: bytes) -> int:
    value = data[place.offset : place.offset + place.size]
    if len(value) < place.size:
        raise RingBufferError(f"a record of {len(data)} bytes without {place.name}")
    return int.from_bytes(value, "little", signed=place.name == "err")


def _array(place: Field, data: bytes) -> bytes:
    where = _number(place, data)
    return data[where & 0xFFFF : (where & 0xFFFF) + (where >> 16)]
