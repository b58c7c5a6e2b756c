"""Which translations are remembered, and which invalidation forgets which?"""

import pytest

from topbit.smmu.tlb import Tlb
from topbit.smmu.walk import Leaf

PAGE, BLOCK = 1 << 12, 1 << 21
VMID = 3


def leaf(shift: int = 12, granule: int = 12, oa: int = 0x8000_0000) -> Leaf:
    return Leaf(shift, granule, oa, 0xC3)


def test_a_leaf_is_found_for_each_address_that_it_maps() -> None:
    tlb, block = Tlb(), leaf(21)
    tlb.insert(False, VMID, 5 * BLOCK + 0x1234, block)
    found = [tlb.lookup(False, VMID, at) for at in (5 * BLOCK - 1, 5 * BLOCK, 6 * BLOCK - 1)]
    assert found == [None, block, block]
    assert tlb.lookup(False, VMID, 6 * BLOCK) is None
    assert len(tlb) == 1


def test_entries_belong_to_a_security_state_and_a_vmid() -> None:
    tlb = Tlb()
    tlb.insert(True, VMID, PAGE, leaf())
    assert tlb.lookup(True, VMID, PAGE) is not None
    assert tlb.lookup(False, VMID, PAGE) is None
    assert tlb.lookup(True, VMID + 1, PAGE) is None


@pytest.mark.parametrize("order", [(12, 21, 30), (30, 21, 12), (21, 30, 12)])
def test_of_entries_that_overlap_the_largest_is_taken(order: tuple[int, ...]) -> None:
    tlb = Tlb()
    for shift in order:
        tlb.insert(False, VMID, 0, leaf(shift))
    for gone, left in ((30, 21), (21, 12)):
        tlb.invalidate_range(False, VMID, 0, shifts=frozenset({gone}))
        found = tlb.lookup(False, VMID, 0)
        assert found is not None
        assert found.shift == left


def test_a_leaf_replaces_the_one_of_the_same_size() -> None:
    tlb = Tlb()
    tlb.insert(False, VMID, 0, leaf(oa=1 << 12))
    tlb.insert(False, VMID, 0, leaf(oa=2 << 12))
    assert len(tlb) == 1
    found = tlb.lookup(False, VMID, 0)
    assert found is not None
    assert found.oa == 2 << 12


def filled() -> Tlb:
    """Ten pages and a block of two VMIDs in both states."""
    tlb = Tlb()
    for realm in (False, True):
        for vmid in (VMID, VMID + 1):
            for page in range(10):
                tlb.insert(realm, vmid, page * PAGE, leaf())
            tlb.insert(realm, vmid, 7 * BLOCK, leaf(21))
    return tlb


def left(tlb: Tlb, realm: bool = False, vmid: int = VMID) -> list[int]:
    pages = [page for page in range(10) if tlb.lookup(realm, vmid, page * PAGE)]
    return pages + ([-1] if tlb.lookup(realm, vmid, 7 * BLOCK) else [])


ALL = [*range(10), -1]


def test_all_of_a_security_state_are_forgotten() -> None:
    tlb = filled()
    tlb.invalidate_all(False)
    assert left(tlb) == left(tlb, vmid=VMID + 1) == []
    assert left(tlb, True) == left(tlb, True, VMID + 1) == ALL


def test_all_of_a_vmid_are_forgotten() -> None:
    tlb = filled()
    tlb.invalidate_vmid(False, VMID)
    assert left(tlb) == []
    assert left(tlb, vmid=VMID + 1) == left(tlb, True) == ALL
    tlb.invalidate_vmid(False, 99)


@pytest.mark.parametrize(
    ("ipa", "size", "gone"),
    [
        (2 * PAGE, 1, [2]),
        (2 * PAGE + 0xFFF, 1, [2]),
        (2 * PAGE + 0xFFF, 2, [2, 3]),
        (2 * PAGE, PAGE, [2]),
        (2 * PAGE, PAGE + 1, [2, 3]),
        (0, 10 * PAGE, list(range(10))),
        (4 * PAGE, 1 << 40, [4, 5, 6, 7, 8, 9, -1]),
        (7 * BLOCK + 5 * PAGE, PAGE, [-1]),
        (8 * BLOCK, BLOCK, []),
    ],
)
def test_a_range_forgets_what_maps_any_byte_of_it(ipa: int, size: int, gone: list[int]) -> None:
    tlb = filled()
    tlb.invalidate_range(False, VMID, ipa, size)
    assert left(tlb) == [page for page in ALL if page not in gone]
    assert left(tlb, True) == left(tlb, vmid=VMID + 1) == ALL


@pytest.mark.parametrize(
    ("granule", "shifts", "pages", "block"),
    [
        (None, None, False, False),
        (12, None, False, False),
        (14, None, True, True),
        (12, {12}, False, True),
        (12, {21}, True, False),
        (None, {30}, True, True),
    ],
)
def test_a_command_may_reach_entries_of_one_granule_and_size_only(
    granule: int | None, shifts: set[int] | None, pages: bool, block: bool
) -> None:
    tlb = filled()
    chosen = None if shifts is None else frozenset(shifts)
    tlb.invalidate_range(False, VMID, 0, 1 << 40, granule=granule, shifts=chosen)
    assert left(tlb) == [*(range(10) if pages else ()), *([-1] if block else ())]


def test_each_invalidation_is_noticed_by_those_that_copied() -> None:
    tlb = filled()
    seen = [tlb.generation]
    for forget in (
        lambda: tlb.invalidate_all(True),
        lambda: tlb.invalidate_vmid(True, 99),
        lambda: tlb.invalidate_range(True, 99, 0),
    ):
        forget()
        seen.append(tlb.generation)
    assert len(set(seen)) == 4
    tlb.insert(False, VMID, 0, leaf())
    assert tlb.generation == seen[-1]
