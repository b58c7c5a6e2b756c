"""How does numba read a line of a trace? Byte after byte (imported only if used).

head  4.100001  : name: device dir=TO_DEVICE dma_addr  =10a0  size=512  phys_addr=4000  attrs=
      time      lead                                  steps                             tail
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from topbit.readers.bulk.names import LONGEST, SLOTS
from topbit.readers.bulk.trace_lines import EXACTLY
from topbit.readers.bulk.words import MARGIN
from topbit.readers.columns import BITS

_fast = njit(cache=True, nogil=True)

NONE, TO_SIZE, WITH_PHYS, WITH_VIRT, BOUNCED, ARRAYS, ARRAYS_AND_BUFFERS, BUFFERS = range(8)
"""What stands behind a lead, before the tail: what is not read here; an address and a size; these
and a buffer, or a virtual address; a buffer and a size; arrays of addresses and sizes; these and
one of buffers; an array of buffers."""
NO_TAIL, ATTRS, FLAGS, HOW = range(4)
"""How a line ends: as `trace_forms.TAILS`, or with a number."""
NEWLINE, RETURN, BLANK, COLON, DOT, COMMA, EQUALS, ZERO, NINE, A, F, X, OPEN, CLOSE = (
    b"\n\r :.,=09afx{}"
)
LAST_PRINTABLE = ord("~")
FEWEST_FIELDS = 3
LETTER_I, LETTER_S, LETTER_T = b"ist"
_SIZE, _PHYS, _VIRT, _SIZES, _BUFFERS = (
    np.frombuffer(f" {key}=".encode(), np.uint8)
    for key in ("size", "phys_addr", "virt_addr", "sizes", "phys_addrs")
)
ODD, OTHER = 0x80, 0x40
"""What is told of a line that is not read here: it holds a character that is not printable, or may
be a trace's nevertheless."""
_EVERY, _HALF = np.uint64(0xFFFF_FFFF_FFFF_FFFF), np.uint64(32)
_HAS_BUFFER = BITS["phys"]


@_fast
def _code(aligned: Any, start: int, size: int, table: Any) -> int:
    """Which number has the text of `size` characters at `start`? As `Names.encode`; 0 if none."""
    hashes, slots, factors, of_length = table
    if size > LONGEST:
        return 0
    place, shift = start >> 3, np.uint64((start & 7) * 8)
    total = np.uint64(size) * of_length
    word = aligned[place]
    number = 0
    while size > 0:
        behind = aligned[place + number + 1]
        # Shifted twice, as a shift by 64 bits is none.
        value = (word >> shift) | ((behind << np.uint64(1)) << (np.uint64(63) - shift))
        if size < 8:
            value &= _EVERY >> np.uint64(64 - 8 * size)
        value *= factors[0, number]
        value ^= value >> _HALF
        total += value * factors[1, number]
        word = behind
        number += 1
        size -= 8
    total ^= total >> _HALF
    total *= of_length
    slot = total >> np.uint64(64 - SLOTS)
    return slots[slot] if hashes[slot] == total else 0


@_fast
def _hexadecimal(text: Any, at: int) -> Any:
    """Which number stands there, and where does it end? Where it begins, if it is none."""
    value = np.uint64(0)
    start = at
    while True:
        byte = text[at]
        if ZERO <= byte <= NINE:
            digit = byte - ZERO
        elif A <= byte <= F:
            digit = byte - (A - 10)
        else:
            break
        value = (value << np.uint64(4)) | np.uint64(digit)
        at += 1
    return value, at if at - start <= 16 else start


@_fast
def _decimal(text: Any, at: int) -> Any:
    """Which number stands there, and where does it end? Where it begins, if it is none."""
    value = np.uint64(0)
    start = at
    while ZERO <= text[at] <= NINE:
        value = value * np.uint64(10) + np.uint64(text[at] - ZERO)
        at += 1
    return value, at if at - start <= 8 else start


