"""What does the RMM tell the Realm side of an SMMU?

A trusted device's stream walks its Realm's own table, so the SMMU remembers translations of it.
Whenever a valid entry is changed or removed the RMM must make the SMMU forget; the specification
leaves the when to the RMM (DEN0137, "Realm device assignment"; IHI0070 3.17).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from topbit.rmm.realm import Realm


class RealmSmmu(Protocol):
    """The SMMU as the RMM programs it: Realm stream table and TLB maintenance."""

    def enable(self, sid: int, realm: Realm) -> None:
        """Make the stream valid: from now on it translates through the Realm's table."""
        ...

    def disable(self, sid: int) -> None:
        """Make the stream invalid."""
        ...

    def invalidate(self, vmid: int, ipa: int, size: int) -> None:
        """Forget what is remembered of [ipa, ipa + size) of the Realm with this VMID."""
        ...
