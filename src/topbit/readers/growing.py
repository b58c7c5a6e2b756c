"""How does an array grow to any length without ever being there twice?"""

from __future__ import annotations

import mmap
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

FIRST = 1 << 16
"""Bytes that are there at first."""


class Growing:
    """An array that grows at its end.

    Its memory is the system's own: growing moves pages and copies none, and what was only skipped
    takes no memory until it is written to.

    Args:
        dtype: type of its entries.
    """

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self._size = 0  # entries
        # Shared memory, which is the default, does not grow.
        self._memory = mmap.mmap(-1, FIRST, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)

    def __len__(self) -> int:
        return self._size

    def skip(self, count: int) -> None:
        """So many more entries are 0."""
        self._size += count
        needed = self._size * self.dtype.itemsize
        if needed > len(self._memory):
            self._memory.resize(max(needed, 2 * len(self._memory)))

    def extend(self, values: Array) -> None:
        """These are the next entries. A wider type than the array's makes it wider."""
        start = self._size
        self.skip(len(values))
        self.put(start, values)

    def put(self, start: int, values: Array) -> None:
        """From `start` on these are the entries."""
        if not np.can_cast(values.dtype, self.dtype):
            self._widen(np.promote_types(values.dtype, self.dtype))
        self.array()[start : start + len(values)] = values

    def array(self) -> Array:
        """Which array is it? It must be given up before the next entries come."""
        return np.frombuffer(self._memory, self.dtype, self._size)

    def _widen(self, dtype: np.dtype[Any]) -> None:
        wider = Growing(dtype)
        wider.skip(self._size)
        wider.array()[:] = self.array()
        self.dtype, self._memory = dtype, wider._memory
