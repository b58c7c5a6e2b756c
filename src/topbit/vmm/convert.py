"""How does the VMM turn a guest page from private to shared, and back?

Fail closed: VFIO comes first in both directions, so that a failed map leaves the page private and
a failed unmap never leaves a device with a mapping to a page that turned private. A VMM whose
policy is not `fail_closed` ignores the failure and converts all the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from topbit.events import Emit, Event
from topbit.vmm.policy import VmmPolicy
from topbit.vmm.rme import RealmHost
from topbit.vmm.slots import PAGE, MemorySlot
from topbit.vmm.vfio import VfioContainer, VfioError


class PageConverter:
    """Converts pages of one guest.

    Args:
        realm: the Realm's host side (RMI calls).
        vfio: its assigned devices' mappings.
        shared_bit: 1 << (ipa_bits - 1).
        policy: what this VMM does when VFIO fails.
        emit: takes "convert" events.
    """

    def __init__(
        self,
        realm: RealmHost,
        vfio: VfioContainer,
        shared_bit: int,
        policy: VmmPolicy,
        emit: Emit,
    ) -> None:
        self.realm = realm
        self.vfio = vfio
        self.shared_bit = shared_bit
        self.policy = policy
        self.emit = emit

    def share(self, slot: MemorySlot, rec: int, base: int, top: int) -> bool:
        """Make [base, top) shared, as the Realm asked on `rec`. False: refused."""
        fresh = ~slot.shared[slot.pages(base, top)]
        if not self._vfio(slot, base, top, fresh, share=True):
            return self._done(slot, base, top, "shared", refused=True)
        self.realm.set_ripas(rec, base, top)
        pages = slot.pages(base, top)
        for start, end in runs(fresh & slot.populated[pages], base):
            self.realm.destroy_range(start, end, slot.to_private_pa(start))
        slot.populated[pages] &= ~fresh
        for start, end in runs(fresh, base):
            pa = slot.to_shared_pa(start)
            self.realm.memory.fill(pa, end - start)
            self.realm.map_unprotected_range(start | self.shared_bit, end | self.shared_bit, pa)
        slot.shared[pages] = True
        return self._done(slot, base, top, "shared")

    def unshare(self, slot: MemorySlot, rec: int, base: int, top: int) -> bool:
        """Make [base, top) private; its content is lost. False: refused."""
        was = slot.shared[slot.pages(base, top)].copy()
        if not self._vfio(slot, base, top, was, share=False):
            return self._done(slot, base, top, "private", refused=True)
        for start, end in runs(was, base):
            self.realm.unmap_unprotected_range(start | self.shared_bit, end | self.shared_bit)
        slot.shared[slot.pages(base, top)] = False
        self.realm.set_ripas(rec, base, top)
        return self._done(slot, base, top, "private")

    def _vfio(
        self, slot: MemorySlot, base: int, top: int, changes: NDArray[np.bool_], *, share: bool
    ) -> bool:
        """Change the device mappings of the pages that change. False: the conversion must fail."""
        for start, end in runs(changes, base):
            try:
                if share:
                    self.vfio.map(start, end - start, slot.to_shared_pa(start))
                else:
                    self.vfio.unmap(start, end - start)
            except VfioError:
                if self.policy.fail_closed:
                    return False
        return True

    def _done(
        self, slot: MemorySlot, base: int, top: int, wanted: str, *, refused: bool = False
    ) -> bool:
        pa = slot.to_shared_pa(base) if wanted == "shared" else slot.to_private_pa(base)
        self.emit(
            Event(
                "vmm",
                "convert",
                phys=base,
                pa=pa,
                size=top - base,
                status="error" if refused else wanted,
                attrs=wanted if refused else None,
                detail="refused: the VFIO operation failed" if refused else None,
            )
        )
        return not refused


def runs(changes: NDArray[np.bool_], base: int) -> list[tuple[int, int]]:
    """Which address ranges have the runs of true pages, the first page at `base`?"""
    flags = np.concatenate(([False], changes, [False]))
    edges = np.flatnonzero(flags[1:] != flags[:-1]).tolist()
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return [(base + a * PAGE, base + b * PAGE) for a, b in pairs]
