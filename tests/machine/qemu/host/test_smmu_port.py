"""QEMU's event queue, seen from memory."""

from topbit.arch.smmuv3 import EventRecord, EventType
from topbit.arch.smmuv3_regs import QueueBase, Reg
from topbit.machine.qemu.host.smmu_port import QemuSmmuPort
from topbit.memory import PhysicalMemory

BASE = 0x4000_0000


def test_a_queue_is_full_until_places_are_given_back() -> None:
    memory = PhysicalMemory(BASE, 1 << 16)
    port = QemuSmmuPort(memory, lambda: None)
    port.write_reg(Reg.EVENTQ_BASE, QueueBase(ADDR=BASE, LOG2SIZE=2).words[0])
    record = EventRecord(Type=EventType.F_TRANSLATION, StreamID=8).pack()
    for n in range(4):
        assert not port.full
        memory.write(BASE + len(record) * n, record)
    assert port.full
    assert port.read_reg(Reg.EVENTQ_PROD) == 4  # the wrap bit
    port.write_reg(Reg.EVENTQ_CONS, 1)
    assert not port.full
    memory.write(BASE, record)
    assert port.full
