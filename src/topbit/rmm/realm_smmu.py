"""What does the RMM write for a trusted device into the Realm stream table?

A trusted device's stream walks its Realm's own table, so the SMMU remembers translations of it.
Whenever a valid entry is changed or removed the RMM must make the SMMU forget; the specification
leaves the when to the RMM (DEN0137, "Realm device assignment"; IHI0070 3.17).
"""

from __future__ import annotations

from topbit.arch.smmuv3 import STE, Config
from topbit.rmm.state import Realm


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
