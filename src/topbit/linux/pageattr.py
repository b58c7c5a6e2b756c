"""Which pages does the guest share, and how does it change that? (arch/arm64/mm/pageattr.c)

Facts: Linux 7.2 arch/arm64/mm/pageattr.c:__set_memory_enc_dec: break (PTE invalid, shared bit set
or cleared), RSI call, make (PTE valid). When the RSI call fails the PTE stays invalid.
"""

from __future__ import annotations

import numpy as np

from topbit.arch.ipa import Ipa, IpaSpace
from topbit.events import Emit, Event
from topbit.linux.cpu import RealmCpu, SynchronousExternalAbort
from topbit.linux.rsi import EINVAL, rsi_set_memory_range_protected, rsi_set_memory_range_shared

PAGE_SHIFT = 12
PAGE_SIZE = 1 << PAGE_SHIFT


class LinearMap:
    """How does the kernel reach its RAM: which pages through the alias, which not at all?

    Args:
        cpu: the vCPU.
        base, size: the guest's RAM (phys_addr_t, shared bit clear), bytes.
        space: the Realm's IPA space, whose unprotected half stage 1 marks; None outside a Realm.
        emit: takes the "set_memory" events.
    """

    def __init__(
        self, cpu: RealmCpu, base: Ipa, size: int, space: IpaSpace | None, emit: Emit
    ) -> None:
        self.cpu = cpu
        self.base = base
        self.size = size
        self.space = space
        self.emit = emit
        pages = size >> PAGE_SHIFT
        self.shared = np.zeros(pages, dtype=np.bool_)
        self.valid = np.ones(pages, dtype=np.bool_)

    def set_memory_decrypted(self, phys: Ipa, pages: int) -> int:
        """Share `pages` pages from `phys`. Returns 0 or -EINVAL (then they must be leaked)."""
        return self._set_memory_enc_dec(phys, pages, encrypt=False)

    def set_memory_encrypted(self, phys: Ipa, pages: int) -> int:
        """Make `pages` pages from `phys` private; their content is lost. Returns 0 or -EINVAL."""
        return self._set_memory_enc_dec(phys, pages, encrypt=True)

    def _set_memory_enc_dec(self, phys: Ipa, pages: int, *, encrypt: bool) -> int:
        if self.space is None:
            return 0
        end = phys + (pages << PAGE_SHIFT)
        if phys & (PAGE_SIZE - 1) or not self.base <= phys < end <= self.base + self.size:
            return -EINVAL
        run = slice((phys - self.base) >> PAGE_SHIFT, (end - self.base) >> PAGE_SHIFT)
        self.valid[run] = False
        self.shared[run] = not encrypt
        change = rsi_set_memory_range_protected if encrypt else rsi_set_memory_range_shared
        result = change(self.cpu, phys, end)
        if result == 0:
            self.valid[run] = True
        state = "private" if encrypt else "shared"
        self.emit(
            Event(
                "guest",
                "set_memory",
                phys=phys,
                size=end - phys,
                status="error" if result else state,
                attrs=state if result else None,
                detail="set_memory_encrypted" if encrypt else "set_memory_decrypted",
            )
        )
        return result

    def ipa(self, phys: Ipa) -> Ipa:
        """Which full IPA does a CPU access to `phys` use?

        Raises:
            SynchronousExternalAbort: the page's PTE was left invalid by a failed conversion.
        """
        page = (phys - self.base) >> PAGE_SHIFT
        if not self.valid[page]:
            raise SynchronousExternalAbort(phys)
        if self.space is None or not self.shared[page]:
            return phys
        return self.space.unprotected(phys)

    def read(self, phys: Ipa, size: int) -> bytes:
        """Which bytes does the kernel read at `phys`? Page by page, each through its half."""
        out = bytearray()
        for start, length in chunks(phys, size):
            out += self.cpu.load(self.ipa(start), length)
        return bytes(out)

    def write(self, phys: Ipa, data: bytes) -> None:
        """Store `data` at `phys`, page by page, each through its half."""
        done = 0
        for start, length in chunks(phys, len(data)):
            self.cpu.store(self.ipa(start), data[done : done + length])
            done += length

    def zero_remapped(self, phys: Ipa, pages: int, *, decrypted: bool) -> None:
        """Zero pages through a mapping of their own, not the linear map (dma_pgprot).

        Args:
            decrypted: that mapping marks them as shared, whatever they are.

        Raises:
            SynchronousExternalAbort: they are not.
        """
        through = self.space.unprotected if self.space is not None and decrypted else Ipa
        for start, length in chunks(phys, pages << PAGE_SHIFT):
            self.cpu.store(through(start), bytes(length))


def chunks(address: Ipa, size: int, step: int = PAGE_SIZE) -> list[tuple[Ipa, int]]:
    """Into which (address, length) pieces does a range fall that never cross a `step`?"""
    out = []
    while size > 0:
        length = min(size, step - address % step)
        out.append((address, length))
        address += length
        size -= length
    return out
