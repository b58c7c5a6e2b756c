"""Batch translation: the reference agrees with single accesses, the fast path with both."""

from typing import Any

import numpy as np
import pytest

import realm_stream_table
from paths import DATA
from replay_smmu import Bench, records
from topbit.arch.gpt import PAS
from topbit.arch.smmuv3 import EventType
from topbit.arch.smmuv3_regs import CR0, GBPA_ABORT, GBPA_UPDATE, Reg
from topbit.arch.stage2 import NS, Granule
from topbit.host.io_pgtable import READ, WRITE, Stage2Table
from topbit.host.pages import PageRange
from topbit.memory import PhysicalMemory
from topbit.smmu import Fault, Ok, Outcome, Smmu, Terminated, flat
from topbit.smmu.translate import Code, Translator

VECTORS = DATA / "vectors"
SID = 8
REASONS = {"abort": Code.ABORT, "gbpa": Code.GBPA, "oas": Code.OAS}


def as_code(outcome: Outcome) -> tuple[int, int]:
    """What does `translate` say for an outcome of `access`?"""
    if isinstance(outcome, Ok):
        return outcome.pa, 0
    if isinstance(outcome, Fault):
        return 0, outcome.event.Type
    if outcome.event is not None:
        return 0, outcome.event.Type
    return 0, REASONS.get(outcome.reason, Code.GPF)


def one(smmu: Smmu, access: list[Any], *, reference: bool) -> tuple[int, int]:
    sid, address, _, rw = access
    iovas = np.array([int(address, 0)], np.uint64)
    pas, codes = Translator(smmu).translate(sid, iovas, rw == "w", reference=reference)
    return int(pas[0]), int(codes[0])


@pytest.mark.parametrize(
    "name", ["smmu-s2-public.jsonl.xz", "smmu-s2-concatenated-expected.jsonl.xz"]
)
def test_reference_fast_path_and_single_access_agree_on_every_vector(name: str) -> None:
    bench = Bench(PhysicalMemory(0x4000_0000, 0x2000_0000))
    compared = 0
    for case in records(VECTORS / name):
        if "header" in case:
            continue
        bench.start(case)
        for step in case["steps"]:
            if "write" in step:
                bench.store(step["write"])
            elif "ste" in step:
                bench.ste(*step["ste"])
            elif "cmd" in step:
                bench.command(*step["cmd"])
            else:
                # Nothing stale may be left, so that all three see the tables as they are.
                bench.smmu.caches.tlb.invalidate_all(False)
                single = as_code(bench.access(*_numbers(step["access"])))
                assert one(bench.smmu, step["access"], reference=True) == single
                assert one(bench.smmu, step["access"], reference=False) == single
                compared += 1
    assert compared > 2000


def _numbers(access: list[Any]) -> tuple[int, int, int, str]:
    sid, address, size, rw = access
    return sid, int(address, 0), size, rw


def machine(
    granule: Granule, ipa_bits: int, start_level: int | None, oas_bits: int = 52
) -> tuple[Smmu, Stage2Table]:
    memory = PhysicalMemory(0x4000_0000, 32 << 20)
    pages = PageRange(memory, 0x4100_0000, 16 << 20)
    table = Stage2Table(
        memory,
        pages,
        ipa_bits,
        granule=granule,
        start_level=start_level,
        output_bits=52 if granule.ds else 48,
    )
    memory.write(0x4000_0000 + 64 * SID, table.ste(1).pack())
    smmu = Smmu(memory, oas_bits=oas_bits)
    smmu.write_reg(Reg.STRTAB_BASE, 0x4000_0000)
    smmu.write_reg(Reg.STRTAB_BASE_CFG, 8)
    smmu.write_reg(Reg.CR0, CR0.SMMUEN)
    return smmu, table


GEOMETRIES = [
    (Granule(12), 39, 1),
    (Granule(12), 40, 1),
    (Granule(12), 43, 1),
    (Granule(12), 34, 2),
    (Granule(12), 48, 0),
    (Granule(12, ds=True), 52, -1),
    (Granule(12, ds=True), 52, 0),
    (Granule(14), 40, 2),
    (Granule(14), 47, 1),
    (Granule(14, ds=True), 51, 1),
    (Granule(14, ds=True), 52, 0),
    (Granule(16), 42, 2),
    (Granule(16), 33, 2),
    (Granule(16, ds=True), 52, 1),
]


