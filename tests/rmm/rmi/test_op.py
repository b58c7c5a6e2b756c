"""Stateful operations: what is taken, what goes back, and how many can be open."""

import pytest

from rmm_host import LIST, PAGE, PARAMS, RUN, Host
from topbit.arch.rmi import Rmi, Rmi2, RmiStatus
from topbit.arch.rmi_range import AddrRange, MapFlags, Transfer, incomplete
from topbit.rmm import State
from topbit.rmm.operation import MAX_OPERATIONS

ERROR_INPUT, BLOCKED = 1, 14
DONATE, NONE, RECLAIM = (
    incomplete(wanted) for wanted in (Transfer.DONATE, Transfer.NONE, Transfer.RECLAIM)
)


@pytest.fixture
def host() -> Host:
    host = Host(abi="2.0")
    host.create()
    return host


def begin(host: Host, mpidr: int = 0) -> int:
    host.memory.fill(PARAMS, PAGE)
    host.memory.write_u64(PARAMS + 0x100, mpidr)
    rec = host.granule()
    assert host.rmm.rmi(Rmi.REC_CREATE, [host.rd, rec, PARAMS]) == (DONATE, 0, 0x40)
    return rec


def one(pa: int, count: int = 1, size: int = 0, state: int = 0) -> int:
    return AddrRange(ADDR=pa, COUNT=count, SIZE=size, STATE=state).words[0]


def donate(host: Host, *descriptors: int, at: int = LIST) -> tuple[int, ...]:
    for n, word in enumerate(descriptors):
        host.memory.write_u64(LIST + 8 * n, word)
    return host.rmm.rmi(Rmi2.OP_MEM_DONATE, [0, at, len(descriptors)])


def test_a_rec_is_made_of_what_is_donated(host: Host) -> None:
    rec = begin(host)
    granules = host.rmm.granules
    assert granules.get(rec) == State.PARTIAL
    assert host.status(Rmi2.OP_CONTINUE, 0, 0) == ERROR_INPUT, "too early"
    first, second = host.granule(4), host.granule(12)
    assert donate(host, one(first, 4)) == (DONATE, 4, 0x30)
    assert granules.get(first) == State.REC_AUX
    assert donate(host, one(second, 5), one(second + 5 * PAGE, 7)) == (NONE, 12, 0)
    assert donate(host, one(second)) == (ERROR_INPUT, 0, 0), "no more is wanted"
    assert host.rmm.rmi(Rmi2.OP_CONTINUE, [0, 0])[0] == 0
    assert len(host.rmm.rec(rec).aux) == 16
    assert host.rmm.operations == {}


def test_a_donation_that_is_refused_changes_nothing(host: Host) -> None:
    begin(host)
    free = host.granule(32)
    for wrong in (one(free, 17), one(free, 1, size=1), one(free, 1, state=1)):
        assert donate(host, wrong) == (ERROR_INPUT, 0, 0)
    for at in (LIST + 4, host.rd, 1 << 44):
        assert donate(host, one(free), at=at) == (ERROR_INPUT, 0, 0)
    assert host.rmm.granules.get(free) == State.DELEGATED
    assert donate(host) == (DONATE, 0, 0x40), "nothing offered"


def test_what_cannot_be_had_ends_the_donation(host: Host) -> None:
    rec, free = begin(host), host.granule(2)
    assert donate(host, one(free), one(RUN), one(free + PAGE)) == (DONATE, 1, 0x3C)
    assert donate(host, one(RUN)) == (RECLAIM, 0, 0), "its first granule is not delegated"
    assert host.rmm.rmi(Rmi2.OP_MEM_RECLAIM, [0, LIST, 0]) == (RECLAIM, 0)
    assert host.rmm.rmi(Rmi2.OP_MEM_RECLAIM, [0, LIST, 8]) == (NONE, 1)
    assert host.memory.read_u64(LIST) == one(free)
    assert host.status(Rmi2.OP_CONTINUE, 0, 0) == ERROR_INPUT
    states = [host.rmm.granules.get(pa) for pa in (rec, free)]
    assert states == [State.DELEGATED] * 2
    assert host.status(Rmi2.OP_CONTINUE, 0, 0) == ERROR_INPUT, "it is over"
    assert host.rmm.operations == {}


