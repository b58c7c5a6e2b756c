"""Which translations does the SMMU still remember?

A TLB entry lives until a command invalidates it, whatever the tables say meanwhile: a forgotten
invalidation shows as a stale translation, as on hardware. Entries are tagged with the Security
state and the VMID, not with the stream, so that streams of one VMID share them (IHI0070 3.17).
There is no capacity limit: an entry never disappears by chance.
"""

from __future__ import annotations

from topbit.arch.ipa import Ipa
from topbit.smmu.walk import Leaf

_Pages = dict[int, dict[int, Leaf]]  # log2 of the mapped bytes -> page number -> leaf


class Tlb:
    """Which leaf is remembered for an IPA?

    `generation` grows with every invalidation, so that copies of the content can notice it.
    """

    def __init__(self) -> None:
        self._regimes: dict[tuple[bool, int], _Pages] = {}
        self.generation = 0

    def __len__(self) -> int:
        return sum(len(pages) for regime in self._regimes.values() for pages in regime.values())

    def lookup(self, realm: bool, vmid: int, ipa: Ipa) -> Leaf | None:
        """Which leaf is remembered for `ipa`? Of several that overlap, the largest.

        (Overlapping entries are a missing invalidation too; hardware may take either.)
        """
        for shift, pages in self._regimes.get((realm, vmid), {}).items():
            leaf = pages.get(ipa >> shift)
            if leaf is not None:
                return leaf
        return None

    def insert(self, realm: bool, vmid: int, ipa: Ipa, leaf: Leaf) -> None:
        """Remember the leaf that translated `ipa`."""
        regime = self._regimes.setdefault((realm, vmid), {})
        if leaf.shift not in regime:
            regime[leaf.shift] = {}
            self._regimes[realm, vmid] = dict(sorted(regime.items(), reverse=True))
            regime = self._regimes[realm, vmid]
        regime[leaf.shift][ipa >> leaf.shift] = leaf

    def invalidate_all(self, realm: bool) -> None:
        """Forget every translation of a Security state."""
        self.generation += 1
        for regime in [key for key in self._regimes if key[0] == realm]:
            del self._regimes[regime]

    def invalidate_vmid(self, realm: bool, vmid: int) -> None:
        """Forget every translation of a VMID."""
        self.generation += 1
        self._regimes.pop((realm, vmid), None)

    def invalidate_range(
        self,
        realm: bool,
        vmid: int,
        ipa: Ipa,
        size: int = 1,
        *,
        granule: int | None = None,
        shifts: frozenset[int] | None = None,
    ) -> None:
        """Forget the translations of a VMID that map any byte of [ipa, ipa + size).

        Args:
            granule, shifts: only entries of tables of this granule (log2) and of these sizes
                (log2), which is all that a command with TG and TTL must reach; None: any.
        """
        self.generation += 1
        for shift, pages in self._regimes.get((realm, vmid), {}).items():
            if shifts is not None and shift not in shifts:
                continue
            first, last = ipa >> shift, (ipa + size - 1) >> shift
            hit = (
                range(first, last + 1)
                if last - first < len(pages)
                else [page for page in pages if first <= page <= last]
            )
            for page in hit:
                leaf = pages.get(page)
                if leaf is not None and granule in (None, leaf.granule):
                    del pages[page]
