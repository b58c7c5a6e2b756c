"""What do the Realm's PSCI calls return, and what waits for the host?"""

import pytest

from rmm_host import RUN, Host
from topbit.arch import psci
from topbit.arch.psci import Psci
from topbit.arch.rmi import ExitReason, Rmi
from topbit.rmm import Exit, Resume
from topbit.rmm.rmi.realm import RealmState

ERROR_INPUT, ERROR_REC = 1, 3
HALF = 1 << 32
HIGH = 0x1234 << 32  # what stands above the 32 bits of an SMC32 argument


@pytest.fixture
def host() -> Host:
    """Three RECs: the first runs, the second is off, the third is on."""
    host = Host()
    host.create()
    host.rec()
    host.rec(mpidr=1, runnable=False)
    host.rec(mpidr=2)
    host.ram([0])
    host.enter()
    return host


def left(host: Host, *regs: int) -> tuple[int, ...]:
    """The registers that the host sees of a call that leaves the REC."""
    got = host.rsi(*regs)
    assert isinstance(got, Exit), got
    assert got.reason == ExitReason.PSCI
    return got.gprs


@pytest.mark.parametrize("function", [Psci.CPU_SUSPEND_32, Psci.CPU_SUSPEND_64])
def test_a_suspended_cpu_goes_on_with_success(host: Host, function: Psci) -> None:
    assert left(host, function, 1, 2, 3) == (function,)
    assert host.enter() == Resume({0: 0}, advance=True)


def test_a_cpu_that_is_off_runs_no_more_and_the_others_do(host: Host) -> None:
    assert left(host, Psci.CPU_OFF) == (Psci.CPU_OFF,)
    assert host.status(Rmi.REC_ENTER, host.recs[0], RUN) == ERROR_REC
    assert host.realm.state == RealmState.ACTIVE
    host.enter(host.recs[2])


@pytest.mark.parametrize("function", [Psci.SYSTEM_OFF, Psci.SYSTEM_RESET])
def test_the_end_of_the_system_is_the_end_of_the_realm(host: Host, function: Psci) -> None:
    assert left(host, function) == (function,)
    assert host.realm.state == RealmState.SYSTEM_OFF


@pytest.mark.parametrize(
    ("function", "known"),
    [(int(f), True) for f in Psci]
    + [(psci.SMCCC_VERSION, True), (psci.SMCCC_ARCH_FEATURES, False), (0x8400_0005, False)],
)
def test_features_tells_what_is_there(host: Host, function: int, known: bool) -> None:
    value = 0 if known else psci.NOT_SUPPORTED
    assert host.returns(Psci.FEATURES, function) == (value,)


def test_the_version_is_1_1(host: Host) -> None:
    assert host.returns(Psci.VERSION) == (0x1_0001,)


@pytest.mark.parametrize(
    ("function", "mpidr", "value"),
    [
        (Psci.CPU_ON_64, 0, psci.ALREADY_ON),
        (Psci.CPU_ON_64, 3, psci.INVALID_PARAMETERS),
        (Psci.CPU_ON_64, 1 << 4, psci.INVALID_PARAMETERS),
        (Psci.CPU_ON_32, HIGH | 3, psci.INVALID_PARAMETERS),
    ],
)
def test_a_cpu_that_cannot_be_turned_on(host: Host, function: Psci, mpidr: int, value: int) -> None:
    assert host.returns(function, mpidr, 0, 0) == (value,)


@pytest.mark.parametrize(("entry", "taken"), [(HALF - 4, True), (HALF, False)])
def test_the_entry_point_is_protected(host: Host, entry: int, taken: bool) -> None:
    if taken:
        assert left(host, Psci.CPU_ON_64, 1, entry, 0) == (Psci.CPU_ON_64, 1)
    else:
        assert host.returns(Psci.CPU_ON_64, 1, entry, 0) == (psci.INVALID_ADDRESS,)