@_fast
def _stamp_ends(text: Any, start: int, end: int, guess: int) -> int:
    """Where is the first ": " of the line that begins at `start`? -1 if nowhere."""
    at = start + guess
    if at < end and text[at] == COLON and text[at + 1] == BLANK and text[at - 7] == DOT:
        # It need not be the first: what stands before it is no known head then.
        return at
    at = start
    while text[at] != NEWLINE:
        if text[at] == COLON and text[at + 1] == BLANK:
            return at
        at += 1
    return -1


@_fast
def _stamp(text: Any, start: int, end: int) -> Any:
    """Which time (seconds) ends there, and where does it begin? Where it ends, if it is none."""
    digits = 6 if text[end - 7] == DOT else 9
    at = end - digits
    if text[at - 1] != DOT:
        return 0.0, end
    total = np.uint64(0)
    unit = np.uint64(1)
    for number in range(digits):
        byte = text[at + number]
        if not ZERO <= byte <= NINE:
            return 0.0, end
        total = total * np.uint64(10) + np.uint64(byte - ZERO)
        unit *= np.uint64(10)
    at -= 1
    factor = unit
    begin = at
    while begin > start and ZERO <= text[begin - 1] <= NINE:
        begin -= 1
        if at - begin > 7:
            return 0.0, end
        total += factor * np.uint64(text[begin] - ZERO)
        factor *= np.uint64(10)
    if begin == at or text[begin - 1] != BLANK or total >= EXACTLY:
        return 0.0, end
    # Both are exact, and so the quotient is rounded as the number's own text is.
    return np.float64(total) / np.float64(unit), begin


@_fast
def _lead_ends(text: Any, at: int) -> int:
    """Where is the "=" before the first number of a line? -1 if nowhere near."""
    seen = 0
    for place in range(at, at + LONGEST):
        byte = text[place]
        if byte == EQUALS:
            seen += 1
            letter = text[place - 2]
            # dir, dma_mask; nents and ents behind a direction.
            if not (seen == 1 and letter in (LETTER_I, LETTER_S)) and not (
                2 <= seen <= 3 and letter == LETTER_T
            ):
                return place
        elif byte == NEWLINE:
            break
    return -1


@_fast
def _behind(text: Any, at: int, literal: Any) -> int:
    """Where does the text go on behind this literal? There, if something else stands there."""
    same = True
    for number in range(len(literal)):
        same &= text[at + number] == literal[number]
    return at + len(literal) if same else at


@_fast
def _array(text: Any, at: int, numbers: Any, which: int, row: int) -> Any:
    """How many numbers has an array {0x10,0x20}, and where does it end? 0 if it is none.

    They are put into the row `which` of `numbers`, from `row` on.
    """
    count = 0
    if text[at] != OPEN:
        return 0, at
    while row + count < numbers.shape[1]:
        if text[at + 1] != ZERO or text[at + 2] != X:
            break
        value, end = _hexadecimal(text, at + 3)
        if end == at + 3:
            break
        numbers[which, row + count] = value
        count += 1
        at = end
        if text[at] == CLOSE:
            return count, at + 1
        if text[at] != COMMA:
            break
    return 0, at


@_fast
def _arrays(text: Any, at: int, plan: int, numbers: Any, row: int) -> Any:
    """How many entries have the arrays of a line, are their buffers told, and where do they end?

    0 entries if they are not of their form.
    """
    if plan == BUFFERS:
        count, at = _array(text, at, numbers, 1, row)
        for place in range(row, row + count):
            numbers[0, place] = numbers[2, place] = 0
        return count, True, at
    count, at = _array(text, at, numbers, 0, row)
    start = _behind(text, at, _SIZES)
    found, end = _array(text, start, numbers, 2, row)
    if start == at or found != count:
        return 0, False, at
    found = 0
    if plan == ARRAYS_AND_BUFFERS:
        start = _behind(text, end, _BUFFERS)
        at = end
        found, end = _array(text, start, numbers, 1, row)
        if start == at or found == 0:
            return 0, False, at
    if found != count:
        # Entries that were merged have no buffer of their own.
        for place in range(row, row + count):
            numbers[1, place] = 0
    return count, found == count, end


