"""What does the RMM write for a trusted device into the Realm stream table?

A trusted device's stream walks its Realm's own table, so the SMMU remembers translations of it.
Whenever a valid entry is changed or removed the RMM must make the SMMU forget; the specification
leaves the when to the RMM (DEN0137, "Realm device assignment"; IHI0070 3.17).
"""

from __future__ import annotations

from topbit.arch.smmuv3 import STE
from topbit.rmm.state import Realm


def realm_ste(realm: Realm) -> STE:
    """Which Realm stream table entry gives a device the Realm's own table?"""
    return realm.rtt.geometry.ste(realm.rtt_base, realm.vmid)