@pytest.mark.parametrize(("granule", "ipa_bits", "start_level"), GEOMETRIES)
def test_every_geometry(granule: Granule, ipa_bits: int, start_level: int) -> None:
    smmu, table = machine(granule, ipa_bits, start_level)
    translator = Translator(smmu)
    rng = np.random.default_rng(ipa_bits)
    page, top = granule.bytes, 1 << (ipa_bits - 1)
    high = 0xF_0000_0000_0000 if granule.ds else 0
    block = granule.level_size(2)
    for half in (0, top):
        table.map(half | 4 * block, high | 8 * block, block)
        table.map(half | 2 * page, high | 0x8000_0000, 3 * page)
        table.map(half | 6 * page, 0x9000_0000, page, READ)
        table.map(half | 7 * page, 0x9000_0000 + page, page, WRITE)
    low = rng.integers(0, 9 * page, 500, dtype=np.uint64)
    blocks = rng.integers(4 * block - page, 5 * block + page, 200, dtype=np.uint64)
    wild = rng.integers(0, 1 << 64, 100, dtype=np.uint64)
    iovas = np.concatenate([low, low | np.uint64(top), blocks, blocks | np.uint64(top), wild])
    for write in (False, True):
        single = [as_code(smmu.access(SID, int(a), 1, write)) for a in iovas]
        pas, codes = translator.translate(SID, iovas, write)
        assert list(zip(pas.tolist(), codes.tolist(), strict=True)) == single
        pas, codes = translator.translate(SID, iovas, write, reference=True)
        assert list(zip(pas.tolist(), codes.tolist(), strict=True)) == single
        assert {0, EventType.F_TRANSLATION, EventType.F_PERMISSION} <= set(codes.tolist())
        mapped = np.array([table.lookup(int(a)) or 0 for a in iovas[codes == 0]], np.uint64)
        assert (pas[codes == 0] == mapped).all()


def test_the_copy_is_stale_until_an_invalidation() -> None:
    smmu, table = machine(Granule(12), 40, 1, oas_bits=48)
    translator = Translator(smmu)
    iovas = np.array([0x1000, 0x5000], np.uint64)
    table.map(0x1000, 0x8000_1000, 4096)
    assert translator.translate(SID, iovas)[1].tolist() == [0, EventType.F_TRANSLATION]
    table.unmap(0x1000, 4096)
    table.map(0x5000, 0x8000_5000, 4096)
    pas, codes = translator.translate(SID, iovas)
    assert (pas.tolist(), codes.tolist()) == ([0x8000_1000, 0x8000_5000], [0, 0])
    smmu.caches.tlb.invalidate_range(False, 1, 0x1000)
    assert translator.translate(SID, iovas)[1].tolist() == [EventType.F_TRANSLATION, 0]


def test_numba_and_numpy_look_ups_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    smmu, table = machine(Granule(12), 40, 1, oas_bits=48)
    translator = Translator(smmu)
    rng = np.random.default_rng(3)
    for base in (0, 5 << 30, 1 << 39):
        table.map(base + 0x20_0000, 0x8000_0000, 0x40_0000)
    iovas = rng.integers(0, 1 << 23, 3000, dtype=np.uint64)
    iovas += rng.choice(np.array([0, 1 << 30, 5 << 30, 1 << 39, 1 << 41], np.uint64), 3000)
    expected = translator.translate(SID, iovas)
    assert 0 < np.count_nonzero(expected[1]) < 3000
    monkeypatch.setattr(flat, "NUMBA_FROM", 0)
    got = translator.translate(SID, iovas)
    assert np.array_equal(got[0], expected[0])
    assert np.array_equal(got[1], expected[1])


