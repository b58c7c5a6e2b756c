"""What stands for each of many bytes in a table?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def looked_up(codes: NDArray[np.uint8], table: Sequence[int]) -> NDArray[np.uint8]:
    """What does the table have for each code?

    As `table[codes]` of NumPy, which would make 64-bit numbers of the codes first: a recording has
    millions of them.

    Args:
        codes: each less than the table is long.
        table: up to 256 numbers, each less than 256.
    """
    room = bytes(table).ljust(1 << 8, b"\0")
    return np.frombuffer(codes.tobytes().translate(room), np.uint8)
