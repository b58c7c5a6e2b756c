"""Where do the records of many pages of the ring buffer stand, and when was each written?

All pages of a block are walked at once, each step from one record to the next. A page that holds
anything out of the ordinary is left to `ring_buffer`, which alone decides what makes sense.

Source: Linux 7.2 include/linux/ring_buffer.h (struct ring_buffer_event, enum ring_buffer_type).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from topbit.readers.bulk.words import MARGIN, U64, Mask, Places, Words
from topbit.readers.trace_dat.ring_buffer import (
    ABSOLUTE_BITS,
    DELTA_BITS,
    HEADER,
    PADDING,
    SMALLEST,
    STORED,
    TIME_EXTEND,
    TIME_STAMP,
)

_LOW = np.uint64(0xFFFF_FFFF)
_KIND, _DELTA = np.uint64(31), np.uint64(5)
_HALF = np.uint64(32)
_SHIFT = np.uint64(DELTA_BITS)
_EPOCH = np.uint64(ABSOLUTE_BITS)
LATEST = np.uint64(1 << 62)
"""Times beyond this one are none that a clock shows."""


@dataclass(frozen=True, slots=True)
class PageRecords:
    """Which records have some pages?

    Attributes:
        words: the pages' bytes.
        begins, sizes: of each record's data, page by page, in order.
        times: on the clock.
        page: of which each is.
        whole: the page was walked to its end; of others there is no record.
    """

    words: Words
    begins: Places
    sizes: Places
    times: U64
    page: Places
    whole: Mask


def walk(pages: bytes, size: int) -> PageRecords:
    """Where do the records of these whole pages of `size` bytes stand?"""
    margin = bytes(MARGIN)
    words = Words(np.frombuffer(b"".join((margin, pages, margin)), np.uint8))
    count = len(pages) // size
    base = MARGIN + np.arange(count, dtype=np.int64) * size
    header = words.several(base, 2)
    time, commit = header[:, 0].copy(), header[:, 1]
    end = base + HEADER + (commit & np.uint64(STORED - 1)).astype(np.int64)
    # Events were lost before it, or it says to hold more than it can.
    whole = (commit < np.uint64(STORED)) & (end <= base + size) & (time < LATEST)
    at = base + HEADER
    page = np.flatnonzero(whole & (at < end))
    steps: list[tuple[Places, Places, U64, Places]] = []
    while len(page):
        here = at[page]
        word = words.at(here)
        first, second = word & _LOW, (word >> _HALF).astype(np.int64)
        kind = (first & _KIND).astype(np.int64)
        delta = first >> _DELTA
        # A record that tells its size itself is of kind 0; its size counts its own four bytes.
        large = kind == 0
        is_record = kind < PADDING
        begin = here + np.where(large, 8, 4)
        length = np.where(large, second - 4, kind * 4)
        now = time[page] + delta
        step = begin + (length + 3 & -4)
        done = np.zeros(len(page), np.bool_)
        if not is_record.all():
            padding = kind == PADDING
            done = padding & (delta == 0)
            extend = kind == TIME_EXTEND
            long = (second.astype(np.uint64) << _SHIFT) | delta
            now = np.where(extend, time[page] + long, now)
            stamp = (time[page] >> _EPOCH << _EPOCH) | long
            now = np.where(kind == TIME_STAMP, stamp, now)
            step = np.where(is_record, step, here + np.where(padding, 4 + np.maximum(second, 4), 8))
        wrong = is_record & ((length < SMALLEST) | (begin + length > end[page]))
        # What another kind needs stands on the page, or the page is left to others.
        wrong |= (here + 4 > end[page]) | (~is_record & ~done & (here + 8 > end[page]))
        wrong |= now >= LATEST
        whole[page[wrong]] = False
        kept = is_record & ~wrong
        steps.append((page[kept], begin[kept], now[kept], length[kept]))
        time[page], at[page] = now, step
        page = page[~done & ~wrong & (step < end[page])]
    return _in_order(words, steps, whole)


def _in_order(
    words: Words, steps: list[tuple[Places, Places, U64, Places]], whole: Mask
) -> PageRecords:
    if not steps:
        none = np.zeros(0, np.int64)
        return PageRecords(words, none, none, none.astype(np.uint64), none, whole)
    page, begins, times, sizes = (np.concatenate(parts) for parts in zip(*steps, strict=True))
    # By place, which is by page and then as they stand on it.
    order = np.argsort(begins, kind="stable")
    order = order[whole[page[order]]]
    return PageRecords(words, begins[order], sizes[order], times[order], page[order], whole)
