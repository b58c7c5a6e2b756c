"""Which events did QEMU's SMMU record, and did it lose any?

Records are found in the event queue's memory, whether the host gives their places back or not. A
full queue may have lost more: only the SMMU's registers tell, and only a vCPU at EL2 reaches them.
"""

from __future__ import annotations

from topbit.arch.smmuv3_regs import Gerror, Reg
from topbit.events import Emit, Event
from topbit.host.arm_smmu_v3 import ArmSmmuV3
from topbit.machine.qemu.host.smmu_port import QemuSmmuPort
from topbit.smmu.outcome import event_of


class SmmuEvents:
    """The event queue of QEMU's SMMU as the recording sees it.

    Args:
        port, driver: the SMMU's registers, and who programs them.
        names: kernel's names of the devices, by StreamID.
        reads: the host takes records out of the queue; else they stay there.
        emit: takes "smmu_event" and "smmu_lost".
    """

    def __init__(
        self, port: QemuSmmuPort, driver: ArmSmmuV3, names: dict[int, str], reads: bool, emit: Emit
    ) -> None:
        self._port = port
        self._driver = driver
        self._names = names
        self._reads = reads
        self._emit = emit
        self._full = False
        self._lost = False

    @property
    def perhaps_lost(self) -> bool:
        """Was the queue full, and nobody could ask the SMMU whether it lost records?"""
        return self._full and not self._lost

    def collect(self) -> None:
        """Emit what was recorded since the last time."""
        self._full = not self._lost and (self._full or self._port.full)
        for record in self._driver.events(free=self._reads):
            event = event_of(record)
            event.device = self._names.get(record.StreamID)
            self._emit(event)

    def at_el2(self) -> None:
        """Ask the SMMU whether it lost records, if its queue was full.

        QEMU's says so by GERROR.EVENTQ_ABT_ERR, not by EVENTQ_PROD.OVFLG (IHI0070 7.4).
        """
        if not self._full:
            return
        error = self._port.read_reg(Reg.GERROR) ^ self._port.read_reg(Reg.GERRORN)
        if error & Gerror.EVENTQ_ABT_ERR:
            self._lost = True
            entries = 1 << self._driver.eventq_log2
            said = f"the event queue of {entries} entries was full: GERROR.EVENTQ_ABT_ERR"
            self._emit(Event("smmu", "smmu_lost", status="lost", detail=said))
        if self._lost or self._reads:
            self._full = False
