"""Which lines of a chunk are usual trace lines? With numba, byte after byte.

    head  4.100001  : name: device dir=TO_DEVICE dma_addr  =10a0  size=512   phys_addr=4000   attrs=
          time      lead                                  address size       phys             tail

Only heads, leads and tails that are known already count here, and only the commonest forms: all
other lines are left to `trace_lines`, which gets to know them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from topbit.readers.bulk.chunk import Chunk, chunk_of
from topbit.readers.bulk.event_columns import columns_of, failed_maps, narrow
from topbit.readers.bulk.known import BEGINS_A_LINE, GOOD, Known
from topbit.readers.bulk.names import LONGEST
from topbit.readers.bulk.trace_forms import FORMS, TAILS, Form
from topbit.readers.bulk.trace_lines import EXACTLY, TraceLines, trace_lines
from topbit.readers.bulk.words import MARGIN, Text, Words, scratch
from topbit.readers.columns import Piece, joined
from topbit.recording.schema import ERROR

_fast = njit(cache=True, nogil=True)

NEITHER, TO_SIZE, TO_TAIL, WITH_PHYS, BOUNCED = range(5)
"""How a form goes on behind its lead: as none of these; with an address and a size; with a tail
behind them; with a buffer's address before the tail; or with a buffer's address, a size, a tail."""
NEWLINE, RETURN, BLANK, COLON, DOT, EQUALS, ZERO, NINE, A, F = b"\n\r :.=09af"
LAST_PRINTABLE = ord("~")
SIZE = np.frombuffer(b" size=", np.uint8)
PHYS = np.frombuffer(b" phys_addr=", np.uint8)
ATTRS, HOW = TAILS.index("attrs"), TAILS.index("how")
ODD = 0x80
"""What the scan tells of a line that is not usual and holds a character that is not printable."""
_EVERY, _HALF = np.uint64(0xFFFF_FFFF_FFFF_FFFF), np.uint64(32)


def _plan(form: Form) -> int:
    before = form.keys[: form.lead]
    plans: dict[tuple[tuple[str, ...], ...], int] = {
        (("dir",), ("dma_addr", "size")): TO_SIZE,
        (("dir",), ("dma_addr", "size", "attrs")): TO_TAIL,
        (("dir",), ("dma_addr", "size", "phys_addr", "attrs")): WITH_PHYS,
        (("dma_mask",), ("dev_addr", "size")): BOUNCED,
    }
    return plans.get((before, form.keys[form.lead :]), NEITHER)


_PLANS = np.array([*map(_plan, FORMS), NEITHER], np.uint8)


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
    slot = total >> np.uint64(48)
    return slots[slot] if hashes[slot] == total else 0


@_fast
def _follows(text: Any, at: int, literal: Any) -> bool:
    same = True
    for number in range(len(literal)):
        same &= text[at + number] == literal[number]
    return same


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
    """Where is the second "=" behind this place? -1 if the line ends before."""
    seen = 0
    for place in range(at, at + LONGEST):
        byte = text[place]
        if byte == EQUALS:
            seen += 1
            if seen == 2:
                return place
        elif byte == NEWLINE:
            break
    return -1


@_fast
def _scan(
    text: Any,
    aligned: Any,
    end: int,
    heads: Any,
    leads: Any,
    tails: Any,
    head_flags: Any,
    plans: Any,
    tail_kinds: Any,
    starts: Any,
    ends: Any,
    state: Any,
    lines: Any,
    times: Any,
    lead_codes: Any,
    tail_codes: Any,
    numbers: Any,
) -> int:
    """Fill the arrays: of each line from `starts` to `state`, of each usual one from `lines` on."""
    line, row, start, guess = 0, 0, MARGIN, 0
    while start < end:
        starts[line] = start
        lead = tail = flags = 0
        address = phys = size = np.uint64(0)
        seconds = 0.0
        good = False
        at = start
        stamp = _stamp_ends(text, start, end, guess)
        if stamp >= 0:
            guess = stamp - start
            seconds, begin = _stamp(text, start, stamp)
            stop = _lead_ends(text, stamp) if begin < stamp else -1
            if stop >= 0:
                flags = head_flags[_code(aligned, start, begin - start, heads)]
                lead = _code(aligned, stamp, stop - stamp, leads)
        plan = plans[lead]
        if flags and plan != NEITHER:
            address, at = _hexadecimal(text, stop + 1)
            good = at > stop + 1 and _follows(text, at, SIZE)
            if good:
                begin = at + len(SIZE)
                size, at = _decimal(text, begin)
                good = at > begin
            if good and plan == WITH_PHYS:
                begin = at + len(PHYS)
                good = _follows(text, at, PHYS)
                if good:
                    phys, at = _hexadecimal(text, begin)
                    good = at > begin
            elif plan == BOUNCED:
                address, phys = np.uint64(0), address
            if good:
                begin = at
                while text[at] != NEWLINE:
                    at += 1
                stop = at - 1 if text[at - 1] == RETURN else at
                if plan == TO_SIZE:
                    good = begin >= stop
                else:
                    tail = _code(aligned, begin, stop - begin, tails)
                    good = tail_kinds[tail] == (HOW if plan == BOUNCED else ATTRS)
                ends[line] = stop
        if good:
            state[line] = flags
            lines[row] = line
            times[row] = seconds
            lead_codes[row] = lead
            tail_codes[row] = tail
            numbers[0, row] = address
            numbers[1, row] = phys
            numbers[2, row] = size
            row += 1
        else:
            at, odd = start, 0
            while text[at] != NEWLINE:
                odd += not BLANK <= text[at] <= LAST_PRINTABLE
                at += 1
            stop = at
            if at > start and text[at - 1] == RETURN:
                stop, odd = at - 1, odd - 1
            ends[line] = stop
            state[line] = ODD if odd else 0
        line += 1
        start = at + 1
    return row


def scan(text: Text, known: Known) -> tuple[Chunk, TraceLines]:
    """Which lines has a text, and what tell its trace lines? As `chunk_of` and `trace_lines`.

    The chunk lacks its marks.
    """
    size = len(text) - 2 * MARGIN
    part = text[MARGIN : MARGIN + size]
    count = np.count_nonzero(np.equal(part, NEWLINE, out=scratch(0, size)))
    starts, ends = np.empty((2, count), np.int64)
    state, lines = np.empty(count, np.uint8), np.empty(count, np.uint32)
    times, numbers = np.empty(count), np.empty((3, count), np.uint64)
    leads, tails = np.empty((2, count), np.int32)
    rows = _scan(
        text,
        text[: len(text) // 8 * 8].view("<u8"),
        MARGIN + size,
        known.heads.names.table,
        known.leads.names.table,
        known.tails.names.table,
        known.heads.table[0].astype(np.uint8),
        _PLANS[known.leads.table[0].astype(np.int64)],
        known.tails.table[0].astype(np.uint8),
        starts,
        ends,
        state,
        lines,
        times,
        leads,
        tails,
        numbers,
    )
    told = list(known.leads.table[:, leads[:rows]])
    form = told[0].astype(np.int64)
    kinds, words = known.tails.table[:, tails[:rows]]
    columns = columns_of(known, form, told, lines[:rows], times[:rows])
    columns |= zip(("address", "phys", "size"), numbers[:, :rows], strict=True)
    # The name of no tail, 0, means nothing.
    columns["attrs"] = narrow(words * (kinds != HOW))
    columns["status"] = narrow(words * (kinds == HOW))
    failed = failed_maps(columns, form)
    if failed.any():
        columns["status"][failed] = known.number("status", ERROR)
    none = np.empty(0, np.int64)
    chunk = Chunk(Words(text), starts, ends, none, none, none, none, state == ODD)
    usual = TraceLines(Piece(rows, columns), (state & GOOD) != 0, (state & BEGINS_A_LINE) != 0)
    return chunk, _with_others(usual, chunk, known)


def _with_others(usual: TraceLines, chunk: Chunk, known: Known) -> TraceLines:
    """What tell the trace lines that are not usual, or whose texts are not known yet, as well?"""
    lines = np.flatnonzero(~usual.regular & ~chunk.odd)
    if not len(lines):
        return usual
    length = chunk.ends[lines] + 1 - chunk.starts[lines]
    behind = np.cumsum(length)
    text = np.full(2 * MARGIN + behind[-1], BLANK, np.uint8)
    moved = np.repeat(chunk.starts[lines] - behind + length, length) + np.arange(behind[-1])
    text[MARGIN : MARGIN + behind[-1]] = chunk.words.text[moved]
    # It may have been a carriage return.
    text[MARGIN + behind - 1] = NEWLINE
    others = trace_lines(chunk_of(text), known)
    usual.regular[lines] = others.regular
    usual.begins[lines] = others.begins
    piece = others.piece
    if piece.count:
        piece.columns["line"] = lines[piece.columns["line"]].astype(np.uint32)
        piece = joined((usual.piece, piece))
        piece = piece.taken(np.argsort(piece.columns["line"], kind="stable"))
    return TraceLines(piece if piece.count else usual.piece, usual.regular, usual.begins)
