"""Does the compiled look-up find what NumPy's finds?"""

from __future__ import annotations

import numpy as np
import pytest

from topbit.smmu.flat import SLOT_SHIFT, Flat, look_up_numpy

look_up = pytest.importorskip("topbit.smmu.flat_numba").look_up

PAGE_SHIFT = 12
PER_SLOT = 1 << (SLOT_SHIFT - PAGE_SHIFT)
FIRST = 5
MISS = np.uint64(1)


def copy_of(slots: dict[int, int], count: int) -> Flat:
    """Every second page of the given slots (counted from FIRST) is mapped that far on."""
    misses = 1 + len(slots) * PER_SLOT
    starts = np.full(count + 1, misses, np.int64)
    delta = np.full(misses + PER_SLOT, MISS, np.uint64)
    for place, (slot, distance) in enumerate(slots.items()):
        starts[slot] = 1 + place * PER_SLOT
        delta[starts[slot] : starts[slot] + PER_SLOT : 2] = distance
    return Flat(FIRST, starts, len(slots) == count, PAGE_SHIFT, delta)


@pytest.mark.parametrize(
    ("slots", "count"),
    [({0: 0x4000_0000}, 1), ({0: 0x4000_0000, 1: 0x1000}, 2), ({0: 0x1000, 3: 0x2000}, 4)],
)
@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "as Python"])
def test_hits_and_misses_are_those_of_numpy(
    slots: dict[int, int], count: int, compiled: bool
) -> None:
    flat = copy_of(slots, count)
    edges = [(FIRST + slot) << SLOT_SHIFT for slot in (-1, 0, 1, 2, 3, 4, 5)]
    near = (-4096, -1, 0, 0xFFF, 0x1000, 0x2008, (PER_SLOT - 2) * 4096)
    iovas = np.array([0, *(edge + at for edge in edges for at in near), (1 << 52) - 1], np.uint64)
    pas, codes = np.zeros_like(iovas), np.full(iovas.shape, 7, np.uint8)
    call = look_up if compiled else look_up.py_func
    call(iovas, flat.starts, FIRST, SLOT_SHIFT, PAGE_SHIFT, flat.delta, pas, codes)
    expected, misses = np.zeros_like(iovas), np.zeros(iovas.shape, np.uint8)
    look_up_numpy(flat, iovas, expected, misses)
    assert codes.tolist() == misses.tolist()
    assert set(codes) == {0, 1}
    hit = codes == 0
    assert pas[hit].tolist() == expected[hit].tolist()
    first = (FIRST << SLOT_SHIFT) + 0xFFF
    assert pas[iovas == first] == first + slots[0]
