"""What does a VMM do with the shared bit, and how can it go wrong?

Sources: cover letter of "arm64: realm: Fix DMA address for devices" ("Create the S2-SMMU mappings
for VFIO at the 'unprotected' alias", "always mask the top bit"); QEMU's Realm support maps the
alias and translates both; kvmtool before its guest-dma-alias branch maps the protected half.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from topbit.arch.ipa import DmaAddr, Iova, Ipa


class SmmuMap(StrEnum):
    """At which IOVAs does VFIO map a shared page?"""

    ALIAS = "alias"  # IPA | shared bit: the convention
    PROTECTED = "protected"  # the plain IPA, as before the convention
    BOTH = "both"
    NONE = "none"


class Masking(StrEnum):
    """What does an emulated device do with the shared bit of an address it is given?"""

    MASK = "mask"  # the convention; accepts the address with the bit and without
    KEEP = "keep"  # looks the address up as it stands
    REQUIRE = "require"  # masks it, and refuses an address that does not have it


class MapFault(StrEnum):
    """Which VFIO operation fails?"""

    NONE = "none"
    MAP = "map"
    UNMAP = "unmap"


class Backing(StrEnum):
    """Which memory backs a page that is private, and which one that is shared?"""

    SEPARATE = "separate"
    IN_PLACE = "in-place"  # the same


@dataclass(frozen=True, slots=True)
class VmmPolicy:
    """How does this VMM behave? (the table `vmm` of a scenario)

    The named conventions are its attributes. What the VMM asks it are its methods: a VMM of one's
    own is a class that has this one as its base, and says something else (`own_policy`).

    Values of the enumerations may be given as their strings; another string is a ValueError.

    Attributes:
        smmu_map: where VFIO maps shared pages.
        masking: what emulated devices do with the shared bit; a scenario calls it `shared_bit`.
        map_fault: injected failure of VFIO maps or unmaps.
        fail_closed: a failed VFIO operation fails the page conversion (else it is ignored).
        invalidate: SMMU TLB entries are invalidated after an unmap.
        backing: which memory private and shared pages have.
        msi_doorbell: the ITS's doorbell is mapped for assigned devices.
        only_shared: emulated devices are refused private pages (else they reach what stands for
            the page in the host's memory).
        convention: name of the VMM whose policy it is (`conventions.py`), perhaps changed since.
    """

    smmu_map: SmmuMap = SmmuMap.ALIAS
    masking: Masking = field(default=Masking.MASK, metadata={"key": "shared_bit"})
    map_fault: MapFault = MapFault.NONE
    fail_closed: bool = True
    invalidate: bool = True
    backing: Backing = Backing.SEPARATE
    msi_doorbell: bool = True
    only_shared: bool = True
    convention: str = ""

    def __post_init__(self) -> None:
        for name, kind in ENUMERATIONS.items():
            object.__setattr__(self, name, kind(getattr(self, name)))

    def iovas(self, plain: Iova, alias: Iova) -> Sequence[Iova]:
        """At which IOVAs may assigned devices reach a shared page?

        The same answer each time: what is mapped at one is unmapped there later.

        Args:
            plain: the page's IPA, shared bit clear; a multiple of 4 KiB.
            alias: the same with the shared bit set.
        """
        return {
            SmmuMap.ALIAS: [alias],
            SmmuMap.PROTECTED: [plain],
            SmmuMap.BOTH: [plain, alias],
            SmmuMap.NONE: [],
        }[self.smmu_map]

    def looked_up(self, address: DmaAddr, masked: Ipa) -> Ipa | None:
        """Which guest address does an emulated device look up? None: it refuses the access.

        Args:
            address: what the guest gave the device.
            masked: the same with the shared bit clear.
        """
        if self.masking is Masking.KEEP:
            return Ipa(address)
        if self.masking is Masking.REQUIRE and int(address) == masked:
            return None
        return masked

    def goes_on(self, failed: str) -> bool:
        """Is a page converted although a VFIO operation failed?

        `failed`: "map" (it becomes shared) or "unmap" (it becomes private).
        """
        return not self.fail_closed

    @property
    def vfio_first(self) -> bool:
        """Are devices' mappings changed before the page is converted?

        After it, a VFIO operation that fails comes too late to be refused.
        """
        return True


ENUMERATIONS: dict[str, type[StrEnum]] = {
    "smmu_map": SmmuMap,
    "masking": Masking,
    "map_fault": MapFault,
    "backing": Backing,
}
