"""How does numba look addresses up in a flattened table, on all cores? (imported only if used)"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange


def _look_up(
    iovas: Any,
    starts: Any,
    first: int,
    slot_shift: int,
    page_shift: int,
    delta: Any,
    pas: Any,
    codes: Any,
) -> None:
    within = (1 << (slot_shift - page_shift)) - 1
    last = len(starts) - 1
    for i in prange(len(iovas)):
        page = np.int64(iovas[i] >> np.uint64(page_shift))
        slot = (page >> (slot_shift - page_shift)) - first
        known = slot if 0 <= slot < last else last
        found = delta[starts[known] + (page & within)]
        pas[i] = iovas[i] + found
        codes[i] = np.uint8(found & np.uint64(1))


look_up = njit(parallel=True, cache=True, nogil=True)(_look_up)
