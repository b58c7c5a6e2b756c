"""How does numba read a line of a trace (imported only if used)?

head  4.100001  : name: device dir=TO_DEVICE dma_addr  =10a0  size=512  phys_addr=4000  attrs=
      time      lead                                  steps                             tail
"""

from __future__ import annotations

from typing import Any

import numpy as np

from topbit.readers.bulk.compiled_text import (
    NEWLINE,
    ZERO,
    behind,
    byte,
    code_of,
    decimal,
    fast,
    hexadecimal,
    line_end,
    places_of,
    zeros,
)
from topbit.readers.bulk.names import LONGEST
from topbit.readers.bulk.trace_lines import EXACTLY
from topbit.readers.bulk.words import MARGIN, ONES, WORD
from topbit.readers.columns import BITS

NONE, TO_SIZE, WITH_PHYS, WITH_VIRT, BOUNCED, ARRAYS, ARRAYS_AND_BUFFERS, BUFFERS = range(8)
"""What stands behind a lead, before the tail: what is not read here; an address and a size; these
and a buffer, or a virtual address; a buffer and a size; arrays of addresses and sizes; these and
one of buffers; an array of buffers."""
NO_TAIL, ATTRS, FLAGS, HOW = range(4)
"""How a line ends: as `trace_forms.TAILS`, or with a number."""
RETURN, BLANK, COLON, DOT, COMMA, EQUALS, X, OPEN, CLOSE = b"\r :.,=x{}"
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
NO_ROOM = -1
_EQUALS = np.uint64(EQUALS) * ONES
_EXACTLY = int(EXACTLY)
_HAS_BUFFER = BITS["phys"]


@fast
def _stamp_ends(text: Any, start: int, end: int, guess: int) -> int:
    """Where is the first ": " of the line that begins at `start`? -1 if nowhere."""
    at = start + guess
    if (
        at < end
        and byte(text, at) == COLON
        and byte(text, at + 1) == BLANK
        and byte(text, at - 7) == DOT
    ):
        # It need not be the first: what stands before it is no known head then.
        return at
    at = start
    while byte(text, at) != NEWLINE:
        if byte(text, at) == COLON and byte(text, at + 1) == BLANK:
            return at
        at += 1
    return -1


@fast
def _stamp(text: Any, start: int, end: int) -> Any:
    """Which time (seconds) ends there, and where does it begin? Where it ends, if it is none."""
    digits = 6 if byte(text, end - 7) == DOT else 9
    at = end - digits
    if byte(text, at - 1) != DOT:
        return 0.0, end
    total = 0
    unit = 1
    for number in range(digits):
        digit = byte(text, at + number) - ZERO
        if not 0 <= digit <= 9:
            return 0.0, end
        total = total * 10 + digit
        unit *= 10
    at -= 1
    factor = unit
    begin = at
    digit = byte(text, begin - 1) - ZERO
    while begin > start and 0 <= digit <= 9:
        begin -= 1
        if at - begin > 7:
            return 0.0, end
        total += factor * digit
        factor *= 10
        digit = byte(text, begin - 1) - ZERO
    if begin == at or byte(text, begin - 1) != BLANK or total >= _EXACTLY:
        return 0.0, end
    # Both are exact, and so the quotient is rounded as the number's own text is.
    return np.float64(total) / np.float64(unit), begin


@fast
def _lead_ends(text: Any, start: int) -> Any:
    """Where is the "=" before the first number of a line? -1 if nowhere near.

    Behind a line's end too: what holds one is no known lead.
    """
    seen = 0
    for at in range(start, start + LONGEST, WORD):
        found = places_of(text, at, _EQUALS)
        while found != 0:
            place = at + (zeros(found) >> 3)
            seen += 1
            letter = byte(text, place - 2)
            # dir, dma_mask; nents and ents behind a direction.
            if not (seen == 1 and letter in (LETTER_I, LETTER_S)) and not (
                2 <= seen <= 3 and letter == LETTER_T
            ):
                return place
            found &= found - np.uint64(1)
    return -1


@fast
def _array(text: Any, at: int, numbers: Any, which: int, row: int) -> Any:
    """How many numbers has an array {0x10,0x20}, and where does it end? 0 if it is none.

    They are put into the row `which` of `numbers`, from `row` on.
    """
    count = 0
    if byte(text, at) != OPEN:
        return 0, at
    while row + count < numbers.shape[1]:
        if byte(text, at + 1) != ZERO or byte(text, at + 2) != X:
            break
        value, end = hexadecimal(text, at + 3)
        if end == at + 3:
            break
        numbers[which, row + count] = value
        count += 1
        at = end
        if byte(text, at) == CLOSE:
            return count, at + 1
        if byte(text, at) != COMMA:
            break
    return 0, at


@fast
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
    start = behind(text, at, _SIZES)
    found, end = _array(text, start, numbers, 2, row)
    if start == at or found != count:
        return 0, False, at
    found = 0
    if plan == ARRAYS_AND_BUFFERS:
        start = behind(text, end, _BUFFERS)
        at = end
        found, end = _array(text, start, numbers, 1, row)
        if start == at or found == 0:
            return 0, False, at
    if found != count:
        # Entries that were merged have no buffer of their own.
        for place in range(row, row + count):
            numbers[1, place] = 0
    return count, found == count, end


@fast
def scan_lines(
    text: Any,
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
) -> Any:
    """How many events tell the lines of a text whose heads, leads and tails are known?

    With them, how many lines are there? NO_ROOM if more than have a place in `starts`.

    Args:
        text: the text.
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
        if line == len(starts):
            return row, NO_ROOM
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
                flags = head_flags[code_of(text, start, begin - start, heads)]
                lead = code_of(text, stamp, stop - stamp, leads)
                plan = plans[lead] if flags else NONE
                at = stop + 1
        if plan >= ARRAYS:
            count, with_buffers, at = _arrays(text, at, plan, numbers, row)
        elif plan != NONE:
            first, size_at = hexadecimal(text, at)
            good = size_at > at
            at = behind(text, size_at, _SIZE)
            good &= at > size_at
            size, more = decimal(text, at)
            good &= more > at
            at, second = more, np.uint64(0)
            if plan in (WITH_PHYS, WITH_VIRT):
                at = behind(text, more, _PHYS if plan == WITH_PHYS else _VIRT)
                second, after = hexadecimal(text, at)
                good &= at > more and after > at
                if plan == WITH_VIRT:
                    null = second == 0 and after - at in (1, 8, 16)
                    second = np.uint64(0)
                at = after
            numbers[0, row] = np.uint64(0) if plan == BOUNCED else first
            numbers[1, row] = first if plan == BOUNCED else second
            numbers[2, row] = size
            count = 1 if good else 0
        if count:
            begin = at
            at = line_end(text, at)
            stop = at - 1 if byte(text, at - 1) == RETURN else at
            ends[line] = stop
            wanted = lead_tails[lead]
            if wanted == NO_TAIL:
                count = count if begin >= stop else 0
            else:
                tail = code_of(text, begin, stop - begin, tails)
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
            while byte(text, at) != NEWLINE:
                odd += not BLANK <= byte(text, at) <= LAST_PRINTABLE
                equals += byte(text, at) == EQUALS
                at += 1
            stop = at
            if at > start and byte(text, at - 1) == RETURN:
                stop, odd = at - 1, odd - 1
            ends[line] = stop
            state[line] = ODD if odd else OTHER if timed and equals >= FEWEST_FIELDS else 0
        line += 1
        start = at + 1
    return row, line
