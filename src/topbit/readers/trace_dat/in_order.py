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
from topbit.readers.growing import Array
from topbit.readers.trace_dat.cpu_columns import Block

AT_HAND = 2
"""Blocks of one CPU that are at hand at most."""


def in_order(cpus: Sequence[Iterator[Block]]) -> Iterator[Block]:
    """Which events have these CPUs in the order of their times, some at a time?

    Args:
        cpus: of one clock. Of equal times the record of an earlier CPU comes first.

    Yields:
        blocks as those of a CPU; each follows the one before.
    """
    coming = dict(enumerate(cpus))
    at_hand: dict[int, list[Block]] = {cpu: [] for cpu in coming}
    while True:
        for cpu in [cpu for cpu in coming if not at_hand[cpu]]:
            _ask_for_more(cpu, coming, at_hand)
        # However many CPUs there are, what half of them have at hand is taken each time.
        ends = {cpu: at_hand[cpu][-1].times[-1] for cpu in coming}
        middle = sorted(ends.values())[len(ends) // 2] if ends else 0
        for cpu, end in ends.items():
            if end < middle and len(at_hand[cpu]) < AT_HAND:
                _ask_for_more(cpu, coming, at_hand)
        taken = _taken(coming, at_hand)
        at_hand = {cpu: blocks for cpu, blocks in at_hand.items() if blocks or cpu in coming}
        if taken:
            yield _merged(taken)
        if not at_hand:
            return


def _ask_for_more(
    cpu: int, coming: dict[int, Iterator[Block]], at_hand: dict[int, list[Block]]
) -> None:
    block = next((block for block in coming[cpu] if len(block.times)), None)
    if block is None:
        del coming[cpu]
    else:
        at_hand[cpu].append(block)


def _taken(coming: dict[int, Iterator[Block]], at_hand: dict[int, list[Block]]) -> list[Block]:
    """Take what nothing that is still to come stands before. What is left stays at hand."""
    if not coming:
        taken = [block for blocks in at_hand.values() for block in blocks]
        at_hand.clear()
        return taken
    limit, first = min((at_hand[cpu][-1].times[-1], cpu) for cpu in coming)
    taken = []
    for cpu, blocks in at_hand.items():
        # Of the one with the least at hand all is taken, and of others what cannot follow more.
        side: Literal["left", "right"] = "right" if cpu <= first else "left"
        while blocks and blocks[0].times[0] <= limit:
            count = int(np.searchsorted(blocks[0].times, limit, side))
            some, rest = _split(blocks[0], count)
            taken.append(some)
            if len(rest.times):
                blocks[0] = rest
                break
            del blocks[0]
    return [block for block in taken if len(block.times)]


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
    if len(blocks) == 1:
        return blocks[0]
    times: U64 = np.concatenate([block.times for block in blocks])
    order = np.argsort(times, kind="stable")
    numbers = np.arange(len(order), dtype=np.uint32)
    if all(np.array_equal(_lines(block), numbers[: len(block.times)]) for block in blocks):
        # Nearly always: each record is an event.
        whole = joined([block.piece for block in blocks]).taken(order)
        whole.columns["line"] = numbers
        return Block(times[order], whole)
    place = np.empty(len(order), np.uint32)
    place[order] = numbers
    pieces, before = [], 0
    for block in blocks:
        piece = block.piece
        if piece.count:
            line = place[_lines(block).astype(np.int64) + before]
            pieces.append(Piece(piece.count, piece.columns | {"line": line}))
        before += len(block.times)
    whole = joined(pieces)
    if len(pieces) > 1:
        whole = whole.taken(np.argsort(whole.columns["line"], kind="stable"))
    return Block(times[order], whole)


def _lines(block: Block) -> Array:
    """The number of each event's record."""
    return block.piece.columns.get("line", np.zeros(0, np.uint32))
