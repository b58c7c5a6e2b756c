"""What can a hostile host do to its Realm in the middle of the Realm's work?

All of it is the host's right in DEN0137: it may take any memory back and program its SMMU as it
likes. A Realm is protected from being read and changed, not from being stopped.
"""

from __future__ import annotations

from collections.abc import Callable

from topbit.arch.ipa import Ipa
from topbit.events import Emit, Event
from topbit.host.rme import RmiError
from topbit.vmm.vmm import Vmm


class HostInjection:
    """A host that turns on its guest.

    Args:
        vmm: the VMM of the Realm.
        emit: takes a "state" event for each thing done.
    """

    def __init__(self, vmm: Vmm, emit: Emit) -> None:
        self.vmm = vmm
        self.emit = emit

    def destroy_private(self, ipa: Ipa) -> None:
        """Take the private page at `ipa` back: the Realm's next access to it has no answer."""
        try:
            self.vmm.realm.destroy_data(ipa)
        except RmiError as refused:
            self._say(f"the host could not destroy a private page: {refused}", phys=ipa, done=False)
            return
        for slot in self.vmm.slots:
            if slot.contains(ipa, 1):
                slot.populated[slot.page(ipa)] = False
        self.vmm.lost.add(ipa)
        self._say("the host destroyed a private page", phys=ipa)

    def destroy_shared(self, ipa: Ipa) -> None:
        """Take the shared page at `ipa` (shared bit clear) from the Realm's CPUs: they abort."""
        if not any(slot.contains(ipa) and slot.is_shared(ipa, 1) for slot in self.vmm.slots):
            self._say("the host found no shared page to unmap", phys=ipa, done=False)
            return
        self.vmm.realm.unmap_unprotected(self.vmm.space.unprotected(ipa))
        self._say("the host unmapped a shared page", phys=ipa)

    def disable_stream(self, device: str, sid: int, disable: Callable[[], None]) -> None:
        """Make the stream of a device invalid by `disable`: its accesses abort."""
        try:
            disable()
        except RmiError as refused:
            what = f"the host could not make the stream of the device invalid: {refused}"
            self._say(what, device=device, sid=sid, done=False)
            return
        self._say("the host made the stream of the device invalid", device=device, sid=sid)

    def _say(
        self,
        what: str,
        *,
        phys: Ipa | None = None,
        device: str | None = None,
        sid: int | None = None,
        done: bool = True,
    ) -> None:
        status = "injected" if done else "error"
        self.emit(Event("host", "state", device, sid, phys=phys, status=status, detail=what))
