"""Where do the records of many pages of the ring buffer stand, and when was each written?

All pages of a block are walked at once, each step from one record to the next. A page that holds
anything out of the ordinary is left to `ring_buffer`, which alone decides what makes sense.

Source: Linux 7.2 include/linux/ring_buffer.h (struct ring_buffer_event, enum ring_buffer_type).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from topbit.readers.bulk.words import MARGIN, U64, Mask, Places, Text, Words
from topbit.readers.growing import Array
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

U16: TypeAlias = np.ndarray[Any, np.dtype[np.uint16]]
U32: TypeAlias = np.ndarray[Any, np.dtype[np.uint32]]

_KIND, _DELTA = np.uint32(31), np.uint32(5)
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
        kinds: numbers of their events.
        times: on the clock.
        page: of which each is.
        whole: the page was walked to its end; of others there is no record.
    """

    words: Words
    begins: Places
    sizes: Places
    kinds: U16
    times: U64
    page: Places
    whole: Mask


def walk(pages: bytes, size: int) -> PageRecords:
    """Where do the records of these whole pages of `size` bytes stand?

    What is found holds until this thread walks other pages: their bytes take its place.
    """
    words = Words(_with_margins(pages))
    count = len(pages) // size
    base = MARGIN + np.arange(count, dtype=np.int64) * size
    header = words.several(base, 2)
    start, commit = header[:, 0], header[:, 1]
    ends = base + HEADER + (commit & np.uint64(STORED - 1)).astype(np.int64)
    # Events were lost before it, or it says to hold more than it can.
    whole = (commit < np.uint64(STORED)) & (ends <= base + size) & (start < LATEST)
    if size % 4:
        whole[:] = False
    quads = words.text[: len(words.text) & -4].view("<u4")
    # NumPy sorts numbers of 16 bits without comparing them.
    page: Array = np.flatnonzero(whole & (base + HEADER < ends))
    page = page.astype(np.min_scalar_type(count))
    time, here, end = start[page], base[page] + HEADER, ends[page]
    steps: list[tuple[Array, Places, U64, Places]] = []
    while len(page):
        word = quads[here >> 2]
        kind = word & _KIND
        if kind.max() < PADDING:
            # Nearly always: records, whose kind is their size in words, or 0.
            time = time + (word >> _DELTA)
            length, begin = kind.astype(np.int64) << 2, here + 4
            are_small = kind.all()
            if not are_small:
                tells, second = kind == 0, quads[begin >> 2]
                # Its size counts its own four bytes.
                length = np.where(tells, second.astype(np.int64) - 4, length)
                begin += tells.astype(np.int64) << 2
            here = begin + (length + 3 & -4)
            steps.append((page, begin, time, length))
            left = here < end
            if are_small and left.all():
                # A time that is too late stays so, and is found at the page's end.
                continue
            wrong = (begin + length > end) | (length < SMALLEST) | (time >= LATEST)
            whole[page[wrong]] = False
            left &= ~wrong
        else:
            second = quads[np.minimum((here >> 2) + 1, len(quads) - 1)]
            step = _any_records(word, second, time, here, end)
            whole[page[step.wrong]] = False
            kept = step.is_record & ~step.wrong
            steps.append((page[kept], step.begin[kept], step.time[kept], step.length[kept]))
            time, here = step.time, step.following
            left = ~step.done & ~step.wrong & (here < end)
        if not left.all():
            page, time, here, end = page[left], time[left], here[left], end[left]
    return _in_order(words, quads, steps, whole)


_kept = threading.local()


def _with_margins(pages: bytes) -> Text:
    """The pages with MARGIN bytes around them, in memory that the thread uses again and again."""
    needed = len(pages) + 2 * MARGIN
    room: Text | None = getattr(_kept, "room", None)
    if room is None or len(room) < needed:
        room = _kept.room = np.zeros(needed, np.uint8)
    room[MARGIN : needed - MARGIN] = np.frombuffer(pages, np.uint8)
    return room[:needed]


class _Step(NamedTuple):
    """What stands at one place of each page, of whatever kind it is?"""

    is_record: Mask
    begin: Places
    length: Places
    time: U64
    following: Places
    done: Mask
    wrong: Mask


def _any_records(word: U32, second: U32, time: U64, here: Places, end: Places) -> _Step:
    kind, delta = (word & _KIND).astype(np.int64), (word >> _DELTA).astype(np.uint64)
    # A record that tells its size itself is of kind 0; its size counts its own four bytes.
    large, told = kind == 0, second.astype(np.int64)
    is_record = kind < PADDING
    begin = here + np.where(large, 8, 4)
    length = np.where(large, told - 4, kind * 4)
    padding = kind == PADDING
    done = padding & (delta == 0)
    now, long = time + delta, (second.astype(np.uint64) << _SHIFT) | delta
    now = np.where(kind == TIME_EXTEND, time + long, now)
    now = np.where(kind == TIME_STAMP, (time >> _EPOCH << _EPOCH) | long, now)
    beyond = here + np.where(padding, 4 + np.maximum(told, 4), 8)
    following = np.where(is_record, begin + (length + 3 & -4), beyond)
    wrong = is_record & ((length < SMALLEST) | (begin + length > end))
    # What another kind needs stands on the page, or the page is left to others.
    short = (here + 4 > end) | (~is_record & ~done & (here + 8 > end))
    wrong |= short | (now >= LATEST) | (~done & (following & 3 != 0))
    return _Step(is_record, begin, length, now, following, done, wrong)


def _in_order(
    words: Words, quads: U32, steps: list[tuple[Array, Places, U64, Places]], whole: Mask
) -> PageRecords:
    if steps:
        page, begins, times, sizes = (np.concatenate(parts) for parts in zip(*steps, strict=True))
    else:
        page = begins = sizes = np.zeros(0, np.int64)
        times = np.zeros(0, np.uint64)
    # By page, and then as they stand on it, which is step by step.
    order = np.argsort(page, kind="stable")
    counts = np.bincount(page, minlength=len(whole))
    if not whole.all():
        order = order[whole[page[order]]]
        counts[~whole] = 0
    begins = begins[order]
    kinds = quads[begins >> 2].astype(np.uint16)
    page = np.repeat(np.arange(len(whole)), counts)
    return PageRecords(words, begins, sizes[order], kinds, times[order], page, whole)
