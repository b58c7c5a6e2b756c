"""How are IOVA ranges mapped and unmapped in stage-2 table bytes?

The mechanism below a VMM's or host's mapping calls (cf. Linux drivers/iommu/io-pgtable-arm.c,
ARM_64_LPAE_S2): tables and descriptors in memory that an SMMU, modelled or QEMU's, walks. It maps
what it is told; which alias of a page that is, the caller decides. It sends no invalidations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from topbit.arch.ipa import Iova, Pa
from topbit.arch.smmuv3 import STE
from topbit.arch.stage2 import (
    AF,
    G4K,
    LAST_LEVEL,
    MAX_ROOT_TABLES,
    S2AP_READ,
    S2AP_WRITE,
    SH_INNER,
    TABLE_OR_PAGE,
    VALID,
    Geometry,
    Granule,
    address_array,
    address_bits,
    is_leaf,
    is_table,
    output_address,
)
from topbit.errors import PlatformFault
from topbit.memory import PhysicalMemory, Words

READ: Final = S2AP_READ
WRITE: Final = S2AP_WRITE
_MEMATTR_WB = 0xF << 2  # Normal, inner and outer write-back cacheable (without S2FWB)


class MappingError(PlatformFault):
    """Why can a range not be mapped or unmapped?

    Attributes:
        errno: the kernel's name for it: EEXIST (mapped already), ERANGE (outside the input or
            output size), EINVAL (not a multiple of the page size), ENOMEM (no table page left).
        iova: first address concerned.
    """

    def __init__(self, errno: str, iova: Iova) -> None:
        super().__init__(f"{errno} at 0x{iova:016x}")
        self.errno = errno
        self.iova = iova


class Stage2Table:
    """Which physical address does each IOVA translate to?

    Args:
        memory: holds the tables.
        allocate: gives the physical address of a zeroed block of the size asked for, aligned to
            it (a `PageRange`); raises MemoryError when there is none left.
        ipa_bits: width of the input addresses.
        start_level: level of the root; None: the lowest one that needs no concatenated tables.
        granule: page size and descriptor form.
        output_bits: width of the output addresses (STE.S2PS), a value of ADDRESS_BITS.
        blocks: map aligned runs with block descriptors; else with pages only.

    Raises:
        ValueError: no root of at most 16 tables at that level has this width.
    """

    def __init__(
        self,
        memory: PhysicalMemory,
        allocate: Callable[[int], Pa],
        ipa_bits: int,
        *,
        start_level: int | None = None,
        granule: Granule = G4K,
        output_bits: int = 48,
        blocks: bool = True,
    ) -> None:
        self.memory = memory
        self.granule = granule
        self.ipa_bits = ipa_bits
        self.output_bits = output_bits
        self.start_level = _start_level(granule, ipa_bits) if start_level is None else start_level
        self.geometry = Geometry(ipa_bits, self.start_level, granule, output_bits)
        index_bits = ipa_bits - granule.level_shift(self.start_level)
        tables = granule.root_tables(ipa_bits, self.start_level)
        if index_bits < 1 or tables > MAX_ROOT_TABLES:
            raise ValueError(f"no stage-2 root of {ipa_bits} bits at level {self.start_level}")
        self._allocate = allocate
        self._leaf_levels = granule.block_levels() if blocks else (LAST_LEVEL,)
        self._root_entries = 1 << index_bits
        self.root = allocate(max(granule.bytes * tables, 8 << index_bits))

    def map(self, iova: Iova, pa: Pa, size: int, prot: int = READ | WRITE) -> None:
        """Map [iova, iova + size) to [pa, pa + size). Nothing is changed if any of it is mapped.

        Raises:
            MappingError: EEXIST, ERANGE, EINVAL; ENOMEM (a part may be mapped then).
        """
        self._check(iova, size)
        if pa % self.granule.bytes:
            raise MappingError("EINVAL", iova)
        if pa < 0 or (pa + size - 1) >> self.output_bits:
            raise MappingError("ERANGE", iova)
        mapped = self._first_mapped(self.root, self.start_level, iova, size)
        if mapped is not None:
            raise MappingError("EEXIST", mapped)
        leaf = AF | SH_INNER | _MEMATTR_WB | prot | VALID
        if self.geometry.lpa2:
            leaf &= ~SH_INNER  # bits [9:8] hold OA[51:50]; shareability comes from STE.S2SH0
        try:
            self._map(self.root, self.start_level, iova, pa, size, leaf)
        except MemoryError:
            raise MappingError("ENOMEM", iova) from None

    def unmap(self, iova: Iova, size: int) -> int:
        """Unmap [iova, iova + size); a block that reaches beyond it is split.

        Returns:
            How many bytes of it were mapped.

        Raises:
            MappingError: ERANGE, EINVAL; ENOMEM when a block cannot be split.
        """
        self._check(iova, size)
        try:
            return self._unmap(self.root, self.start_level, iova, size)
        except MemoryError:
            raise MappingError("ENOMEM", iova) from None

    def lookup(self, iova: Iova) -> Pa | None:
        """Which physical address does `iova` translate to? None: not mapped."""
        if iova < 0 or iova >> self.ipa_bits:
            return None
        table, level = self.root, self.start_level
        while True:
            descriptor = self.memory.read_u64(table + 8 * self._index(iova, level))
            if is_table(descriptor, level):
                table, level = output_address(descriptor, self.granule), level + 1
                continue
            if not is_leaf(descriptor, level):
                return None
            offset = iova & (self.granule.level_size(level) - 1)
            return output_address(descriptor, self.granule, level) + offset

    def ste(self, vmid: int, *, record: bool = True) -> STE:
        """Which stream table entry makes a stream translate through this table?

        Args:
            vmid: tag of the stream's TLB entries.
            record: stage-2 faults are recorded in the event queue (STE.S2R).
        """
        return self.geometry.ste(self.root, vmid, record=record)

    # Inside.

    def _check(self, iova: Iova, size: int) -> None:
        if iova % self.granule.bytes or size % self.granule.bytes or size <= 0:
            raise MappingError("EINVAL", iova)
        if iova < 0 or (iova + size - 1) >> self.ipa_bits:
            raise MappingError("ERANGE", iova)

    def _index(self, iova: Iova, level: int) -> int:
        """Which entry of its table? At the start level, of all concatenated tables."""
        index = iova >> self.granule.level_shift(level)
        return index if level == self.start_level else index & (self.granule.entries - 1)

    def _view(self, table: Pa, level: int) -> Words:
        entries = self._root_entries if level == self.start_level else self.granule.entries
        return self.memory.table(table, entries)

    def _chunks(self, level: int, iova: Iova, size: int) -> Iterator[tuple[Iova, int]]:
        """Which (iova, size) parts, one per entry of `level`, does the range have?"""
        entry = self.granule.level_size(level)
        end = iova + size
        while iova < end:
            length = min(end - iova, entry - iova % entry)
            yield iova, length
            iova += length

    def _first_mapped(self, table: Pa, level: int, iova: Iova, size: int) -> Iova | None:
        """Which is the first address of [iova, iova + size) that a table maps?"""
        view = self._view(table, level)
        shift = self.granule.level_shift(level)
        first, last = self._index(iova, level), self._index(iova + size - 1, level)
        for index in np.flatnonzero(view[first : last + 1] & np.uint64(VALID)).tolist():
            base = ((iova >> shift) + index) << shift
            start, stop = Iova(max(iova, base)), min(iova + size, base + (1 << shift))
            descriptor = int(view[first + index])
            if not is_table(descriptor, level):
                return start
            child = output_address(descriptor, self.granule)
            found = self._first_mapped(child, level + 1, start, stop - start)
            if found is not None:
                return found
        return None

    def _map(self, table: Pa, level: int, iova: Iova, pa: Pa, size: int, leaf: int) -> None:
        entry = self.granule.level_size(level)
        if level == LAST_LEVEL:
            self._write_run(table, level, iova, pa, size, leaf | TABLE_OR_PAGE)
            return
        view = self._view(table, level)
        for start, length in self._chunks(level, iova, size):
            target = pa + (start - iova)
            index = self._index(start, level)
            descriptor = int(view[index])
            fits = length == entry and target % entry == 0 and level in self._leaf_levels
            if fits and not descriptor & VALID:
                view[index] = address_bits(target, self.granule) | leaf
                continue
            if not is_table(descriptor, level):
                child = self._allocate(self.granule.bytes)
                view[index] = address_bits(child, self.granule) | VALID | TABLE_OR_PAGE
            else:
                child = output_address(descriptor, self.granule)
            self._map(child, level + 1, start, target, length, leaf)

    def _write_run(self, table: Pa, level: int, iova: Iova, pa: Pa, size: int, leaf: int) -> None:
        """Write the descriptors of one table for contiguous addresses."""
        entry = self.granule.level_size(level)
        first, count = self._index(iova, level), size // entry
        targets = np.arange(pa, pa + size, entry, dtype=np.uint64)
        run = address_array(targets, self.granule) | np.uint64(leaf)
        self._view(table, level)[first : first + count] = run

    def _unmap(self, table: Pa, level: int, iova: Iova, size: int) -> int:
        view = self._view(table, level)
        entry = self.granule.level_size(level)
        if level == LAST_LEVEL:
            first, count = self._index(iova, level), size // entry
            run = view[first : first + count]
            mapped = int(np.count_nonzero(run & np.uint64(VALID)))
            run[:] = 0
            return mapped * entry
        done = 0
        for start, length in self._chunks(level, iova, size):
            index = self._index(start, level)
            descriptor = int(view[index])
            if is_leaf(descriptor, level):
                if length == entry:
                    view[index] = 0
                    done += entry
                    continue
                descriptor = self._split(view, index, descriptor, level, start)
            if is_table(descriptor, level):
                child = output_address(descriptor, self.granule)
                done += self._unmap(child, level + 1, start, length)
        return done

    def _split(self, view: Words, index: int, block: int, level: int, iova: Iova) -> int:
        """Replace a block by a table of the next level that maps the same. Returns its entry."""
        pa = output_address(block, self.granule, level)
        leaf = block & ~address_bits(Pa((1 << 52) - 1), self.granule)
        child = self._allocate(self.granule.bytes)
        entry = self.granule.level_size(level)
        kind = TABLE_OR_PAGE if level + 1 == LAST_LEVEL else 0
        self._write_run(child, level + 1, iova & -entry, pa, entry, leaf | kind)
        view[index] = address_bits(child, self.granule) | VALID | TABLE_OR_PAGE
        return int(view[index])


def _start_level(granule: Granule, ipa_bits: int) -> int:
    """At which level does a root of one table stand? (no concatenation)"""
    lowest = -1 if granule.ds and granule.shift == 12 else 0
    for level in range(LAST_LEVEL - 1, lowest - 1, -1):
        if ipa_bits <= granule.level_shift(level) + granule.stride:
            return level
    return lowest
