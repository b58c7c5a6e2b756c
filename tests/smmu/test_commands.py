"""What does each command of the queue make the SMMU forget?"""

import pytest

from topbit.arch.smmuv3 import Command, Config, Opcode
from topbit.smmu.commands import Caches, IllegalCommand, execute
from topbit.smmu.ste import StreamConfig
from topbit.smmu.walk import Leaf

VMID, OTHER = 3, 4
AT = 1 << 55
LEVELS = {12: (12, 21, 30, 39), 14: (14, 25, 36, 47), 16: (16, 29, 42, 55)}
TG = {12: 1, 14: 2, 16: 3}


def caches(granule: int = 12) -> Caches:
    """One entry of each size at 0 and of the smallest at each of 64 pages behind; STEs 0 to 15."""
    made = Caches()
    for vmid in (VMID, OTHER):
        for shift in LEVELS[granule]:
            made.tlb.insert(False, vmid, AT, Leaf(shift, granule, 0, 0))
        for page in range(64):
            made.tlb.insert(False, vmid, page << granule, Leaf(granule, granule, 0, 0))
    made.tlb.insert(True, VMID, 0, Leaf(granule, granule, 0, 0))
    made.stes = {sid: StreamConfig(Config.BYPASS) for sid in range(16)}
    return made


def pages(made: Caches, granule: int = 12, vmid: int = VMID) -> list[int]:
    """Which of the 64 pages are still remembered?"""
    return [page for page in range(64) if made.tlb.lookup(False, vmid, page << granule)]


def sizes(made: Caches) -> list[int]:
    """Which sizes of entry at AT are still remembered, the largest first?"""
    found = []
    while (leaf := made.tlb.lookup(False, VMID, AT)) is not None:
        found.append(leaf.shift)
        made.tlb.invalidate_range(False, VMID, AT, shifts=frozenset({leaf.shift}))
    return found


def run(made: Caches, command: Command, *, ds: bool = False) -> Caches:
    execute(command, made, ds=ds)
    return made


def ipa(address: int, **fields: int) -> Command:
    return Command(Opcode=Opcode.TLBI_S2_IPA, VMID=VMID, Address=address, **fields)


def test_all_or_those_of_a_vmid_are_forgotten() -> None:
    made = run(caches(), Command(Opcode=Opcode.TLBI_S12_VMALL, VMID=VMID))
    assert (pages(made), len(pages(made, vmid=OTHER))) == ([], 64)
    made = run(caches(), Command(Opcode=Opcode.TLBI_NSNH_ALL))
    assert pages(made) == pages(made, vmid=OTHER) == []
    assert made.tlb.lookup(True, VMID, 0) is not None
    assert len(made.stes) == 16


def test_one_address_without_tg_reaches_entries_of_any_size() -> None:
    made = run(caches(), ipa(5 << 12))
    assert pages(made) == [*range(5), *range(6, 64)]
    assert len(pages(made, vmid=OTHER)) == 64
    assert sizes(run(caches(), ipa(AT))) == []


@pytest.mark.parametrize("granule", [12, 14, 16])
@pytest.mark.parametrize(
    ("fields", "count"),
    [
        ({"NUM": 0, "SCALE": 1, "TTL": 0}, 2),
        ({"NUM": 2, "SCALE": 0, "TTL": 0}, 3),
        ({"NUM": 1, "SCALE": 2, "TTL": 0}, 8),
        ({"NUM": 0, "SCALE": 0, "TTL": 3}, 1),
        ({"NUM": 31, "SCALE": 1, "TTL": 3}, 60),
    ],
)
def test_a_range_is_num_plus_one_shifted_by_scale(
    granule: int, fields: dict[str, int], count: int
) -> None:
    made = run(caches(granule), ipa(4 << granule, TG=TG[granule], **fields))
    assert pages(made, granule) == [*range(4), *range(4 + count, 64)]


@pytest.mark.parametrize("granule", [12, 14, 16])
def test_a_range_reaches_entries_of_its_granule_only(granule: int) -> None:
    for other, tg in TG.items():
        made = run(caches(granule), ipa(0, TG=tg, NUM=31, SCALE=31))
        assert (pages(made, granule) == []) == (other == granule)


