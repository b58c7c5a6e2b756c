"""How does an emulated device reach guest memory?

It is part of the VMM: it gets an address from the guest, masks the shared bit off, looks the
result up in the memory slots, and may only touch pages that the Realm shared.

Source: cover letter of "arm64: realm: Fix DMA address for devices": a VMM must always mask the top
bit off any IPA that the Realm gives it for DMA.
"""

from __future__ import annotations

from collections.abc import Callable

from topbit.arch.gpt import PAS
from topbit.arch.ipa import DmaAddr, Ipa, IpaSpace, Pa
from topbit.errors import PlatformFault
from topbit.events import Emit, Event
from topbit.memory import PhysicalMemory
from topbit.vmm.policy import VmmPolicy
from topbit.vmm.slots import MemorySlot

_NS = PAS.NS  # an enumeration's member costs more to look up than all else here

HostCheck = Callable[[str, Pa, int, PAS], object | None]


class DmaError(PlatformFault):
    """Why could the emulated device not reach guest memory?

    `reason`: "unmapped", "protected" (the shared bit is required), "private" or "GPF".
    """

    def __init__(self, reason: str, address: DmaAddr) -> None:
        super().__init__(f"{reason}: 0x{address:016x}")
        self.reason = reason
        self.address = address


class EmulatedDma:
    """The VMM's DMA port for one emulated device.

    Args:
        device: its name.
        memory: physical memory.
        slots: the guest's RAM.
        space: the Realm's IPA space.
        policy: what this VMM does with the shared bit.
        check: granule protection of a host access: (agent, pa, size, PAS) -> None or a fault.
        emit: takes the "vmm_dma" events.
    """

    def __init__(
        self,
        device: str,
        memory: PhysicalMemory,
        slots: list[MemorySlot],
        space: IpaSpace,
        policy: VmmPolicy,
        check: HostCheck,
        emit: Emit,
    ) -> None:
        self.device = device
        self.memory = memory
        self.slots = slots
        self.space = space
        self._kept = space.protected(-1)
        self._looked_up = policy.looked_up
        self._only_shared = policy.only_shared
        self.check = check
        self.emit = emit

    def canonical(self, address: DmaAddr) -> Ipa:
        """Which guest address is a DMA address without its shared bit?

        The one place where the VMM masks the shared bit.
        """
        return Ipa(self._kept & address)

    def read(self, address: DmaAddr, size: int) -> bytes:
        """Which bytes does the device read?

        Raises:
            DmaError: no guest memory there, not shared, or refused by granule protection.
        """
        return bytes(self.window(address, size, "r"))

    def write(self, address: DmaAddr, data: bytes) -> None:
        """Store what the device writes.

        Raises:
            DmaError: no guest memory there, not shared, or refused by granule protection.
        """
        self.window(address, len(data), "w")[:] = data

    def window(
        self, address: DmaAddr, size: int, direction: str, *, again: bool = False
    ) -> memoryview:
        """Which live bytes does the device reach, to read ("r") or to write ("w")?

        For use at once, not to be kept: they may be private after the guest has run. The guest
        may change them meanwhile on another vCPU: what is checked must have been copied before.

        Args:
            again: it was recorded that the device goes there: only a refusal is news.

        Raises:
            DmaError: no guest memory there, not shared, or refused by granule protection.
        """
        masked = self.canonical(address)
        ipa = self._looked_up(address, masked)
        status, pa = ("protected", None) if ipa is None else self._reach(ipa, size)
        if ipa is None:
            ipa = masked
        if again and status == "ok" and pa is not None:
            return self.memory.view(pa, size)
        self.emit(
            Event(
                "vmm",
                "vmm_dma",
                device=self.device,
                address=address,
                phys=ipa,
                pa=pa,
                size=size,
                direction=direction,
                status=status,
                attrs=self._kind(ipa, size) if status == "ok" else None,
            )
        )
        if status != "ok" or pa is None:
            raise DmaError(status, address)
        return self.memory.view(pa, size)

    def _kind(self, ipa: Ipa, size: int) -> str:
        """Which pages were reached, "shared" or "private" ones?"""
        if self._only_shared:
            return "shared"
        slot = next(slot for slot in self.slots if slot.contains(ipa, size))
        return "shared" if slot.is_shared(ipa, size) else "private"

    def _reach(self, ipa: Ipa, size: int) -> tuple[str, Pa | None]:
        """How does the lookup end, and at which physical address?"""
        for slot in self.slots:
            if size > 0 and slot.contains(ipa, size):
                break
        else:
            return "unmapped", None
        pa = slot.to_shared_pa(ipa)
        if self._only_shared and not slot.is_shared(ipa, size):
            return "private", pa
        if self.check("vmm", pa, size, _NS) is not None:
            return "GPF", pa
        return ("ok" if self.memory.contains(pa, size) else "unmapped"), pa
