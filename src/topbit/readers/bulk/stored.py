"""Which line of a large text is it, without keeping all of them?"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import overload

import numpy as np

from topbit.readers.bulk.words import Places
from topbit.readers.encoding import characters
from topbit.readers.lines import plain
from topbit.readers.stored_bytes import Bytes

STEP = 256
"""Lines that are made to text together."""
KEPT = 4
"""How often as many are kept, so that going on from line to line costs nothing."""


class Lines(Sequence[tuple[int, str]]):
    """The lines of a text, or of a part of it: (number in the file from 1, the line).

    Args:
        data: the text's bytes.
        steps: where every STEPth line of the file begins.
        start, end: which lines of the file these are, from 0.
    """

    def __init__(self, data: Bytes, steps: Places, start: int, end: int) -> None:
        self._data, self._steps = data, steps
        self.start, self.end = start, end
        self._kept: OrderedDict[int, list[str]] = OrderedDict()

    def part(self, start: int, end: int) -> Lines:
        """Which are these lines of the file?"""
        return Lines(self._data, self._steps, start, end)

    def __len__(self) -> int:
        return self.end - self.start

    @overload
    def __getitem__(self, index: int) -> tuple[int, str]: ...
    @overload
    def __getitem__(self, index: slice) -> list[tuple[int, str]]: ...
    def __getitem__(self, index: int | slice) -> tuple[int, str] | list[tuple[int, str]]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        line = self.start + index
        return line + 1, self._block(line // STEP)[line % STEP]

    def _block(self, number: int) -> list[str]:
        block = self._kept.get(number)
        if block is None:
            start = int(self._steps[number])
            last = number + 1 == len(self._steps)
            end = len(self._data) if last else int(self._steps[number + 1]) - 1
            text = characters(self._data[start:end]).text
            block = self._kept[number] = [plain(line) for line in text.split("\n")]
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return block


def steps_of(starts: Places, before: int) -> Places:
    """Which of these lines are a STEPth one of the file, if `before` lines stand before them?"""
    return starts[np.arange(-before % STEP, len(starts), STEP)]
