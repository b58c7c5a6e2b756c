"""How does the RMM program the Realm side of the modelled SMMU?"""

from __future__ import annotations

from topbit.arch.ipa import Ipa, Pa
from topbit.arch.smmuv3 import STE
from topbit.rmm.realm import Realm
from topbit.rmm.realm_smmu import SPLIT
from topbit.smmu.smmu import Smmu


class RealmStreams:
    """The Realm side of the modelled SMMU, as the RMM programs it (`rmm.RealmSmmu`).

    The SMMU reads the stream table in the granules where the RMM keeps it.
    """

    def __init__(self, smmu: Smmu) -> None:
        self.smmu = smmu

    def activate(self, strtab: Pa, log2size: int) -> None:
        """Use the stream table at `strtab`."""
        self.smmu.enable_realm(strtab, log2size, SPLIT)

    def deactivate(self) -> None:
        """Use no stream table."""
        self.smmu.disable_realm()

    def changed(self, sid: int, ste: STE, realm: Realm | None) -> None:
        """Forget what is remembered of the entry of `sid`."""
        self.smmu.forget_realm_ste(sid)

    def invalidate(self, vmid: int, ipa: Ipa, size: int) -> None:
        """Forget what is remembered of [ipa, ipa + size)."""
        self.smmu.invalidate_realm(vmid, ipa, size)
