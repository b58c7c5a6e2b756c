"""How does a trusted device's stream see the Realm?

It walks the Realm's own translation table: the whole IPA space, each leaf's NS bit choosing the
physical address space, exactly as the Realm's CPUs do.

Source: DEN0137 (Realm device assignment, RMI_VDEV_CREATE); the STE as TF-RMM configures it:
Config 0b110, S2TTB = the root of the Realm's table, VTCR fields of the Realm.
"""

from __future__ import annotations

from topbit.arch.smmuv3 import STE, Config
from topbit.rmm.realm import Realm
from topbit.smmu.smmu import Smmu


def realm_ste(realm: Realm) -> STE:
    """Which Realm stream table entry gives a device the Realm's own table?"""
    start, wide = realm.start_level, realm.ipa_bits > 48
    return STE(
        V=1,
        Config=Config.S2,
        SHCFG=1,
        S2VMID=realm.vmid,
        S2T0SZ=64 - realm.ipa_bits,
        S2SL0=2 - start if start >= 0 else 0,
        S2SL0_2=int(start < 0),
        S2IR0=1,
        S2OR0=1,
        S2SH0=3,
        S2PS=6 if wide else 5,
        S2AA64=1,
        S2AFFD=1,
        S2PTW=1,
        S2R=1,
        S2DS=int(wide),
        S2TTB=realm.rtt_base,
    )


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

    def invalidate(self, vmid: int, ipa: int, size: int) -> None:
        """Forget what is remembered of [ipa, ipa + size)."""
        self.smmu.invalidate_realm(vmid, ipa, size)
