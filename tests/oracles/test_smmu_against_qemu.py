"""The model's SMMU and QEMU's give the same results: random cases from a seed."""

import os
from collections.abc import Iterator

import pytest

from qemu_smmu import QemuSmmu, start
from qtest import RAM_BASE, RAM_SIZE, find_qemu
from smmu_cases import Case
from smmu_pair import Pair, fill_data
from topbit.memory import PhysicalMemory

pytestmark = pytest.mark.qemu

SEED = int(os.environ.get("TOPBIT_SMMU_SEED", "1"))
CASES = int(os.environ.get("TOPBIT_SMMU_CASES", "60"))
STEPS = 55


@pytest.fixture
def pair() -> Iterator[Pair]:
    with start(find_qemu()) as qtest:
        memory = PhysicalMemory(RAM_BASE, RAM_SIZE, qtest.ram)
        fill_data(memory)
        yield Pair(QemuSmmu(qtest, memory), memory)


def test_random_streams_tables_accesses_and_invalidations(pair: Pair) -> None:
    for number in range(CASES):
        Case(pair, SEED * 1_000_000 + number).run(STEPS)
    print(f"{pair.accesses} accesses: {dict(pair.kinds.most_common())}")
    if CASES >= 60:
        assert pair.accesses >= 2000
        seen = {"ok", "F_TRANSLATION", "F_PERMISSION", "F_ACCESS", "F_ADDR_SIZE", "F_WALK_EABT"}
        seen |= {"C_BAD_STE", "terminated: abort", "terminated: unrecorded"}
        assert seen <= set(pair.kinds)
