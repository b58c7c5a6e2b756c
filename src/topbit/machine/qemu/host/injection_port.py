"""How does the guest's workload say to the host "now"?

A page of registers that the VMM emulates, reached from the guest's shell with `devmem`. Each
access of it is a trap: the host acts between two steps of the guest, at EL2, at a moment that the
workload chooses. Nothing of the guest's kernel knows of it.
"""

from __future__ import annotations

from collections.abc import Callable

from topbit.arch.ipa import DmaAddr, Ipa, IpaSpace
from topbit.events import Emit, Event
from topbit.host.pages import PAGE
from topbit.memory import PhysicalMemory
from topbit.vmm.slots import MemorySlot

ADDRESS = Ipa(0x0A90_0000)  # a hole of QEMU's virt machine
INJECT, WATCH, LOOK = 0x0, 0x8, 0x10
WATCHED_BYTES = 16


class InjectionPort:
    """The registers.

    - a read of INJECT: the host does to the guest what it is to do in the middle of the work;
    - a write of WATCH: from now on the shared page behind this DMA address is watched, which no
      device should reach any more;
    - a read of LOOK: whether one did since then.

    Args:
        inject: what the host does.
        memory, slot: the guest's RAM.
        space: the Realm's IPA space.
        device: kernel's name of the device that is watched, and its StreamID.
        emit: takes the "access" that was seen.
    """

    def __init__(
        self,
        inject: Callable[[], None],
        memory: PhysicalMemory,
        slot: MemorySlot,
        space: IpaSpace,
        device: tuple[str, int] | None,
        emit: Emit,
    ) -> None:
        self._inject: Callable[[], None] | None = inject
        self._memory = memory
        self._slot = slot
        self._space = space
        self._device = device
        self._emit = emit
        self._watched: DmaAddr | None = None

    def read_register(self, offset: int) -> int:
        """What does the guest read?"""
        if offset == INJECT and self._inject is not None:
            inject, self._inject = self._inject, None
            inject()
        return int(offset == LOOK and self._reached())

    def write_register(self, offset: int, value: int) -> None:
        """Take what the guest writes."""
        ipa = self._space.protected(value)
        if offset != WATCH or not self._slot.contains(ipa, WATCHED_BYTES):
            return
        if self._slot.shared[self._slot.page(ipa)] or ipa % PAGE + WATCHED_BYTES > PAGE:
            return  # the guest's own, as long as it shares the page
        self._watched = DmaAddr(value)
        self._memory.fill(self._slot.to_shared_pa(ipa), WATCHED_BYTES)

    def _reached(self) -> bool:
        """Has a device written to the watched page? Nobody else can."""
        value, self._watched = self._watched, None
        if value is None or self._device is None:
            return False
        ipa = self._space.protected(value)
        pa = self._slot.to_shared_pa(ipa)
        written = self._memory.read(pa, WATCHED_BYTES)
        if self._slot.shared[self._slot.page(ipa)] or not any(written):
            return False
        name, sid = self._device
        self._emit(
            Event(
                "device",
                "access",
                device=name,
                sid=sid,
                address=value,
                size=WATCHED_BYTES,
                direction="w",
                status="ok",
                pa=pa,
                attrs="shared",
                detail="seen in memory: the bytes changed",
            )
        )
        return True


def script(space: IpaSpace) -> str:
    """Which line of a step lets the host inject? The guest reaches registers at the alias."""
    return f"devmem 0x{space.unprotected(ADDRESS) + INJECT:x} 32 >/dev/null\n"
