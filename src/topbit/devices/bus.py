"""How does a device reach memory: with which StreamID, over which address lines?"""

from __future__ import annotations

from dataclasses import dataclass

from topbit.arch.gpt import PAS
from topbit.arch.ipa import DmaAddr, Iova, Pa
from topbit.events import Emit, Event
from topbit.rmm.granules import Granules
from topbit.smmu.outcome import Fault, Ok, Outcome
from topbit.smmu.smmu import Smmu

MSI_BYTES = 4
U64 = (1 << 64) - 1


@dataclass(slots=True)
class BusPort:
    """How does a device reach memory: through the SMMU, with its StreamID.

    Attributes:
        name: device name in events.
        sid: StreamID.
        smmu: the SMMU it sits behind.
        granules: tells what stands at an address that it reached.
        address_bits: number of address lines; higher bits of an address are lost.
        bus_offset: what its bus adds to every address on the way to the SMMU (dma-ranges).
        wild_bits: bits that a broken device sets in every address.
        trusted: its accesses carry T = 1 (accepted through TDISP).
        emit: takes the "access" events.
    """

    name: str
    sid: int
    smmu: Smmu
    granules: Granules
    emit: Emit
    address_bits: int = 64
    bus_offset: int = 0
    wild_bits: int = 0
    trusted: bool = False

    def read(self, address: DmaAddr, size: int) -> bytes | None:
        """Which bytes does the device read? None: the bus aborted."""
        iova = self._driven(address)
        data, outcome = self.smmu.read(self.sid, iova, size, realm=self.trusted)
        self._report(iova, size, "r", outcome)
        return data if isinstance(outcome, Ok) else None

    def write(self, address: DmaAddr, data: bytes) -> bool:
        """Store bytes. False: the bus aborted, perhaps after some of them."""
        iova = self._driven(address)
        _, outcome = self.smmu.write(self.sid, iova, data, realm=self.trusted)
        self._report(iova, len(data), "w", outcome)
        return isinstance(outcome, Ok)

    def message(self, address: DmaAddr) -> Pa | None:
        """Which physical address does a message-signalled interrupt reach? None: none."""
        iova = Iova(address)
        outcome = self.smmu.access(self.sid, iova, MSI_BYTES, True, realm=self.trusted)
        self._report(iova, MSI_BYTES, "w", outcome)
        return outcome.pa if isinstance(outcome, Ok) else None

    def _driven(self, address: DmaAddr) -> Iova:
        """Which address arrives at the SMMU for one that the driver gave?"""
        driven = (address | self.wild_bits) & ((1 << self.address_bits) - 1)
        return Iova(driven + self.bus_offset & U64)

    def _report(self, address: Iova, size: int, direction: str, outcome: Outcome) -> None:
        status, reached, pa = "ok", None, None
        if isinstance(outcome, Ok):
            pa = outcome.pa
            if self.smmu.memory.contains(pa):
                reached = "shared" if self.granules.pas(pa) is PAS.NS else "private"
        elif isinstance(outcome, Fault):
            status = outcome.event.name
        else:
            status = "GPF" if outcome.reason == "gpf" else "terminated"
            pa = outcome.pa
            reached = "private" if outcome.reason == "gpf" else None
        self.emit(
            Event(
                "device",
                "access",
                device=self.name,
                sid=self.sid,
                address=address,
                size=size,
                direction=direction,
                status=status,
                pa=pa,
                attrs=reached,
                detail="T=1" if self.trusted else None,
            )
        )