def test_streams_without_translation() -> None:
    smmu, _ = machine(Granule(12), 40, 1, oas_bits=48)
    translator = Translator(smmu)
    iovas = np.array([0x1000, 1 << 48], np.uint64)
    memory = smmu.memory
    memory.write_u64(0x4000_0000 + 64 * 9, 0b1001)  # V, Config = bypass
    memory.write_u64(0x4000_0000 + 64 * 10, 0b0001)  # V, Config = abort
    assert translator.translate(9, iovas)[0].tolist() == [0x1000, 0]
    assert translator.translate(9, iovas)[1].tolist() == [0, EventType.F_ADDR_SIZE]
    assert translator.translate(10, iovas)[1].tolist() == [Code.ABORT] * 2
    assert translator.translate(11, iovas)[1].tolist() == [EventType.C_BAD_STE] * 2
    assert translator.translate(300, iovas)[1].tolist() == [EventType.C_BAD_STREAMID] * 2
    smmu.write_reg(Reg.CR0, 0)
    assert translator.translate(9, iovas)[1].tolist() == [0, Code.OAS]
    smmu.write_reg(Reg.GBPA, GBPA_ABORT | GBPA_UPDATE)
    assert translator.translate(9, iovas)[1].tolist() == [Code.GBPA] * 2


def test_each_reason_has_a_code_that_no_event_has() -> None:
    codes = [code.value for code in Code]
    assert len(codes) == len(Code.__members__) == 5
    assert not set(codes) & {kind.value for kind in EventType}


def test_granule_protection_of_outputs() -> None:
    smmu, table = machine(Granule(12), 40, 1, oas_bits=48)
    translator = Translator(smmu)
    smmu.bus.gpc = lambda pa, size, write, pas: "private" if pa >> 12 == 0x80002 else None
    table.map(0x1000, 0x8000_1000, 0x2000)
    iovas = np.array([0x1004, 0x2004, 0x2FFC], np.uint64)
    for reference in (False, True):
        pas, codes = translator.translate(SID, iovas, reference=reference)
        assert pas.tolist() == [0x8000_1004, 0, 0]
        assert codes.tolist() == [0, Code.GPF, Code.GPF]
    assert isinstance(smmu.access(SID, 0x2004), Terminated)


@pytest.mark.parametrize("reference", [False, True])
def test_granule_protection_of_tables(reference: bool) -> None:
    smmu, table = machine(Granule(12), 39, 1, oas_bits=48)
    for ipa in (0x1000, 1 << 30):
        table.map(ipa, 0x8000_0000, 4096)
    refused = smmu.memory.read_u64(table.root) & ~0xFFF
    smmu.bus.gpc = lambda pa, size, write, pas: "no" if pa >> 12 == refused >> 12 else None
    iovas = np.array([0x1000, 1 << 30], np.uint64)
    pas, codes = Translator(smmu).translate(SID, iovas, reference=reference)
    assert (pas.tolist(), codes.tolist()) == ([0, 0x8000_0000], [EventType.F_WALK_EABT, 0])


@pytest.mark.parametrize("write", [False, True])
def test_granule_protection_is_asked_for_the_space_that_a_leaf_leads_to(write: bool) -> None:
    smmu, table = machine(Granule(12), 39, 1, oas_bits=48)
    for page in range(3):
        table.map(page << 12, 0x8000_0000 + (page << 12), 4096)
    last = smmu.memory.read_u64(smmu.memory.read_u64(table.root) & ~0xFFF) & ~0xFFF
    shared = last + 8
    smmu.memory.write_u64(shared, smmu.memory.read_u64(shared) | NS)
    realm_stream_table.install(smmu, table.root + (4 << 20), SID, table.ste(1))
    asked: set[tuple[int, bool, PAS]] = set()

    def check(pa: int, size: int, write: bool, pas: PAS) -> str | None:
        asked.add((pa, write, pas))
        return "private" if pa == 0x8000_2000 else None

    smmu.bus.gpc = check
    iovas = np.array([0, 0x1000, 0x2000, 0x3000], np.uint64)
    pas, codes = Translator(smmu).translate(SID, iovas, write, realm=True)
    assert pas.tolist() == [0x8000_0000, 0x8000_1000, 0, 0]
    assert codes.tolist() == [0, 0, Code.GPF, EventType.F_TRANSLATION]
    outputs = {(pa, space) for pa, wrote, space in asked if pa >= 0x8000_0000 and wrote == write}
    assert outputs == {
        (0x8000_0000, PAS.REALM), (0x8000_1000, PAS.NS), (0x8000_2000, PAS.REALM),
    }  # fmt: skip
    single = [as_code(smmu.access(SID, int(iova), 1, write, realm=True)) for iova in iovas]
    assert list(zip(pas.tolist(), codes.tolist(), strict=True)) == single
