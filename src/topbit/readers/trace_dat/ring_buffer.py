"""Which events do the raw pages of ftrace's ring buffer hold?

per_cpu/cpuN/trace_pipe_raw gives the pages as they stand in memory, and trace.dat holds copies of
them. Reading them costs the traced system next to nothing, where its own text costs formatting.

Pages come from a guest and are not trusted: what makes no sense ends its page, and is counted.

Sources: Linux 7.2 include/linux/ring_buffer.h (struct ring_buffer_event, enum ring_buffer_type),
kernel/trace/ring_buffer.c (struct buffer_data_page, RBMISSED_EVENTS, RBSTORED).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from topbit.errors import InputError
from topbit.events import Event
from topbit.readers.trace_dat.raw_event import Decoder, RecordError

PAGE = 4096
"""Bytes of a page where nothing else is said (struct buffer_data_page with its data)."""

_HEADER = struct.Struct("<QQ")  # time stamp, commit
HEADER = _HEADER.size
MISSED, STORED = 1 << 31, 1 << 30
"""Bits above the commit's: events were lost before the page, and their number stands on it."""
PADDING, TIME_EXTEND, TIME_STAMP = 29, 30, 31
DELTA_BITS = 27
ABSOLUTE_BITS = 59
"""Bits of a TIME_STAMP; those above stay as they were."""
_WORD = struct.Struct("<I").unpack_from
_COMMON_TYPE = struct.Struct("<H").unpack_from
SMALLEST = 2
"""Bytes of a record that holds no more than its type."""


class RingBufferError(InputError):
    """What is wrong with a page?"""


@dataclass(slots=True)
class Records:
    """What do the pages of one CPU hold?

    Attributes:
        nanoseconds: the clock counts them; else the events get no time.
        offset: what is added to every time.
        records: (time on the clock, the record's events), one for each record, in order; no
            events for a record of another kind.
        pages: how many there are.
        lost: how many events the pages say were lost; at least 1 if they do not say how many.
        damaged: how many pages and records make no sense.
        damage: what is wrong with the first of them; empty if none is.
    """

    nanoseconds: bool = True
    offset: int = 0
    records: list[tuple[int, tuple[Event, ...]]] = field(default_factory=list)
    pages: int = 0
    lost: int = 0
    damaged: int = 0
    damage: str = ""

    def add_damage(self, what: str) -> None:
        """Note what makes no sense on the page that is being read."""
        self.damaged += 1
        self.damage = self.damage or f"page {self.pages}: {what}"

    def read(self, pages: bytes, decoders: Mapping[int, Decoder], size: int = PAGE) -> None:
        """Add what these pages of `size` bytes hold; of the last one there may be a part."""
        for start in range(0, len(pages), size):
            page = pages[start : start + size]
            try:
                self._read_page(page, size, decoders)
            except (RingBufferError, struct.error) as error:
                self.add_damage(str(error))
            self.pages += 1

    def _read_page(self, page: bytes, size: int, decoders: Mapping[int, Decoder]) -> None:
        time, commit = _HEADER.unpack_from(page)
        end = HEADER + (commit & (STORED - 1))
        if end > size:
            raise RingBufferError(f"0x{commit:x} bytes on a page of 0x{size:x}")
        if commit & MISSED:
            stored = commit & STORED and end + 8 <= len(page)
            self.lost += int.from_bytes(page[end : end + 8], "little") if stored else 1
        self._read_records(page, min(end, len(page)), time, decoders)
        if end > len(page):
            raise RingBufferError(f"only 0x{len(page):x} of 0x{end:x} bytes are there")

    def _read_records(
        self, page: bytes, end: int, time: int, decoders: Mapping[int, Decoder]
    ) -> None:
        keep, decoder_of = self.records.append, decoders.get
        nanoseconds, offset = self.nanoseconds, self.offset
        at = HEADER
        while at < end:
            word = _WORD(page, at)[0]
            kind, delta = word & 31, word >> 5
            if 0 < kind < PADDING:
                begin, size = at + 4, kind * 4
            elif kind == PADDING:
                if delta == 0:
                    return
                time += delta
                at += 4 + max(_WORD(page, at + 4)[0], 4)
                continue
            elif kind == TIME_EXTEND:
                time += _WORD(page, at + 4)[0] << DELTA_BITS | delta
                at += 8
                continue
            elif kind == TIME_STAMP:
                absolute = _WORD(page, at + 4)[0] << DELTA_BITS | delta
                time = time >> ABSOLUTE_BITS << ABSOLUTE_BITS | absolute
                at += 8
                continue
            else:
                begin, size = at + 8, _WORD(page, at + 4)[0] - 4
            time += delta
            if size < SMALLEST or begin + size > end:
                raise RingBufferError(f"a record of {size} bytes at 0x{at:x}")
            at = begin + (size + 3 & -4)
            decode = decoder_of(_COMMON_TYPE(page, begin)[0])
            if decode is None:
                keep((time, ()))
                continue
            seconds = (time + offset) / 1e9 if nanoseconds else None
            try:
                keep((time, decode(page, begin, size, seconds)))
            except RecordError as error:
                keep((time, ()))
                self.add_damage(str(error))


def read_pages(pages: bytes, decoders: Mapping[int, Decoder], size: int = PAGE) -> Records:
    """Which events do these pages of `size` bytes hold? Events without a decoder are empty."""
    records = Records()
    records.read(pages, decoders, size)
    return records
