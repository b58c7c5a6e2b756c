"""How does the VMM turn a guest page from private to shared, and back?

Fail closed: VFIO comes first in both directions, so that a failed map leaves the page private and
a failed unmap never leaves a device with a mapping to a page that turned private. A VMM whose
policy goes on ignores the failure and converts all the same; one that does not put VFIO first
notices a failure when it is too late. When the RMM refuses a
call, or the host has no memory for a table, the conversion is refused as well: the Realm sees how
far it came.
"""

from __future__ import annotations

import contextlib

import numpy as np
from numpy.typing import NDArray

from topbit.arch.ipa import Ipa, IpaSpace, Pa
from topbit.events import Emit, Event
from topbit.host.pages import PAGE
from topbit.host.rme import RealmHost, RmiError
from topbit.vmm.policy import VmmPolicy
from topbit.vmm.slots import MemorySlot
from topbit.vmm.vfio import VfioContainer, VfioError

NEVER = Ipa(0)
VFIO_FAILED = "the VFIO operation failed"


class PageConverter:
    """Converts pages of one guest.

    Args:
        realm: the Realm's host side (RMI calls).
        vfio: its assigned devices' mappings.
        space: the Realm's IPA space.
        policy: what this VMM does when VFIO fails.
        emit: takes "convert" events.

    Attributes:
        latest: first IPA of the range that was shared last; `NEVER` if none was.
    """

    def __init__(
        self,
        realm: RealmHost,
        vfio: VfioContainer,
        space: IpaSpace,
        policy: VmmPolicy,
        emit: Emit,
    ) -> None:
        self.realm = realm
        self.vfio = vfio
        self.space = space
        self.policy = policy
        self.emit = emit
        self.latest = NEVER

    def share(self, slot: MemorySlot, rec: Pa, ipa: Ipa, size: int) -> bool:
        """Make [ipa, ipa + size) shared, as the Realm asked on `rec`. False: refused."""
        fresh = ~slot.shared[slot.pages(ipa, size)]
        first = self.policy.vfio_first
        if first and not self._vfio(slot, ipa, fresh, share=True):
            return self._refused(slot, ipa, size, "shared", VFIO_FAILED)
        try:
            self._share(slot, rec, ipa, size, fresh)
        except (RmiError, MemoryError) as failed:
            for start, length in runs(fresh, ipa):
                with contextlib.suppress(VfioError):  # no device may reach what is not shared
                    self.vfio.unmap(start, length)
            return self._refused(slot, ipa, size, "shared", str(failed))
        done = self._done(slot, ipa, size, "shared")
        if not first:
            self._vfio(slot, ipa, fresh, share=True)
        return done

    def unshare(self, slot: MemorySlot, rec: Pa, ipa: Ipa, size: int) -> bool:
        """Make [ipa, ipa + size) private; its content is lost. False: refused."""
        was = slot.shared[slot.pages(ipa, size)].copy()
        first = self.policy.vfio_first
        if first and not self._vfio(slot, ipa, was, share=False):
            return self._refused(slot, ipa, size, "private", VFIO_FAILED)
        try:
            for start, length in runs(was, ipa):
                self.realm.unmap_unprotected_range(self.space.unprotected(start), length)
                slot.shared[slot.pages(start, length)] = False
            self.realm.set_ripas(rec, ipa, size)
        except (RmiError, MemoryError) as failed:
            return self._refused(slot, ipa, size, "private", str(failed))
        done = self._done(slot, ipa, size, "private")
        if not first:
            self._vfio(slot, ipa, was, share=False)
        return done

    def keep_private(self, slot: MemorySlot, rec: Pa, ipa: Ipa, size: int) -> bool:
        """Make [ipa, ipa + size), of which nothing is shared, RAM. False: refused."""
        try:
            self.realm.set_ripas(rec, ipa, size)
        except (RmiError, MemoryError) as failed:
            return self._refused(slot, ipa, size, "private", str(failed))
        return True

    def _share(
        self, slot: MemorySlot, rec: Pa, ipa: Ipa, size: int, fresh: NDArray[np.bool_]
    ) -> None:
        self.realm.set_ripas(rec, ipa, size)
        pages = slot.pages(ipa, size)
        for start, length in runs(fresh & slot.populated[pages], ipa):
            self.realm.destroy_range(start, length, slot.to_private_pa(start))
            slot.populated[slot.pages(start, length)] = False
        for start, length in runs(fresh & slot.written[pages], ipa):
            self.realm.memory.fill(slot.to_shared_pa(start), length)
        for start, length in runs(fresh, ipa):
            pa = slot.to_shared_pa(start)
            self.realm.map_unprotected_range(self.space.unprotected(start), length, pa)
        slot.shared[pages] = slot.written[pages] = True
        self.latest = ipa

    def _vfio(self, slot: MemorySlot, ipa: Ipa, changes: NDArray[np.bool_], *, share: bool) -> bool:
        """Change the device mappings of the pages that change. False: the conversion must fail."""
        for start, length in runs(changes, ipa):
            try:
                if share:
                    self.vfio.map(start, length, slot.to_shared_pa(start))
                else:
                    self.vfio.unmap(start, length)
            except VfioError:
                if not self.policy.goes_on("map" if share else "unmap"):
                    return False
        return True

    def _done(self, slot: MemorySlot, ipa: Ipa, size: int, reached: str) -> bool:
        pa = slot.to_shared_pa(ipa) if reached == "shared" else slot.to_private_pa(ipa)
        self.emit(Event("vmm", "convert", phys=ipa, pa=pa, size=size, status=reached))
        return True

    def _refused(self, slot: MemorySlot, ipa: Ipa, size: int, wanted: str, why: str) -> bool:
        pa = slot.to_shared_pa(ipa) if wanted == "shared" else slot.to_private_pa(ipa)
        self.emit(
            Event(
                "vmm",
                "convert",
                phys=ipa,
                pa=pa,
                size=size,
                status="error",
                attrs=wanted,
                detail=f"refused: {why}",
            )
        )
        return False


def runs(changes: NDArray[np.bool_], ipa: Ipa) -> list[tuple[Ipa, int]]:
    """Which ranges (start, size) have the runs of true pages, the first page at `ipa`?"""
    flags = np.concatenate(([False], changes, [False]))
    edges = np.flatnonzero(flags[1:] != flags[:-1]).tolist()
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return [(ipa + first * PAGE, (end - first) * PAGE) for first, end in pairs]
