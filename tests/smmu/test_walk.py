"""Which descriptor ends a walk, and in what?"""

import pytest

from topbit.arch.smmuv3 import EventType
from topbit.arch.stage2 import Granule
from topbit.smmu.bus import FetchAbort
from topbit.smmu.ste import Stage2
from topbit.smmu.walk import Leaf, WalkFault, walk

ROOT, L2, L3 = 0x8000_0000, 0x8001_0000, 0x8002_0000
IPA = 0x40_2003_4567  # index 0x100 at level 1, 0x100 at level 2, 0x34 at level 3
PAGE, BLOCK, AF, RW = 0x3, 0x1, 1 << 10, 3 << 6
FAULT = {
    "translation": WalkFault(EventType.F_TRANSLATION),
    "size": WalkFault(EventType.F_ADDR_SIZE),
    "access": WalkFault(EventType.F_ACCESS),
}


def stage2(**changes: object) -> Stage2:
    fields = {
        "root": ROOT, "granule": Granule(12), "start_level": 1, "input_bits": 40,
        "output_bits": 44, "vmid": 1, "access_flag": True, "record": True,
    }  # fmt: skip
    return Stage2(**{**fields, **changes})  # type: ignore[arg-type]


TABLES = {ROOT + 8 * 0x100: L2 | 3, L2 + 8 * 0x100: L3 | 3}
LEAF_AT = L3 + 8 * 0x34


def end(descriptors: dict[int, int], ipa: int = IPA, **changes: object) -> Leaf | WalkFault:
    def fetch(pa: int) -> int:
        if pa not in descriptors:
            raise FetchAbort(pa, gpf=pa > L3)
        return descriptors[pa]

    return walk(stage2(**changes), ipa, fetch)


def test_a_page_is_found_through_three_levels() -> None:
    descriptor = 0x123_4567_8000 & (1 << 44) - 1 | PAGE | AF | RW
    found = end({**TABLES, LEAF_AT: descriptor})
    assert found == Leaf(12, 12, descriptor & ~0xFFF, descriptor)


@pytest.mark.parametrize(
    ("at", "shift", "oa"),
    [(L2 + 8 * 0x100, 21, 0x1_2340_0000), (ROOT + 8 * 0x100, 30, 0x1_4000_0000)],
)
def test_a_block_ends_the_walk_and_its_low_bits_are_ignored(at: int, shift: int, oa: int) -> None:
    descriptor = oa | 0x1000 | BLOCK | AF | RW
    assert end({**TABLES, at: descriptor}) == Leaf(shift, 12, oa, descriptor)


@pytest.mark.parametrize(
    ("descriptor", "fault"),
    [
        (0, "translation"),
        (0x1000 | AF | RW, "translation"),
        (0x1000 | 2 | AF | RW, "translation"),
        (0x1000 | BLOCK | AF | RW, "translation"),  # no block at level 3
        (1 << 44 | PAGE | AF | RW, "size"),
        (1 << 47 | PAGE | RW, "size"),  # before the access flag
        (0x1000 | PAGE | RW, "access"),
    ],
)
def test_a_last_descriptor_that_is_no_page(descriptor: int, fault: str) -> None:
    assert end({**TABLES, LEAF_AT: descriptor}) == FAULT[fault]


@pytest.mark.parametrize(
    ("at", "descriptor", "fault"),
    [
        (ROOT + 8 * 0x100, 0, "translation"),
        (ROOT + 8 * 0x100, 1 << 44 | 3, "size"),
        (L2 + 8 * 0x100, 1 << 44 | 3, "size"),
        (L2 + 8 * 0x100, 1 << 44 | BLOCK | AF, "size"),
        (L2 + 8 * 0x100, 0x20_0000 | BLOCK, "access"),
    ],
)
def test_descriptors_above_the_last_level(at: int, descriptor: int, fault: str) -> None:
    assert end({**TABLES, at: descriptor}) == FAULT[fault]


def test_the_largest_output_address_is_no_fault() -> None:
    descriptor = (1 << 44) - 0x1000 | PAGE | AF
    assert isinstance(end({**TABLES, LEAF_AT: descriptor}), Leaf)


def test_a_block_where_none_may_stand() -> None:
    block = 1 << 39 | BLOCK | AF
    root = {ROOT + 8 * (IPA >> 39): block}
    assert end(root, granule=Granule(12), start_level=0) == FAULT["translation"]
    wide = end(root, granule=Granule(12, ds=True), start_level=0)
    assert wide == Leaf(39, 12, 1 << 39, block)


def test_without_the_access_flag_check_a_clear_flag_is_no_fault() -> None:
    found = end({**TABLES, LEAF_AT: 0x1000 | PAGE | RW}, access_flag=False)
    assert isinstance(found, Leaf)


@pytest.mark.parametrize(
    ("missing", "gpf"), [(ROOT + 8 * 0x100, False), (L2 + 8 * 0x100, False), (LEAF_AT, True)]
)
def test_a_fetch_that_aborts_names_its_address(missing: int, gpf: bool) -> None:
    tables = {at: entry for at, entry in TABLES.items() if at != missing}
    assert end(tables) == WalkFault(EventType.F_WALK_EABT, missing, gpf)


@pytest.mark.parametrize(("ipa", "walked"), [((1 << 40) - 1, True), (1 << 40, False)])
def test_an_input_beyond_the_width_is_no_walk(ipa: int, walked: bool) -> None:
    found = end({}, ipa)
    assert (found.type == EventType.F_WALK_EABT) == walked  # type: ignore[union-attr]


def test_concatenated_root_tables_are_one_table() -> None:
    ipa = 15 << 39 | 0x1000
    where = ROOT + 8 * (ipa >> 30)
    block = 1 << 30 | BLOCK | AF
    assert end({where: block}, ipa, input_bits=43) == Leaf(30, 12, 1 << 30, block)


@pytest.mark.parametrize(
    ("descriptor", "read", "write"),
    [(0, False, False), (1 << 6, True, False), (1 << 7, False, True)],
)
def test_a_leaf_permits_reads_and_writes_apart(descriptor: int, read: bool, write: bool) -> None:
    leaf = Leaf(12, 12, 0, descriptor)
    assert (leaf.permits(False), leaf.permits(True)) == (read, write)


def test_the_ns_bit_leads_out_of_the_realm() -> None:
    assert Leaf(12, 12, 0, 1 << 55).non_secure
    assert not Leaf(12, 12, 0, ~(1 << 55)).non_secure
