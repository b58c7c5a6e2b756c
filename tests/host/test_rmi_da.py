"""A device that the host gives to a Realm for the Realm to accept."""

import pytest

from topbit.arch.rmi import Rmi2
from topbit.host import rmi_da
from topbit.host.pages import PagePool
from topbit.host.rme import RmiError
from topbit.host.rme_ranges import RangeRealmHost
from topbit.memory import PhysicalMemory
from topbit.rmm import Rmm, State
from topbit.rmm.state import VdevState

BASE, SIZE, SID = 0x4000_0000, 4 << 20, 0x10


def test_an_assigned_device_is_started_and_its_stream_waits_for_the_realm() -> None:
    memory = PhysicalMemory(BASE, SIZE)
    rmm = Rmm(memory, abi="2.0")
    host = RangeRealmHost(rmm, memory, PagePool(BASE, SIZE), 40)
    host.activate_rmm()
    host.create()
    free = list(host.pages.free)
    device = rmi_da.assign(host, SID)
    assert host.pages.free == free  # the page of parameters went back
    (vdev,) = rmm.vdevs.values()
    assert (vdev.vdev_id, vdev.tdi_id, vdev.state) == (SID, SID, VdevState.STARTED)
    assert vdev.realm is rmm.realm(host.rd)
    assert rmm.trusted_stream(SID) is None
    assert rmm.granules.get(vdev.pa) == State.VDEV
    assert rmm.granules.get(vdev.pdev) == State.PDEV
    assert (device.vdev, device.pdev) == (vdev.pa, vdev.pdev)
    with pytest.raises(RmiError) as refused:
        rmi_da.assign(host, SID)
    assert refused.value.call is Rmi2.VDEV_CREATE
    rmi_da.unlock(host, device)
    assert vdev.state == VdevState.UNLOCKED
