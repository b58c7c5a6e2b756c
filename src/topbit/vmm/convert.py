"""How does the VMM turn a guest page from private to shared, and back?

Fail closed: VFIO comes first in both directions, so that a failed map leaves the page private and
a failed unmap never leaves a device with a mapping to a page that turned private. A VMM whose
policy is not `fail_closed` ignores the failure and converts all the same. When the RMM refuses a
call, or the host has no memory for a table, the conversion is refused as well: the Realm sees how
far it came.
"""

from __future__ import annotations

import contextlib

import numpy as np
from numpy.typing import NDArray

from topbit.events import Emit, Event
from topbit.host.pages import PAGE
from topbit.host.rme import RealmHost, RmiError
from topbit.vmm.policy import VmmPolicy
from topbit.vmm.slots import MemorySlot
from topbit.vmm.vfio import VfioContainer, VfioError

VFIO_FAILED = "the VFIO operation failed"


class PageConverter:
    """Converts pages of one guest.

    Args:
        realm: the Realm's host side (RMI calls).
        vfio: its assigned devices' mappings.
        shared_bit: 1 << (ipa_bits - 1).
        policy: what this VMM does when VFIO fails.
        emit: takes "convert" events.

    Attributes:
        latest: first IPA of the range that was shared last; 0 if none was.
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
        self.latest = 0

    def share(self, slot: MemorySlot, rec: int, base: int, top: int) -> bool:
        """Make [base, top) shared, as the Realm asked on `rec`. False: refused."""
        fresh = ~slot.shared[slot.pages(base, top)]
        if not self._vfio(slot, base, top, fresh, share=True):
            return self._refused(slot, base, top, "shared", VFIO_FAILED)
        try:
            self._share(slot, rec, base, top, fresh)
        except (RmiError, MemoryError) as failed:
            for start, end in runs(fresh, base):
                with contextlib.suppress(VfioError):  # no device may reach what is not shared
                    self.vfio.unmap(start, end - start)
            return self._refused(slot, base, top, "shared", str(failed))
        return self._done(slot, base, top, "shared")

    def unshare(self, slot: MemorySlot, rec: int, base: int, top: int) -> bool:
        """Make [base, top) private; its content is lost. False: refused."""
        was = slot.shared[slot.pages(base, top)].copy()
        if not self._vfio(slot, base, top, was, share=False):
            return self._refused(slot, base, top, "private", VFIO_FAILED)
        try:
            for start, end in runs(was, base):
                bit = self.shared_bit
                self.realm.unmap_unprotected_range(start | bit, end | bit)
                slot.shared[slot.pages(start, end)] = False
            self.realm.set_ripas(rec, base, top)
        except (RmiError, MemoryError) as failed:
            return self._refused(slot, base, top, "private", str(failed))
        return self._done(slot, base, top, "private")

    def keep_private(self, slot: MemorySlot, rec: int, base: int, top: int) -> bool:
        """Make [base, top), of which nothing is shared, RAM. False: refused."""
        try:
            self.realm.set_ripas(rec, base, top)
        except (RmiError, MemoryError) as failed:
            return self._refused(slot, base, top, "private", str(failed))
        return True

    def _share(
        self, slot: MemorySlot, rec: int, base: int, top: int, fresh: NDArray[np.bool_]
    ) -> None:
        self.realm.set_ripas(rec, base, top)
        pages = slot.pages(base, top)
        for start, end in runs(fresh & slot.populated[pages], base):
            self.realm.destroy_range(start, end, slot.to_private_pa(start))
            slot.populated[slot.pages(start, end)] = False
        for start, end in runs(fresh & slot.written[pages], base):
            self.realm.memory.fill(slot.to_shared_pa(start), end - start)
        for start, end in runs(fresh, base):
            pa = slot.to_shared_pa(start)
            self.realm.map_unprotected_range(start | self.shared_bit, end | self.shared_bit, pa)
        slot.shared[pages] = slot.written[pages] = True
        self.latest = base

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

    def _done(self, slot: MemorySlot, base: int, top: int, reached: str) -> bool:
        pa = slot.to_shared_pa(base) if reached == "shared" else slot.to_private_pa(base)
        self.emit(Event("vmm", "convert", phys=base, pa=pa, size=top - base, status=reached))
        return True

    def _refused(self, slot: MemorySlot, base: int, top: int, wanted: str, why: str) -> bool:
        pa = slot.to_shared_pa(base) if wanted == "shared" else slot.to_private_pa(base)
        self.emit(
            Event(
                "vmm",
                "convert",
                phys=base,
                pa=pa,
                size=top - base,
                status="error",
                attrs=wanted,
                detail=f"refused: {why}",
            )
        )
        return False


def runs(changes: NDArray[np.bool_], base: int) -> list[tuple[int, int]]:
    """Which address ranges have the runs of true pages, the first page at `base`?"""
    flags = np.concatenate(([False], changes, [False]))
    edges = np.flatnonzero(flags[1:] != flags[:-1]).tolist()
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return [(base + a * PAGE, base + b * PAGE) for a, b in pairs]
