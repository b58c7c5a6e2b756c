"""A device that the host gives to a Realm for the Realm to accept."""

import pytest

from topbit.arch.rhi import RhiDaStatus, RhiTdiState
from topbit.arch.rmi import Rmi2
from topbit.arch.rmi_da import VdevState
from topbit.devices.tdi import TdiBehaviour, TrustedDevice
from topbit.host.pages import PagePool
from topbit.host.rme import RmiError
from topbit.host.rme_ranges import RangeRealmHost
from topbit.host.rmi_da import RealmDevices
from topbit.memory import PhysicalMemory
from topbit.rmm import Rmm, State
from topbit.rmm.device import Vdev
from topbit.rmm.state import PSMMU

BASE, SIZE, SID = 0x4000_0000, 4 << 20, 0x10
BAR, BAR_SIZE = 0x1000_0000, 0x2000


class Bench:
    """A host with one Realm and no device yet."""

    def __init__(self, *, unmaps: bool = True) -> None:
        memory = PhysicalMemory(BASE, SIZE)
        self.rmm = Rmm(memory, abi="2.0")
        self.rmm.granules.add_device_memory(BAR, 1 << 20)
        self.realm = RangeRealmHost(self.rmm, memory, PagePool(BASE, SIZE), 40, da=True)
        self.realm.activate_rmm()
        self.realm.create()
        self.devices = RealmDevices(self.realm, PSMMU, unmaps=unmaps)

    def assign(
        self, sid: int = SID, behaviour: TdiBehaviour = TdiBehaviour.GOOD, bar: int = BAR
    ) -> TrustedDevice:
        model = TrustedDevice(f"device {sid}", [sid], [(bar, BAR_SIZE)], behaviour)
        self.devices.assign(sid, model, [(bar, BAR_SIZE)])
        return model

    @property
    def vdev(self) -> Vdev:
        return next(iter(self.rmm.vdevs.values()))


def test_an_assigned_device_is_locked_and_its_stream_waits_for_the_realm() -> None:
    bench = Bench()
    model = bench.assign()
    vdev = bench.vdev
    assert (vdev.vdev_id, vdev.tdi_id, vdev.state) == (SID, SID, VdevState.LOCKED)
    assert vdev.realm is bench.rmm.realm(bench.realm.rd)
    assert (vdev.measurements, vdev.report) == (model.record(), model.interface_report())
    assert bench.rmm.trusted_stream(SID) is None
    assert bench.rmm.granules.get(vdev.pa) == State.VDEV
    assert bench.rmm.granules.get(vdev.pdev.pa) == State.PDEV
    assert bench.rmm.granules.get(BAR) == State.DEV_DELEGATED
    assert bench.rmm.operations == {}
    with pytest.raises(RmiError) as refused:
        bench.assign()
    assert refused.value.call is Rmi2.GRANULE_RANGE_DELEGATE


def test_devices_share_root_port_and_stream_table() -> None:
    bench = Bench()
    bench.assign()
    bench.assign(SID + 8, bar=BAR + 0x1_0000)
    bench.assign(SID + 64, bar=BAR + 0x2_0000)
    categories = [pdev.category for pdev in bench.rmm.pdevs.values()]
    assert sorted(categories) == [0, 1, 1, 1]
    assert sorted(bench.rmm.psmmus[PSMMU].level2) == [0, 64]


@pytest.mark.parametrize("behaviour", [TdiBehaviour.WRONG_KEY, TdiBehaviour.WRONG_NONCE])
def test_a_device_that_misbehaves_is_not_assigned(behaviour: TdiBehaviour) -> None:
    with pytest.raises(RmiError, match="ERROR_DEVICE"):
        Bench().assign(behaviour=behaviour)


def test_the_states_that_a_realm_may_ask_for() -> None:
    bench = Bench()
    bench.assign()
    ask = bench.devices.set_state
    assert ask(SID + 1, RhiTdiState.RUN) is RhiDaStatus.ERROR_INVALID_VDEV_ID
    assert ask(SID, 9) is RhiDaStatus.ERROR_INPUT
    assert ask(SID, RhiTdiState.CONFIG_LOCKED) is RhiDaStatus.ERROR_DEVICE, "it is locked"
    states = []
    for state in (RhiTdiState.RUN, RhiTdiState.CONFIG_UNLOCKED, RhiTdiState.CONFIG_LOCKED):
        assert ask(SID, state) is RhiDaStatus.SUCCESS
        states.append(bench.vdev.state)
    assert states == [VdevState.STARTED, VdevState.UNLOCKED, VdevState.LOCKED]


@pytest.mark.parametrize("unmaps", [True, False])
def test_registers_are_unmapped_before_the_device_is_taken_back(unmaps: bool) -> None:
    bench = Bench(unmaps=unmaps)
    bench.assign()
    vdev = bench.devices.assigned[SID].vdev
    bench.realm.map_registers(vdev, 0x8000, BAR_SIZE, BAR)
    bench.devices.assigned[SID].mapped.append((0x8000, BAR, BAR_SIZE))
    if unmaps:
        bench.devices.unlock(SID)
        assert bench.vdev.state == VdevState.UNLOCKED
        assert bench.rmm.granules.get(BAR) == State.DEV_DELEGATED
    else:
        with pytest.raises(RmiError, match="ERROR_GRANULE"):
            bench.devices.unlock(SID)
        assert bench.vdev.state == VdevState.LOCKED