@_fast
def scan_lines(
    text: Any,
    aligned: Any,
    end: int,
    heads: Any,
    leads: Any,
    tails: Any,
    head_flags: Any,
    plans: Any,
    lead_tails: Any,
    lead_has: Any,
    tail_kinds: Any,
    starts: Any,
    ends: Any,
    state: Any,
    lines: Any,
    times: Any,
    codes: Any,
    has: Any,
    nulls: Any,
    numbers: Any,
) -> int:
    """How many events tell the lines of a text whose heads, leads and tails are known?

    Args:
        text, aligned: the text, and the words of it.
        end: where it ends.
        heads, leads, tails: `Names.table` of these.
        head_flags: flags of each head, 0 if it is not known.
        plans, lead_tails, lead_has: what stands behind each lead, how its line ends, and HAS of its
            events.
        tail_kinds: of which kind each tail is.
        starts, ends, state: are filled for each line: from where to where, flags of its head, ODD,
            OTHER, or 0.
        lines, times, codes, has, nulls, numbers: are filled for each event: its line, seconds,
            numbers of lead and tail, HAS, NULL pointer; address, buffer and size.
    """
    line, row, start, guess = 0, 0, MARGIN, 0
    while start < end:
        starts[line] = start
        lead = flags = count = tail = plan = timed = 0
        seconds, null, with_buffers, at = 0.0, False, True, start
        stamp = _stamp_ends(text, start, end, guess)
        if stamp >= 0 and row < len(lines):
            guess = stamp - start
            seconds, begin = _stamp(text, start, stamp)
            timed = begin < stamp
            stop = _lead_ends(text, stamp) if timed else -1
            if stop >= 0:
                flags = head_flags[_code(aligned, start, begin - start, heads)]
                lead = _code(aligned, stamp, stop - stamp, leads)
                plan = plans[lead] if flags else NONE
                at = stop + 1
        if plan >= ARRAYS:
            count, with_buffers, at = _arrays(text, at, plan, numbers, row)
        elif plan != NONE:
            first, size_at = _hexadecimal(text, at)
            good = size_at > at
            at = _behind(text, size_at, _SIZE)
            good &= at > size_at
            size, more = _decimal(text, at)
            good &= more > at
            at, second = more, np.uint64(0)
            if plan in (WITH_PHYS, WITH_VIRT):
                at = _behind(text, more, _PHYS if plan == WITH_PHYS else _VIRT)
                second, behind = _hexadecimal(text, at)
                good &= at > more and behind > at
                if plan == WITH_VIRT:
                    null = second == 0 and behind - at in (1, 8, 16)
                    second = np.uint64(0)
                at = behind
            numbers[0, row] = np.uint64(0) if plan == BOUNCED else first
            numbers[1, row] = first if plan == BOUNCED else second
            numbers[2, row] = size
            count = 1 if good else 0
        if count:
            begin = at
            while text[at] != NEWLINE:
                at += 1
            stop = at - 1 if text[at - 1] == RETURN else at
            ends[line] = stop
            wanted = lead_tails[lead]
            if wanted == NO_TAIL:
                count = count if begin >= stop else 0
            else:
                tail = _code(aligned, begin, stop - begin, tails)
                count = count if tail_kinds[tail] == wanted else 0
        if count:
            state[line] = flags
            for number in range(row, row + count):
                lines[number] = line
                times[number] = seconds
                codes[0, number] = lead
                codes[1, number] = tail
                nulls[number] = null
                has[number] = lead_has[lead] if with_buffers else lead_has[lead] & ~_HAS_BUFFER
            row += count
        else:
            at, odd, equals = start, 0, 0
            while text[at] != NEWLINE:
                odd += not BLANK <= text[at] <= LAST_PRINTABLE
                equals += text[at] == EQUALS
                at += 1
            stop = at
            if at > start and text[at - 1] == RETURN:
                stop, odd = at - 1, odd - 1
            ends[line] = stop
            state[line] = ODD if odd else OTHER if timed and equals >= FEWEST_FIELDS else 0
        line += 1
        start = at + 1
    return row
