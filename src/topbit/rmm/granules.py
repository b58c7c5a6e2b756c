"""Which state is each 4 KiB granule of physical memory in, and who may touch it?

The RMM moves granules between states; the granule protection check (GPC) of the hardware only
sees the physical address space (PAS) that follows from the state. Every access of the host, of a
device behind the host's SMMU and of a Realm is held against it here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

from topbit.arch.gpt import GPI, GPIS_PER_ENTRY, PAS, l0_table, l1_entries
from topbit.arch.ipa import Pa
from topbit.memory import PhysicalMemory

GRANULE = 4096
SHIFT = 12


class State(IntEnum):
    """What is a granule used for? (RMM specification, granule states; ROOT: carved out)"""

    NS = 0
    DELEGATED = 1
    RD = 2
    REC = 3
    REC_AUX = 4
    DATA = 5
    RTT = 6
    PDEV = 7
    PDEV_AUX = 8
    VDEV = 9
    PARTIAL = 11  # of an unfinished operation
    INTERNAL = 12  # the RMM's own tables and queues
    PSMMU_ST_L2 = 13
    DEV_DELEGATED = 14
    DEV_MAPPED = 15
    ROOT = 16
    UNTRACKED = 255


NS, DELEGATED, RD, REC, REC_AUX, DATA, RTT = range(7)
UNTRACKED = 255

_GPI_OF_STATE = np.full(256, GPI.REALM, np.uint8)
_GPI_OF_STATE[NS] = _GPI_OF_STATE[UNTRACKED] = GPI.NS
_GPI_OF_STATE[State.ROOT] = GPI.ROOT
_PAS_OF_STATE = np.full(256, PAS.REALM, np.uint8)
_PAS_OF_STATE[NS] = _PAS_OF_STATE[UNTRACKED] = PAS.NS
_PAS_OF_STATE[State.ROOT] = PAS.ROOT
_STATES_OF_PAS = {
    int(pas): bytes(np.flatnonzero(pas == _PAS_OF_STATE).astype(np.uint8)) for pas in PAS
}


@dataclass(frozen=True, slots=True)
class GranuleProtectionFault:
    """Which agent touched a granule of which PAS through which other PAS?

    Attributes:
        agent: who made the access.
        pa: physical address of the first byte that it may not touch.
        access: PAS of the access.
        granule: PAS of the granule.
        state: what the granule is used for.
        write: the access was a write.
    """

    agent: str
    pa: Pa
    access: PAS
    granule: PAS
    state: State
    write: bool = False

    def __str__(self) -> str:
        verb = "write to" if self.write else "read of"
        return (
            f"granule protection fault: {self.agent} made a {self.access.name} {verb} "
            f"0x{self.pa:016x}, a {self.state.name} granule in the {self.granule.name} PAS"
        )


class Granules:
    """Which state is each granule of `memory` in?

    Args:
        memory: the physical memory whose granules are tracked; all are NS at first. Addresses
            outside it are device memory or nothing: not tracked, in the NS PAS.

    Attributes:
        state: uint8 array, one `State` per granule of the memory.
        scalar: the same bytes, for single reads.
    """

    def __init__(self, memory: PhysicalMemory) -> None:
        self.memory = memory
        self.base = memory.base
        self.end = memory.end
        self.state: NDArray[np.uint8] = np.zeros(memory.size >> SHIFT, np.uint8)
        # Scalar accesses through a memoryview cost a third of NumPy indexing.
        self.scalar = self.state.data
        self._device_ranges: list[tuple[Pa, int]] = []
        self._device: dict[int, State] = {}

    def get(self, word: int) -> int:
        """Which `State` is the granule at `word`, any u64, in? UNTRACKED if no granule is there."""
        if word & 0xFFF or not self.base <= word < self.end:
            return self._device.get(word, UNTRACKED)
        return self.scalar[(word - self.base) >> SHIFT]

    def has(self, word: int, state: int) -> TypeGuard[Pa]:
        """Is `word`, any u64, the address of a granule in `state`?"""
        if word & 0xFFF or not self.base <= word < self.end:
            return self._device.get(word, UNTRACKED) == state
        return self.scalar[(word - self.base) >> SHIFT] == state

    def set(self, pa: Pa, state: int) -> None:
        """Put the tracked granule at `pa` into `state`."""
        self.scalar[(pa - self.base) >> SHIFT] = state

    def span(self, pa: Pa, size: int) -> NDArray[np.uint8]:
        """Which live view shows the states of [pa, pa + size)? Both aligned, all tracked."""
        first = (pa - self.base) >> SHIFT
        return self.state[first : first + (size >> SHIFT)]

    def add_device_memory(self, pa: Pa, size: int) -> None:
        """Let [pa, pa + size), a device's registers, be delegated too (RMM 2.0)."""
        self._device_ranges.append((pa, size))

    def is_device_memory(self, word: int) -> bool:
        """Is `word`, any u64, the address of a device's registers?"""
        return any(start <= word < start + size for start, size in self._device_ranges)

    def convert_device(self, pa: Pa, size: int, *, delegate: bool) -> int:
        """Delegate or undelegate device memory from `pa` on; how many of `size` bytes were it?"""
        end = next((start + n for start, n in self._device_ranges if start <= pa < start + n), pa)
        top = min(pa + size, end)
        for page in range(pa, top, GRANULE):
            if delegate:
                if page in self._device:
                    return page - pa
                self._device[page] = State.DEV_DELEGATED
            elif self._device.get(page) != State.DEV_DELEGATED:
                return page - pa
            else:
                del self._device[page]
        return top - pa

    def move_device(self, pa: Pa, size: int, before: State, after: State) -> bool:
        """Put delegated device memory into another state, if all of it is in `before`."""
        if self.device_run(pa, size, before) != size:
            return False
        for page in range(pa, pa + size, GRANULE):
            self._device[page] = after
        return True

    def first_device(self, pa: Pa, size: int, state: State) -> Pa | None:
        """Which is the lowest page of the `size` bytes at `pa` that is device memory in `state`?"""
        found = (at for at, now in self._device.items() if now == state and pa <= at < pa + size)
        return min(map(Pa, found), default=None)

    def device_run(self, pa: Pa, size: int, state: State) -> int:
        """How many bytes from `pa` on, up to `size`, are delegated device memory in `state`?"""
        pages = range(pa, pa + size, GRANULE)
        other = next((page for page in pages if self._device.get(page) != state), pa + size)
        return other - pa

    def run(self, pa: Pa, size: int, state: int) -> int:
        """How many bytes from `pa` on, up to `size`, are tracked memory in `state`?"""
        if pa & (GRANULE - 1) or not self.base <= pa < self.end:
            return 0
        found = self.span(pa, min(size, self.end - pa)).tobytes()
        return (len(found) - len(found.lstrip(bytes((state,))))) << SHIFT

    def are(self, pa: NDArray[np.uint64], size: int, state: int) -> NDArray[np.bool_]:
        """Which of the blocks of `size` bytes at `pa` (uint64 array) are memory all in `state`?"""
        if size > GRANULE:
            return np.array([self.run(Pa(int(at)), size, state) == size for at in pa], np.bool_)
        page = (pa - np.uint64(self.base)) >> np.uint64(SHIFT)  # wraps below the base
        inside = page < np.uint64(len(self.state))
        found: NDArray[np.bool_] = inside.copy()
        found[inside] = self.state[page[inside]] == state
        return found

    def all_delegated(self, pa: Pa, size: int) -> bool:
        """Are all granules of [pa, pa + size) tracked and DELEGATED?"""
        if not self.contains(pa, size):
            return False
        return self.span(pa, size).tobytes() == b"\x01" * (size >> SHIFT)

    def contains(self, word: int, size: int) -> TypeGuard[Pa]:
        """Are all granules of [word, word + size) tracked?"""
        return self.base <= word and word + size <= self.end

    def carve_out(self, pa: Pa, size: int) -> None:
        """Give [pa, pa + size) to the firmware: Root PAS, never delegable."""
        self.span(pa, size)[:] = State.ROOT

    def pas(self, pa: Pa) -> PAS:
        """In which physical address space is `pa`?"""
        return PAS(int(_PAS_OF_STATE[self.get(pa & ~0xFFF)]))

    def check(
        self, agent: str, pa: Pa, size: int, pas: PAS, *, write: bool = False
    ) -> GranuleProtectionFault | None:
        """May `agent` touch `size` bytes at `pa` through `pas`?

        Host CPUs, and devices behind the host's SMMU, access through NS; a Realm and a trusted
        device through REALM, or NS where the descriptor says NS = 1.

        Returns:
            None, or the first granule that says no (DDI0487 D9: a Granule protection fault).
        """
        if self.contains(pa, size):
            states = self.scalar[
                (pa - self.base) >> SHIFT : ((pa + size - 1 - self.base) >> SHIFT) + 1
            ]
            if not bytes(states).translate(None, _STATES_OF_PAS[pas]):
                return None
        for page in range(pa & ~0xFFF, pa + max(size, 1), GRANULE):
            state = self.get(page)
            granule = _PAS_OF_STATE[state]
            if granule != pas:
                first = Pa(max(pa, page))
                return GranuleProtectionFault(
                    agent, first, pas, PAS(int(granule)), State(state), write
                )
        return None

    def permitted(self, pas: PAS, pa: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which of the addresses `pa` (uint64 array) may be touched through `pas`?"""
        page = (pa - np.uint64(self.base)) >> np.uint64(SHIFT)
        inside = (pa >= np.uint64(self.base)) & (pa < np.uint64(self.end))
        found = np.full(pa.shape, PAS.NS, np.uint8)
        found[inside] = _PAS_OF_STATE[self.state[page[inside]]]
        if self._device:
            delegated = np.array(list(self._device), np.uint64)
            found[np.isin(pa & np.uint64(~0xFFF & (1 << 64) - 1), delegated)] = PAS.REALM
        permitted: NDArray[np.bool_] = found == pas
        return permitted

    def gpis(self) -> NDArray[np.uint8]:
        """What is the GPI of each granule? uint8 array of `arch.gpt.GPI` values."""
        gpi: NDArray[np.uint8] = _GPI_OF_STATE[self.state]
        return gpi

    def write_gpt(self, l0: Pa, l1: Pa) -> int:
        """Store the granule protection table as bytes: level 0 entries at `l0`, level 1 at `l1`.

        One level 1 table covers 1 GiB (GPCCR_EL3.L0GPTSZ = 0b0000, PGS 4 KiB); the memory's
        base must be a multiple of 1 GiB, and the table shows the PAS as it is now.

        Returns:
            How many bytes were written at `l1`.

        Raises:
            ValueError: base not aligned to 1 GiB.
            BusError: the tables do not lie in memory.
        """
        if self.base & 0x3FFF_FFFF:
            raise ValueError("the granule protection table starts at a multiple of 1 GiB")
        gpis = self.gpis()
        padded = np.full(-(-len(gpis) // GPIS_PER_ENTRY) * GPIS_PER_ENTRY, GPI.NS, np.uint8)
        padded[: len(gpis)] = gpis
        entries = l1_entries(padded)
        self.memory.table(l1, len(entries))[:] = entries
        tables = -(-self.memory.size // 0x4000_0000)
        for i in range(tables):
            self.memory.write_u64(l0 + 8 * i, l0_table(l1 + i * (0x4000_0000 >> 16) * 8))
        return len(entries) * 8

    def wipe(self, pa: Pa, size: int = GRANULE) -> None:
        """Zero the contents, so that nothing that the last owner left can be read."""
        self.memory.wipe(pa, size)
