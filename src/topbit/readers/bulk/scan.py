"""Which lines of a chunk are usual trace lines? With numba (imported only if used).

Only heads, leads and tails that are known already count there: all other lines are left to
`trace_lines`, which gets to know them.
"""

from __future__ import annotations

import numpy as np

from topbit.readers.bulk import compiled
from topbit.readers.bulk.chunk import Chunk, chunk_of
from topbit.readers.bulk.compiled import BLANK, NO_ROOM, ODD, OTHER, scan_lines
from topbit.readers.bulk.compiled_needles import telling_compiled
from topbit.readers.bulk.compiled_text import NEWLINE
from topbit.readers.bulk.event_columns import (
    ALLOCATIONS,
    HAS_OF,
    LISTS,
    columns_of,
    failed_maps,
    narrow,
)
from topbit.readers.bulk.known import BEGINS_A_LINE, GOOD, Known
from topbit.readers.bulk.surveyor import Means
from topbit.readers.bulk.trace_forms import FORMS, TAILS, Form
from topbit.readers.bulk.trace_lines import TraceLines, trace_lines
from topbit.readers.bulk.words import MARGIN, Places, Text, Words, scratch
from topbit.readers.columns import BITS, HAS, Piece, joined
from topbit.recording.schema import ERROR

AN_ENTRY = 24
"""Characters of a scatterlist's entry at least, as a rule; lines of others are left to NumPy."""
USUAL_LINE = 32
"""Characters that lines have at least on average, as a rule; others are counted first."""
_PLANS_OF_KEYS = {
    ("dma_addr", "size"): compiled.TO_SIZE,
    ("dma_addr", "size", "phys_addr"): compiled.WITH_PHYS,
    ("dma_addr", "size", "virt_addr"): compiled.WITH_VIRT,
    ("dev_addr", "size"): compiled.BOUNCED,
    ("dma_addrs", "sizes"): compiled.ARRAYS,
    ("dma_addrs", "sizes", "phys_addrs"): compiled.ARRAYS_AND_BUFFERS,
    ("phys_addrs",): compiled.BUFFERS,
}
_KINDS = {"attrs": compiled.ATTRS, "flags": compiled.FLAGS, "how": compiled.HOW}


def _has(form: Form) -> int:
    return sum(int(BITS[LISTS[key]]) for key in form.keys if key in LISTS)


def _plan(form: Form) -> int:
    keys = tuple(key for key in form.keys[form.lead :] if key not in TAILS)
    return _PLANS_OF_KEYS.get(keys, compiled.NONE)


_PLANS = np.array([*map(_plan, FORMS), compiled.NONE], np.int64)
_TAILS = np.array([_KINDS.get(form.tail or "", compiled.NO_TAIL) for form in FORMS] + [0], np.int64)
_HAS = HAS_OF | np.array([*map(_has, FORMS), 0], np.uint16)
_KIND_OF_TAIL = np.array([*(_KINDS[kind] for kind in TAILS), compiled.NO_TAIL], np.int64)


def scan(text: Text, known: Known) -> tuple[Chunk, TraceLines]:
    """Which lines has a text, and what tell its trace lines? As `chunk_of` and `trace_lines`.

    The chunk lacks its marks.
    """
    size = len(text) - 2 * MARGIN
    found = _scan(text, known, size // USUAL_LINE + 1)
    if found is None:
        part = text[MARGIN : MARGIN + size]
        count = int(np.count_nonzero(np.equal(part, NEWLINE, out=scratch(0, size))))
        found = _scan(text, known, count)
        assert found is not None
    return found


def _scan(text: Text, known: Known, count: int) -> tuple[Chunk, TraceLines] | None:
    """As `scan`; None if there are more than `count` lines."""
    size = len(text) - 2 * MARGIN
    most = count + size // AN_ENTRY
    starts, ends = np.empty((2, count), np.int64)
    state, nulls = np.empty(count, np.uint8), np.empty(most, np.bool_)
    lines, codes = np.empty(most, np.uint32), np.empty((2, most), np.int64)
    times, numbers = np.empty(most), np.empty((3, most), np.uint64)
    has, forms = np.empty(most, np.uint16), known.leads.table[0].astype(np.int64)
    rows, there = scan_lines(
        text,
        MARGIN + size,
        known.heads.names.table,
        known.leads.names.table,
        known.tails.names.table,
        known.heads.table[0].astype(np.uint8),
        _PLANS[forms],
        _TAILS[forms],
        _HAS[forms],
        _KIND_OF_TAIL[known.tails.table[0].astype(np.int64)],
        starts,
        ends,
        state,
        lines,
        times,
        codes,
        has,
        nulls,
        numbers,
    )
    if there == NO_ROOM:
        return None
    starts, ends, state = starts[:there], ends[:there], state[:there]
    leads, tails = codes[:, :rows]
    form = forms[leads]
    columns = columns_of(known, leads, lines[:rows], times[:rows].copy())
    columns |= zip(("address", "phys", "size"), numbers[:, :rows].copy(), strict=True)
    columns[HAS] = has[:rows].copy()
    kinds, words = known.tails.table
    # The name of no tail, 0, means nothing.
    columns["attrs"] = narrow(words * (kinds != TAILS.index("how")))[tails]
    columns["status"] = narrow(words * (kinds == TAILS.index("how")))[tails]
    failed = failed_maps(columns, form) | (nulls[:rows] & ALLOCATIONS[form])
    if failed.any():
        columns["status"][failed] = known.number("status", ERROR)
    none = np.empty(0, np.int64)
    chunk = Chunk(Words(text), starts, ends, none, none, none, none, state == ODD)
    usual = TraceLines(Piece(rows, columns), (state & GOOD) != 0, (state & BEGINS_A_LINE) != 0)
    return chunk, _with_others(usual, chunk, np.flatnonzero(state == OTHER), known)


def _with_others(usual: TraceLines, chunk: Chunk, lines: Places, known: Known) -> TraceLines:
    """What tell these lines as well, that are not usual, or whose texts are not known yet?"""
    if not len(lines):
        return usual
    margin = bytes([BLANK]) * MARGIN
    text = np.frombuffer(bytearray(b"".join((margin, *chunk.bytes_of(lines), margin))), np.uint8)
    # It may have been a carriage return.
    text[MARGIN - 1 + np.cumsum(chunk.ends[lines] + 1 - chunk.starts[lines])] = NEWLINE
    others = trace_lines(chunk_of(text), known)
    usual.regular[lines] = others.regular
    usual.begins[lines] = others.begins
    piece = others.piece
    if piece.count:
        piece.columns["line"] = lines[piece.columns["line"]].astype(np.uint32)
        piece = joined((usual.piece, piece))
        piece = piece.taken(np.argsort(piece.columns["line"], kind="stable"))
    return TraceLines(piece if piece.count else usual.piece, usual.regular, usual.begins)


COMPILED = Means(scan, telling_compiled)
