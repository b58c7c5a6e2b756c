"""Were event records lost? Known only from registers, at a trap."""

from __future__ import annotations

from topbit.arch.smmuv3 import EventRecord, EventType
from topbit.arch.smmuv3_regs import Gerror, Reg
from topbit.events import Event
from topbit.host.arm_smmu_v3 import ArmSmmuV3
from topbit.host.pages import PageRange
from topbit.machine.qemu.host.smmu_events import SmmuEvents
from topbit.machine.qemu.host.smmu_port import QemuSmmuPort
from topbit.memory import PhysicalMemory

BASE = 0x4000_0000
RECORD = EventRecord(Type=EventType.F_TRANSLATION, StreamID=8, S2=1).pack()


class Port(QemuSmmuPort):
    """Registers of an SMMU that has, or has not, dropped a record."""

    gerror = 0

    def read_reg(self, offset: int) -> int:
        if offset in (Reg.GERROR, Reg.GERRORN):
            return self.gerror if offset == Reg.GERROR else 0
        return super().read_reg(offset)


class Queue:
    def __init__(self, *, reads: bool) -> None:
        self.memory = PhysicalMemory(BASE, 1 << 20)
        self.port = Port(self.memory, lambda: None)
        tables = PageRange(self.memory, BASE, 1 << 20)
        self.driver = ArmSmmuV3(self.port, self.memory, tables, eventq_log2=2)
        self.driver.enable()
        self.events: list[Event] = []
        self.seen = SmmuEvents(self.port, self.driver, {8: "disk"}, reads, self.events.append)

    def record(self, *places: int) -> None:
        for place in places:
            self.memory.write(self.driver.eventq + len(RECORD) * place, RECORD)

    def kinds(self) -> list[str]:
        self.seen.collect()
        self.seen.at_el2()
        kinds, self.events[:] = [event.event for event in self.events], []
        return kinds


def test_a_queue_that_is_read_goes_on() -> None:
    queue = Queue(reads=True)
    for places in ((0, 1), (2,), (3,), (0,), (1,)):  # it wraps around
        queue.record(*places)
        assert queue.kinds() == ["smmu_event"] * len(places)
    assert not queue.seen.perhaps_lost


def test_a_full_queue_may_have_lost_records_and_the_smmu_tells() -> None:
    queue = Queue(reads=False)
    queue.record(0, 1, 2, 3)
    assert queue.kinds() == ["smmu_event"] * 4
    assert queue.seen.perhaps_lost  # full, but nothing was dropped yet
    assert queue.kinds() == []  # each record once, although it stays in the queue
    queue.port.gerror = Gerror.EVENTQ_ABT_ERR
    assert queue.kinds() == ["smmu_lost"]
    assert queue.kinds() == []
    assert not queue.seen.perhaps_lost


def test_events_have_the_names_of_their_devices() -> None:
    queue = Queue(reads=True)
    queue.record(0)
    queue.seen.collect()
    assert [event.device for event in queue.events] == ["disk"]
