"""Which line of a large text is it, without keeping all of them?"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from typing import overload

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

    Attributes:
        start, end: which lines of the file these are, from 0.
    """

    def __init__(self, data: Bytes) -> None:
        self._data = data
        # Some lines, at most STEP from each other, and where they begin.
        self._firsts: list[int] = []
        self._steps: list[int] = []
        self._behind = 0  # where the line behind the last one begins
        self.start = self.end = 0
        self._kept: OrderedDict[int, list[str]] = OrderedDict()

    def grow(self, count: int, steps: list[int], behind: int) -> None:
        """So many lines come next.

        Args:
            count: how many.
            steps: where every STEPth of them begins.
            behind: where what comes behind them begins.
        """
        self._firsts += range(self.end, self.end + count, STEP)
        self._steps += steps
        self.end += count
        self._behind = behind

    def part(self, start: int, end: int) -> Lines:
        """Which are these lines of the file?"""
        part = Lines(self._data)
        part._firsts, part._steps, part._behind = self._firsts, self._steps, self._behind
        part.start, part.end = start, end
        return part

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
        step = bisect_right(self._firsts, line) - 1
        return line + 1, self._block(step)[line - self._firsts[step]]

    def _block(self, number: int) -> list[str]:
        block = self._kept.get(number)
        if block is None:
            last = number + 1 == len(self._steps)
            end = self._behind if last else self._steps[number + 1]
            # Without the newline behind the last of them; behind the text there is none.
            text = characters(self._data[self._steps[number] : end - 1]).text
            block = self._kept[number] = [plain(line) for line in text.split("\n")]
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return block