def test_arguments_of_an_smc32_call_are_32_bits_wide(host: Host) -> None:
    first, second = host.recs[:2]
    assert left(host, Psci.CPU_ON_32, HIGH | 1, HIGH | 0x1000, HIGH | 5) == (Psci.CPU_ON_32, 1)
    host.ok(Rmi.PSCI_COMPLETE, first, second, 0)
    assert host.enter(second) == Resume({0: 5}, pc=0x1000)


@pytest.mark.parametrize(
    ("target", "status", "returned"),
    [
        (1, psci.SUCCESS, psci.SUCCESS),
        (1, psci.DENIED, psci.DENIED),
        (2, psci.SUCCESS, psci.ALREADY_ON),
        (2, psci.DENIED, psci.ALREADY_ON),
    ],
)
def test_the_host_completes_a_cpu_on(host: Host, target: int, status: int, returned: int) -> None:
    first, other = host.recs[0], host.recs[target]
    left(host, Psci.CPU_ON_64, target, 0x1000, 5)
    assert host.status(Rmi.REC_ENTER, first, RUN) == ERROR_REC
    host.ok(Rmi.PSCI_COMPLETE, first, other, status)
    assert host.enter(first) == Resume({0: returned}, advance=True)
    started = target == 1 and status == psci.SUCCESS
    assert host.rmm.rec(other).runnable is (target == 2 or started)
    assert host.status(Rmi.PSCI_COMPLETE, first, other, status) == ERROR_INPUT


@pytest.mark.parametrize(("target", "value"), [(1, psci.AFFINITY_OFF), (2, psci.AFFINITY_ON)])
@pytest.mark.parametrize("function", [Psci.AFFINITY_INFO_32, Psci.AFFINITY_INFO_64])
def test_the_host_completes_an_affinity_info(
    host: Host, function: Psci, target: int, value: int
) -> None:
    first, other = host.recs[0], host.recs[target]
    assert left(host, function, target, 0) == (function, target)
    assert host.status(Rmi.PSCI_COMPLETE, first, other, psci.DENIED) == ERROR_INPUT
    host.ok(Rmi.PSCI_COMPLETE, first, other, psci.SUCCESS)
    assert host.enter(first) == Resume({0: value}, advance=True)


@pytest.mark.parametrize(
    ("mpidr", "level", "value"),
    [
        (0, 0, psci.AFFINITY_ON),
        (1, 1, psci.INVALID_PARAMETERS),
        (3, 0, psci.INVALID_PARAMETERS),
    ],
)
def test_an_affinity_info_that_needs_no_host(
    host: Host, mpidr: int, level: int, value: int
) -> None:
    assert host.returns(Psci.AFFINITY_INFO_64, mpidr, level) == (value,)


def test_only_the_rec_that_was_meant_completes_the_call(host: Host) -> None:
    first, second, third = host.recs
    assert host.status(Rmi.PSCI_COMPLETE, third, second, 0) == ERROR_INPUT
    left(host, Psci.CPU_ON_64, 1, 0x1000, 0)
    for caller, target, status in (
        (first, third, 0), (first, first, 0), (third, second, 0), (first, first + 8, 0),
        (first + 8, second, 0), (first, second, psci.ALREADY_ON), (first, second, 1),
    ):  # fmt: skip
        assert host.status(Rmi.PSCI_COMPLETE, caller, target, status) == ERROR_INPUT
    host.ok(Rmi.PSCI_COMPLETE, first, second, 0)


def test_a_rec_of_another_realm_completes_nothing(host: Host) -> None:
    first = host.recs[0]
    left(host, Psci.CPU_ON_64, 1, 0x1000, 0)
    root, rd = host.granule(), host.granule()
    host.ok(Rmi.REALM_CREATE, rd, host.params(33, 1, 1, root, vmid=2))
    host.rd = rd
    host.rec()
    other = host.rec(mpidr=1, runnable=False)
    assert host.status(Rmi.PSCI_COMPLETE, first, other, 0) == ERROR_INPUT