@pytest.mark.parametrize(
    ("granule", "ttl", "ds", "levels"),
    [
        (12, 0, False, (3, 2, 1, 0)),
        (12, 3, False, (3,)),
        (12, 2, False, (2,)),
        (12, 1, False, (1,)),
        (14, 3, False, (3,)),
        (14, 2, False, (2,)),
        (14, 1, True, (1,)),
        (14, 1, False, (3, 2, 1, 0)),  # level 1 of 16K tables has leaves only with DS
        (16, 1, False, (1,)),
    ],
)
def test_ttl_names_the_level_of_the_entries(
    granule: int, ttl: int, ds: bool, levels: tuple[int, ...]
) -> None:
    made = caches(granule)
    run(made, ipa(AT, TG=TG[granule], NUM=0, SCALE=1, TTL=ttl), ds=ds)
    left = [shift for number, shift in enumerate(LEVELS[granule]) if 3 - number not in levels]
    assert sizes(made) == left[::-1]


@pytest.mark.parametrize(
    ("scale", "ds", "count"),
    [(32, False, 1), (33, False, 2), (32, True, 64), (63, True, 64), (39, True, 64)],
)
def test_scale_is_wider_with_ds(scale: int, ds: bool, count: int) -> None:
    made = run(caches(), ipa(0, TG=1, NUM=0, SCALE=scale, TTL=3), ds=ds)
    assert pages(made) == list(range(count, 64))


@pytest.mark.parametrize(("scale", "left"), [(38, [12]), (39, []), (63, [])])
def test_the_widest_scale_is_39(scale: int, left: list[int]) -> None:
    made = run(caches(), ipa(0, TG=1, NUM=31, SCALE=scale, TTL=3), ds=True)  # to 1 << 55, 1 << 56
    assert [shift for shift in sizes(made) if shift == 12] == left


@pytest.mark.parametrize(
    "command",
    [
        ipa(0, TG=1),
        Command(Opcode=Opcode.SYNC, CS=3),
        Command(Opcode=Opcode.CFGI_STE, SSec=1),
        Command(Opcode=Opcode.CFGI_STE_RANGE, SSec=1),
        Command(Opcode=Opcode.PREFETCH_CONFIG, SSec=1),
        Command(Opcode=Opcode.PREFETCH_ADDR, SSec=1),
        Command(Opcode=Opcode.CFGI_CD),
        Command(Opcode=Opcode.TLBI_NH_ALL),
        Command(Opcode=0),
    ],
    ids=str,
)
def test_what_this_smmu_does_not_have_is_illegal_and_does_nothing(command: Command) -> None:
    made = caches()
    with pytest.raises(IllegalCommand):
        execute(command, made, ds=False)
    assert len(pages(made)) == 64
    assert len(made.stes) == 16


@pytest.mark.parametrize(
    "command",
    [
        Command(Opcode=Opcode.SYNC),
        Command(Opcode=Opcode.SYNC, CS=2),
        Command(Opcode=Opcode.PREFETCH_CONFIG),
        Command(Opcode=Opcode.PREFETCH_ADDR),
    ],
    ids=str,
)
def test_what_waits_and_what_hints_forgets_nothing(command: Command) -> None:
    made = caches()
    generation = made.tlb.generation
    run(made, command)
    assert (len(pages(made)), len(made.stes), made.tlb.generation) == (64, 16, generation)


@pytest.mark.parametrize(
    ("command", "gone"),
    [
        (Command(Opcode=Opcode.CFGI_STE, StreamID=5), {5}),
        (Command(Opcode=Opcode.CFGI_STE, StreamID=99), set()),
        (Command(Opcode=Opcode.CFGI_STE_RANGE, StreamID=5, Range=0), {4, 5}),
        (Command(Opcode=Opcode.CFGI_STE_RANGE, StreamID=9, Range=1), {8, 9, 10, 11}),
        (Command(Opcode=Opcode.CFGI_STE_RANGE, StreamID=0, Range=31), set(range(16))),
    ],
    ids=str,
)
def test_stream_table_entries_are_forgotten_alone_or_by_a_power_of_two(
    command: Command, gone: set[int]
) -> None:
    made = caches()
    generation = made.tlb.generation
    run(made, command)
    assert set(range(16)) - made.stes.keys() == gone
    assert len(pages(made)) == 64
    assert made.tlb.generation > generation  # copies of tables belong to streams too
