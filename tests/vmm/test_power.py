"""What does a Realm's PSCI call ask of its host, and what becomes of the REC that it names?"""

import pytest

from realm_bench import RAM, RealmBench
from topbit.arch import psci
from topbit.arch.psci import Psci
from topbit.rmm import Exit
from topbit.vmm.power import Power, PowerRequest

SECOND = 1


@pytest.fixture(params=["1.0", "2.0"])
def bench(request: pytest.FixtureRequest) -> RealmBench:
    return RealmBench(abi=request.param, vcpus=3)


def asked(bench: RealmBench, call: Psci, *args: int) -> PowerRequest:
    exit_ = bench.rmm.rsi(bench.rec, (call, *args, 0, 0, 0))
    assert isinstance(exit_, Exit), exit_
    return bench.vmm.power_request(bench.rec)


def answered(bench: RealmBench) -> int:
    bench.vmm.enter(bench.rec)
    return bench.resumed().regs[0]


@pytest.mark.parametrize(
    ("call", "power"),
    [
        (Psci.SYSTEM_OFF, Power.END),
        (Psci.SYSTEM_RESET, Power.END),
        (Psci.CPU_OFF, Power.OFF),
        (Psci.CPU_SUSPEND_32, Power.WAIT),
        (Psci.CPU_SUSPEND_64, Power.WAIT),
    ],
)
def test_a_call_about_the_caller_starts_nobody(bench: RealmBench, call: Psci, power: Power) -> None:
    before = set(bench.vmm.realm.off)
    assert asked(bench, call) == PowerRequest(call, power, None)
    own = {bench.rec} if power is Power.OFF else set()
    assert bench.vmm.realm.off == before | own


@pytest.mark.parametrize("call", [Psci.CPU_ON_32, Psci.CPU_ON_64])
def test_a_vcpu_that_is_off_is_started_once(bench: RealmBench, call: Psci) -> None:
    realm = bench.vmm.realm
    assert realm.off == {realm.recs[1], realm.recs[2]}
    assert asked(bench, call, SECOND, RAM) == PowerRequest(call, Power.START, SECOND)
    assert answered(bench) == psci.SUCCESS
    assert bench.rmm.rec(realm.recs[SECOND]).runnable
    assert asked(bench, call, SECOND, RAM) == PowerRequest(call, Power.START, None)
    assert answered(bench) == psci.ALREADY_ON
    assert realm.off == {realm.recs[2]}


@pytest.mark.parametrize("call", [Psci.AFFINITY_INFO_32, Psci.AFFINITY_INFO_64])
def test_a_look_at_a_vcpu_starts_nobody(bench: RealmBench, call: Psci) -> None:
    assert asked(bench, call, SECOND) == PowerRequest(call, Power.LOOK_UP, None)
    assert answered(bench) == psci.AFFINITY_OFF
    asked(bench, Psci.CPU_ON_64, SECOND, RAM)
    answered(bench)
    assert asked(bench, call, SECOND) == PowerRequest(call, Power.LOOK_UP, None)
    assert answered(bench) == psci.AFFINITY_ON


def test_a_vcpu_that_turned_itself_off_is_started_again(bench: RealmBench) -> None:
    realm = bench.vmm.realm
    first = bench.rec
    asked(bench, Psci.CPU_ON_64, SECOND, RAM)
    answered(bench)
    asked(bench, Psci.CPU_OFF)
    bench.rec = realm.recs[SECOND]
    bench.vmm.enter(bench.rec)
    assert asked(bench, Psci.CPU_ON_64, 0, RAM).mpidr == 0
    assert bench.rmm.rec(first).runnable
