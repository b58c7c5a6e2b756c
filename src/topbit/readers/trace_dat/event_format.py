"""How is each trace event laid out, going by the kernel's own descriptions?

The descriptions are the files events/*/*/format; trace.dat holds copies of them.

Sources: Linux 7.2 kernel/trace/trace_events.c:f_show, include/trace/events/{dma,swiotlb,iommu}.h.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_NAME = re.compile(r"^name: (\w+)$")
_ID = re.compile(r"^ID: (\d{1,9})$")
_FIELD = re.compile(
    r"^\tfield:(.*?)([\w]+)(\[\d+\])?;\toffset:(\d{1,9});\tsize:(\d{1,9});(?:\tsigned:([01]);)?"
)
_LONGEST = 512
"""More characters than a field's line has; the pattern is slow on longer ones."""
_PAGE_DATA = re.compile(r"field: ?char data;\toffset:(\d{1,9});\tsize:(\d{1,9});")
_FLAG = re.compile(r'\{ \(1UL << (\d{1,2})\), "(\w+)" \}')


def page_layout(header_page: str) -> tuple[int, int] | None:
    """How many bytes stand before the data of a page of the ring buffer, and how many are data?

    Both make a page, whose size is the kernel's or a multiple of it. None: it is not told.
    Source: Linux 7.2 kernel/trace/ring_buffer.c:ring_buffer_print_page_header.

    Args:
        header_page: the kernel's file events/header_page.
    """
    match = _PAGE_DATA.search(header_page)
    return (int(match[1]), int(match[2])) if match else None


@dataclass(frozen=True, slots=True)
class Field:
    """Where does a field stand in an event's record?

    Attributes:
        name: as the kernel's description has it.
        offset, size: bytes. An array's four bytes there say where its data stands.
        entry: bytes of an array's entry; 0 for a plain number, 1 for text.
        signed: it is a signed number.
    """

    name: str
    offset: int
    size: int
    entry: int = 0
    signed: bool = False


@dataclass(slots=True)
class Format:
    """How is one event laid out?

    Attributes:
        name: the event.
        fields: its own fields by name, in order; those that all events have are left out.
        attrs: bit -> name of the DMA attributes that the kernel which wrote it knows.
    """

    name: str
    fields: dict[str, Field] = field(default_factory=dict)
    attrs: dict[int, str] = field(default_factory=dict)


def read_formats(text: str) -> dict[int, Format]:
    """Which event has which number? `text`: the format files, one behind the other."""
    formats: dict[int, Format] = {}
    name, current = "", Format("")
    for line in text.splitlines():
        if match := _NAME.match(line):
            name = match[1]
        elif match := _ID.match(line):
            current = formats[int(match[1])] = Format(name)
        elif len(line) < _LONGEST and (match := _FIELD.match(line)):
            if not match[2].startswith("common_"):
                current.fields[match[2]] = _field(match)
        elif line.startswith("print fmt:"):
            flags = line.partition("REC->attrs")[2]
            current.attrs = {int(bit): flag for bit, flag in _FLAG.findall(flags)}
    return formats


def _field(match: re.Match[str]) -> Field:
    type_, name, _, offset, size, signed = match.groups()
    entry = 0
    if type_.startswith("__data_loc"):
        entry = 1 if "char" in type_ else 8 if "u64" in type_ else 4
    return Field(name, int(offset), int(size), entry, signed == "1")
