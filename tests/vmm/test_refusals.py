"""What does a VMM do when the RMM, or its own memory, fails it?"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from topbit.arch.rmi import Rmi2, RmiStatus
from topbit.events import Event
from topbit.host.rme_ranges import RangeRealmHost
from topbit.machine.model.machine import ModelMachine
from topbit.scenario import builtin
from topbit.vmm.injection import HostInjection

PAGE = 0x4010_0000


class Failing:
    """The model machine, booted, whose RMM fails one kind of call."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, failing: Rmi2 | None) -> None:
        self.machine = ModelMachine(builtin("seed"))
        self.machine.kernel.boot()
        self.slot = self.machine.slots[0]
        self.rec = self.machine.cpu.rec
        call = self.machine.rmm.rmi

        def rmi(fid: int, args: Sequence[int] = ()) -> tuple[int, ...]:
            return (int(RmiStatus.ERROR_INPUT), 0, 0) if fid == failing else call(fid, args)

        monkeypatch.setattr(self.machine.rmm, "rmi", rmi)

    def ask(self, share: bool) -> list[Event]:
        """Let the guest convert one page; which conversions failed?"""
        seen = len(self.machine.events)
        memory = self.machine.kernel.memory
        (memory.set_memory_decrypted if share else memory.set_memory_encrypted)(PAGE, 1)
        events = self.machine.events[seen:]
        return [event for event in events if (event.event, event.status) == ("convert", "error")]


@pytest.mark.parametrize("failing", [Rmi2.RTT_UNPROT_MAP, Rmi2.GRANULE_RANGE_UNDELEGATE])
def test_a_refused_share_is_recorded_and_leaves_no_device_mapping(
    monkeypatch: pytest.MonkeyPatch, failing: Rmi2
) -> None:
    made = Failing(monkeypatch, failing)
    made.machine.cpu.store(PAGE, b"private")
    (refused,) = made.ask(share=True)
    assert (refused.phys, refused.attrs) == (PAGE, "shared")
    assert f"refused: RMI_{failing.name}: ERROR_INPUT" in (refused.detail or "")
    assert made.machine.vfio.table.lookup(made.machine.space.unprotected(PAGE)) is None
    assert not made.slot.is_shared(PAGE, 1)
    assert made.machine.vmm.stopped is None


def test_a_refused_unshare_leaves_the_page_shared_but_out_of_devices_reach(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = Failing(monkeypatch, Rmi2.RTT_UNPROT_UNMAP)
    assert made.ask(share=True) == []
    (refused,) = made.ask(share=False)
    assert refused.attrs == "private"
    assert made.slot.is_shared(PAGE, 1)
    assert made.machine.vfio.table.lookup(made.machine.space.unprotected(PAGE)) is None


def test_an_empty_page_pool_refuses_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Failing(monkeypatch, None)

    def empty() -> int:
        raise MemoryError("the host's page pool is empty")

    monkeypatch.setattr(RangeRealmHost, "map_unprotected_range", lambda *args: empty())
    (refused,) = made.ask(share=True)
    assert refused.detail == "refused: the host's page pool is empty"


def test_a_destroyed_page_may_be_given_up_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Failing(monkeypatch, None)
    machine = made.machine
    machine.cpu.store(PAGE, b"private")
    machine.rmm.interrupt(made.rec)
    HostInjection(machine.vmm, machine.events.append).destroy_private(PAGE)
    machine.vmm.enter(made.rec)
    assert machine.vmm.lost == {PAGE}
    assert machine.kernel.memory.set_memory_encrypted(PAGE, 1) == 0  # RSI_CHANGE_DESTROYED
    assert machine.vmm.lost == set()
    assert machine.cpu.load(PAGE, 7) == bytes(7)
    assert machine.vmm.stopped is None


def test_a_host_that_has_nothing_to_destroy_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Failing(monkeypatch, None)
    machine = made.machine
    machine.rmm.interrupt(made.rec)
    injection = HostInjection(machine.vmm, machine.events.append)
    injection.destroy_private(PAGE)  # never touched: the host gave no page
    injection.destroy_shared(PAGE)
    assert {event.status for event in machine.events[-2:]} == {"error"}
    said = [event.detail or "" for event in machine.events[-2:]]
    assert said[0].startswith("the host could not destroy a private page: RMI_")
    assert said[1] == "the host found no shared page to unmap"
    assert machine.vmm.lost == set()
