"""How do the records of several CPUs come into the order of their times, a few at a time?

Of each CPU some records are at hand. What is not later than the last of them on any CPU can have
nothing before it that is still to come.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from topbit.readers.bulk.words import U64
from topbit.readers.columns import Piece, joined
from topbit.readers.trace_dat.cpu_columns import Block


def in_order(cpus: Sequence[Iterator[Block]]) -> Iterator[Block]:
    """Which events have these CPUs in the order of their times, some at a time?

    Args:
        cpus: of one clock. Of equal times the record of an earlier CPU comes first.

    Yields:
        blocks as those of a CPU; each follows the one before.
    """
    left = dict(enumerate(cpus))
    at_hand: dict[int, Block] = {}
    while True:
        for cpu in [cpu for cpu in left if cpu not in at_hand]:
            block = next((block for block in left[cpu] if len(block.times)), None)
            if block is None:
                del left[cpu]
            else:
                at_hand[cpu] = block
        if not at_hand:
            return
        # Of this one all is taken; of the others what cannot come behind more of it.
        limit, first = min((block.times[-1], cpu) for cpu, block in at_hand.items())
        taken = []
        for cpu, block in sorted(at_hand.items()):
            side: Literal["left", "right"] = "right" if cpu <= first else "left"
            count = int(np.searchsorted(block.times, limit, side))
            some, rest = _split(block, count)
            taken.append(some)
            if len(rest.times):
                at_hand[cpu] = rest
            else:
                del at_hand[cpu]
        yield _merged(taken)


def _split(block: Block, count: int) -> tuple[Block, Block]:
    """Which blocks are the first so many records, and the others?"""
    piece, times = block.piece, block.times
    if count == len(times):
        return block, Block(times[count:], Piece(0))
    if not piece.count:
        return Block(times[:count], Piece(0)), Block(times[count:], Piece(0))
    row = int(np.searchsorted(piece.columns["line"], count))
    before = {name: values[:row] for name, values in piece.columns.items()}
    behind = {name: values[row:] for name, values in piece.columns.items()}
    behind["line"] = behind["line"] - np.uint32(count)
    return (
        Block(times[:count], Piece(row, before)),
        Block(times[count:], Piece(piece.count - row, behind)),
    )


def _merged(blocks: list[Block]) -> Block:
    blocks = [block for block in blocks if len(block.times)]
    if len(blocks) == 1:
        return blocks[0]
    times: U64 = np.concatenate([block.times for block in blocks])
    order = np.argsort(times, kind="stable")
    place = np.empty(len(order), np.uint32)
    place[order] = np.arange(len(order), dtype=np.uint32)
    pieces, before = [], 0
    for block in blocks:
        piece = block.piece
        if piece.count:
            line = place[piece.columns["line"].astype(np.int64) + before]
            pieces.append(Piece(piece.count, piece.columns | {"line": line}))
        before += len(block.times)
    whole = joined(pieces)
    if len(pieces) > 1:
        whole = whole.taken(np.argsort(whole.columns["line"], kind="stable"))
    return Block(times[order], whole)
