"""At which IOVAs may assigned devices reach the guest's shared pages?

VFIO maps exactly the pages that are shared now; which of the page's two addresses becomes the IOVA
is the VMM's policy, and the convention says: the unprotected alias.

Source: cover letter of "arm64: realm: Fix DMA address for devices"; the rule that a failed map or
unmap must fail the conversion: review of QEMU's Realm device assignment (a device keeping a stale
mapping to a page that turned private).
"""

from __future__ import annotations

from collections.abc import Sequence

from topbit.arch.ipa import Iova, Ipa, IpaSpace, Pa
from topbit.errors import PlatformFault
from topbit.events import Emit, Event
from topbit.host.arm_smmu_v3 import ArmSmmuV3
from topbit.host.io_pgtable import MappingError, Stage2Table
from topbit.vmm.policy import MapFault, VmmPolicy

VMID = 1
PAGE = 4096


class VfioError(PlatformFault):
    """Which VFIO operation failed: "map" or "unmap"?"""


class VfioContainer:
    """The mappings of one guest's assigned devices.

    Args:
        driver: the host's SMMU driver.
        table: the stage-2 table that the guest's streams share.
        space: the Realm's IPA space.
        policy: where this VMM maps, and what fails.
        emit: takes "iommu_map" and "iommu_unmap" events.
    """

    def __init__(
        self,
        driver: ArmSmmuV3,
        table: Stage2Table,
        space: IpaSpace,
        policy: VmmPolicy,
        emit: Emit,
    ) -> None:
        self.driver = driver
        self.table = table
        self.space = space
        self.policy = policy
        self.emit = emit

    def attach(self, sid: int) -> None:
        """Put a device's stream behind this container's table."""
        self.driver.attach(sid, self.table.ste(VMID))

    def map_doorbell(self, doorbell: Pa) -> None:
        """Let devices write the ITS's doorbell for their interrupts, unless this VMM forgets to.

        MSI addresses are plain: a guest never aliases them, and the IOVA is the address.
        """
        if not self.policy.msi_doorbell:
            return
        page = doorbell & -PAGE
        self.table.map(Iova(page), page, PAGE)
        self.emit(
            Event(
                "vmm",
                "iommu_map",
                address=page,
                pa=page,
                size=PAGE,
                status="ok",
                detail="MSI doorbell",
            )
        )

    def iovas(self, gpa: Ipa) -> Sequence[Iova]:
        """At which IOVAs does this VMM map the shared page at `gpa` (shared bit clear)?

        The one place where the host adds the shared bit.
        """
        return self.policy.iovas(Iova(gpa), Iova(self.space.unprotected(gpa)))

    def map(self, gpa: Ipa, size: int, pa: Pa) -> None:
        """Map the shared range [gpa, +size) to [pa, +size).

        Raises:
            VfioError: "map" (injected, or the table refused).
        """
        for iova in self.iovas(gpa):
            error = "ENOMEM (injected)" if self.policy.map_fault is MapFault.MAP else ""
            if not error:
                try:
                    self.table.map(iova, pa, size)
                except MappingError as refused:
                    error = refused.errno
            self.emit(
                Event(
                    "vmm",
                    "iommu_map",
                    address=iova,
                    pa=pa,
                    size=size,
                    status="error" if error else "ok",
                    detail=error or None,
                )
            )
            if error:
                raise VfioError("map")

    def unmap(self, gpa: Ipa, size: int) -> None:
        """Unmap the range [gpa, +size) and make the SMMU forget it.

        Raises:
            VfioError: "unmap" (injected: the mapping stays).
        """
        iovas = self.iovas(gpa)
        for iova in iovas:
            failed = self.policy.map_fault is MapFault.UNMAP
            done = 0 if failed else self.table.unmap(iova, size)
            self.emit(
                Event(
                    "vmm",
                    "iommu_unmap",
                    address=iova,
                    size=size,
                    status="ok" if done == size else "error",
                    detail="EIO (injected)" if failed else f"unmapped 0x{done:x} bytes",
                )
            )
            if failed:
                raise VfioError("unmap")
        if iovas and self.policy.invalidate:
            self.driver.invalidate(VMID)
