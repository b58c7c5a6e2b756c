"""The SMMU's stream tables and queues are memory that the host gives, contiguous and aligned."""

import pytest

from rmm_host import LIST, PAGE, PARAMS, Host
from topbit.arch.rmi import Rmi2
from topbit.arch.rmi_range import AddrRange, Transfer, incomplete
from topbit.rmm import State
from topbit.rmm.state import PSMMU

ERROR_INPUT = 1
DONATE = incomplete(Transfer.DONATE)


@pytest.fixture
def host() -> Host:
    host = Host(abi="2.0")
    host.create()
    return host


def donate(host: Host, *descriptions: tuple[int, int]) -> tuple[int, ...]:
    """Offer (PA, granules) to the one operation."""
    words = [AddrRange(ADDR=pa, COUNT=count).words[0] for pa, count in descriptions]
    host.memory.table(LIST, len(words))[:] = words
    return host.rmm.rmi(Rmi2.OP_MEM_DONATE, [0, LIST, len(words)])


def activate(host: Host) -> tuple[int, ...]:
    table, queues = host.granule(2, align=2 * PAGE), host.granule(2)
    donations = [(table, 2), (queues, 1), (queues + PAGE, 1)]
    host.memory.fill(PARAMS, PAGE)
    return host.operate(Rmi2.PSMMU_ACTIVATE, PSMMU, PARAMS, donations=donations)


def test_life(host: Host) -> None:
    assert host.status(Rmi2.PSMMU_DEACTIVATE, PSMMU) == ERROR_INPUT
    assert activate(host)[0] == 0
    assert host.status(Rmi2.PSMMU_ACTIVATE, PSMMU, PARAMS) == ERROR_INPUT
    psmmu = host.rmm.psmmus[PSMMU]
    owned = (*psmmu.level1, *psmmu.queues)
    assert [host.rmm.granules.get(pa) for pa in owned] == [State.INTERNAL] * 4
    table = host.granule()
    create = (Rmi2.PSMMU_ST_L2_CREATE, PSMMU, 0x40)
    assert host.operate(*create, donations=[(table, 1)])[0] == 0
    assert host.memory.read_u64(psmmu.level1[0] + 8) == table | 7
    assert host.operate(*create, donations=[(host.granule(), 1)])[0] == ERROR_INPUT
    assert host.status(Rmi2.PSMMU_DEACTIVATE, PSMMU) == ERROR_INPUT, "a table is left"
    assert host.operate(Rmi2.PSMMU_ST_L2_DESTROY, PSMMU, 0x40)[0] == 0
    assert host.memory.read_u64(psmmu.level1[0] + 8) == 0
    assert host.status(Rmi2.PSMMU_ST_L2_DESTROY, PSMMU, 0x40) == ERROR_INPUT
    assert host.operate(Rmi2.PSMMU_DEACTIVATE, PSMMU)[0] == 0
    assert [host.rmm.granules.get(pa) for pa in owned] == [State.DELEGATED] * 4
    assert host.operate(*create, donations=[(table, 1)])[0] == ERROR_INPUT, "not active"


@pytest.mark.parametrize("flags", [2, 4])
def test_ats_and_pri_are_not_offered(host: Host, flags: int) -> None:
    host.memory.write_u64(PARAMS, flags)
    assert host.status(Rmi2.PSMMU_ACTIVATE, PSMMU, PARAMS) == ERROR_INPUT


@pytest.mark.parametrize("sid", [1, 63, 1 << 16, 1 << 63])
def test_a_table_begins_with_a_multiple_of_64(host: Host, sid: int) -> None:
    assert host.status(Rmi2.PSMMU_ST_L2_CREATE, PSMMU, sid) == ERROR_INPUT


def test_a_contiguous_piece_is_given_whole_and_aligned(host: Host) -> None:
    host.memory.fill(PARAMS, PAGE)
    out = host.rmm.rmi(Rmi2.PSMMU_ACTIVATE, [PSMMU, PARAMS])
    assert out == (DONATE, 0, 0x1_0008)
    free = host.granule(6, align=2 * PAGE)
    for wrong in (((free, 1),), ((free + PAGE, 2),), ((free, 1), (free + 2 * PAGE, 1))):
        assert donate(host, *wrong) == (ERROR_INPUT, 0, 0)
    assert donate(host, (free, 1), (free + PAGE, 1)) == (DONATE, 2, 0x1_0004)