def test_an_error_is_told_when_the_memory_is_back(host: Host) -> None:
    begin(host, mpidr=5)
    aux = host.granule(16)
    assert donate(host, one(aux, 16)) == (NONE, 16, 0)
    assert host.rmm.rmi(Rmi2.OP_CONTINUE, [0, 0])[0] == RECLAIM
    for at in (LIST + 4, host.rd):
        assert host.rmm.rmi(Rmi2.OP_MEM_RECLAIM, [0, at, 8]) == (ERROR_INPUT, 0)
    assert host.rmm.rmi(Rmi2.OP_MEM_RECLAIM, [0, LIST, 1]) == (RECLAIM, 1)
    assert host.memory.read_u64(LIST) == one(aux, 4)
    assert host.rmm.rmi(Rmi2.OP_MEM_RECLAIM, [0, LIST, 512]) == (NONE, 1)
    assert host.memory.read_u64(LIST) == one(aux + 4 * PAGE, 12)
    assert host.status(Rmi2.OP_CONTINUE, 0, 0) == ERROR_INPUT


def test_a_rec_goes_with_what_it_was_made_of(host: Host) -> None:
    rec = host.rec()
    host.ok(Rmi.REALM_ACTIVATE, host.rd)
    host.enter()
    assert host.status(Rmi.REC_DESTROY, rec) == 3, "it runs"
    host.rmm.interrupt(rec)
    assert host.rmm.rmi(Rmi.REC_DESTROY, [rec]) == (RECLAIM, 0, 0)
    assert host.rmm.granules.get(rec) == State.PARTIAL
    assert host.status(Rmi.REC_ENTER, rec, RUN) == ERROR_INPUT
    assert host.status(Rmi2.OP_CANCEL, 0) == ERROR_INPUT
    host.ok(Rmi2.REALM_TERMINATE, host.rd)
    assert host.status(Rmi.REALM_DESTROY, host.rd) == 2, "the REC is not gone yet"
    host.rmm.rmi(Rmi2.OP_MEM_RECLAIM, [0, LIST, 512])
    assert host.status(Rmi2.OP_CONTINUE, 0, 0) == 0
    assert host.rmm.granules.get(rec) == State.DELEGATED
    host.ok(Rmi.REALM_DESTROY, host.rd)


def test_as_many_operations_as_there_can_be() -> None:
    host = Host(abi="2.0")
    host.create()
    recs = host.granule(MAX_OPERATIONS + 1)
    for n in range(MAX_OPERATIONS):
        out = host.rmm.rmi(Rmi.REC_CREATE, [host.rd, recs + n * PAGE, PARAMS])
        assert out[:2] == (DONATE, n)
    for call in (Rmi.REC_CREATE, Rmi.REC_DESTROY, Rmi2.RTT_DATA_MAP, Rmi2.RTT_DATA_UNMAP,
                 Rmi2.RTT_UNPROT_MAP, Rmi2.RTT_DEV_MAP, Rmi2.PDEV_CREATE, Rmi2.PDEV_DESTROY,
                 Rmi2.PSMMU_ACTIVATE, Rmi2.PSMMU_DEACTIVATE, Rmi2.PSMMU_ST_L2_CREATE,
                 Rmi2.PSMMU_ST_L2_DESTROY):  # fmt: skip
        assert host.status(call, host.rd, recs) == BLOCKED, call.name
    assert donate(host, one(RUN))[0] == RECLAIM
    host.rmm.rmi(Rmi2.OP_MEM_RECLAIM, [0, LIST, 1])
    host.rmm.rmi(Rmi2.OP_CONTINUE, [0, 0])
    assert host.rmm.rmi(Rmi.REC_CREATE, [host.rd, recs, PARAMS])[:2] == (DONATE, 0)


def test_an_unfinished_status_says_what_is_wanted() -> None:
    assert [out & 0xFF for out in (DONATE, NONE, RECLAIM)] == [RmiStatus.INCOMPLETE] * 3
    assert MapFlags.NONE == Transfer.NONE
