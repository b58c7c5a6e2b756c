"""Which host memory backs the guest's RAM, private and shared?

A Realm's page is backed twice: private pages by granules that the host has delegated
(guest_memfd), shared pages by ordinary host memory that the VMM maps. Both halves of the IPA space
name the same page of the guest, and only one of the two backings is in use at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

from topbit.arch.ipa import Ipa, Pa

SHIFT = 12


@dataclass(slots=True)
class MemorySlot:
    """One range of guest RAM.

    Attributes:
        ipa: first IPA, shared bit clear.
        size: bytes, a multiple of 4 KiB.
        shared_pa: physical address that backs `ipa` while shared (Non-secure).
        private_pa: physical address that backs `ipa` while private (delegated).
        shared: bool per page: the VMM converted it to shared.
        populated: bool per page: the Realm has a private granule there.
        written: bool per page: the memory at `shared_pa` may hold something; elsewhere it is zero.
    """

    ipa: Ipa
    size: int
    shared_pa: Pa
    private_pa: Pa
    shared: NDArray[np.bool_] = field(init=False)
    populated: NDArray[np.bool_] = field(init=False)
    written: NDArray[np.bool_] = field(init=False)
    _shared: memoryview = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.shared = np.zeros(self.size >> SHIFT, np.bool_)
        self._shared = self.shared.data  # for single questions, which cost NumPy most
        self.populated = np.zeros(self.size >> SHIFT, np.bool_)
        in_place = self.shared_pa == self.private_pa
        self.written = np.full(self.size >> SHIFT, in_place, np.bool_)

    @property
    def end(self) -> Ipa:
        """Which is the first IPA behind the slot?"""
        return self.ipa + self.size

    def contains(self, word: int, size: int = 1) -> TypeGuard[Ipa]:
        """Does [word, word + size), whatever a guest says, lie in the slot?"""
        return self.ipa <= word and word + size <= self.end

    def page(self, ipa: Ipa) -> int:
        """Which index has the page of `ipa`?"""
        return (ipa - self.ipa) >> SHIFT

    def pages(self, ipa: Ipa, size: int) -> slice:
        """Which indices have the pages of [ipa, ipa + size)? Whole pages."""
        return slice(self.page(ipa), self.page(ipa + size))

    def to_shared_pa(self, ipa: Ipa) -> Pa:
        """Which physical address backs `ipa` while it is shared?"""
        return self.shared_pa + (ipa - self.ipa)

    def to_private_pa(self, ipa: Ipa) -> Pa:
        """Which physical address backs `ipa` while it is private?"""
        return self.private_pa + (ipa - self.ipa)

    def is_shared(self, ipa: Ipa, size: int) -> bool:
        """Are all pages of [ipa, ipa + size) shared?"""
        return 0 not in bytes(self._shared[self.page(ipa) : self.page(ipa + size - 1) + 1])
