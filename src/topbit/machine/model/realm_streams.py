"""How does the RMM program the Realm side of the modelled SMMU?"""

from __future__ import annotations

from topbit.arch.ipa import Ipa
from topbit.rmm.realm_smmu import realm_ste
from topbit.rmm.state import Realm
from topbit.smmu.smmu import Smmu


class RealmStreams:
    """The Realm side of the modelled SMMU, as the RMM programs it (`rmm.RealmSmmu`)."""

    def __init__(self, smmu: Smmu) -> None:
        self.smmu = smmu

    def enable(self, sid: int, realm: Realm) -> None:
        """Make the stream translate through the Realm's table."""
        self.smmu.install_realm_ste(sid, realm_ste(realm))

    def disable(self, sid: int) -> None:
        """Take the stream out of the Realm stream table."""
        self.smmu.remove_realm_ste(sid)

    def invalidate(self, vmid: int, ipa: Ipa, size: int) -> None:
        """Forget what is remembered of [ipa, ipa + size)."""
        self.smmu.invalidate_realm(vmid, ipa, size)
