"""Physical memory: which bytes stand at a physical address?

One contiguous range of bytes over a NumPy array (the model machine) or a mapped file (the QEMU
machine, whose guest RAM is the same file). It knows addresses and bounds and nothing about what
its bytes mean: no granule states, no tables, no permissions.

An access outside the range raises `BusError`. The agents that make accesses on behalf of the
guest, a device or the host (RMM, SMMU, VMM) catch it or ask `contains` first, and turn it into
what the hardware would do: an external abort, a status code, an event.
"""

from __future__ import annotations

import contextlib
import mmap
from typing import TypeAlias, TypeGuard

import numpy as np
from numpy.typing import NDArray

from topbit.arch.ipa import Pa
from topbit.errors import PlatformFault

Words: TypeAlias = NDArray[np.uint64]
Bytes: TypeAlias = NDArray[np.uint8]


MAP_NORESERVE = 0x4000  # Linux; Python names it since 3.13
ANONYMOUS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE
# What is given back at once: a huge page. Giving back a part of one would break it up.
_GIVE_BACK = 2 << 20


class BusError(PlatformFault):
    """Which physical access hit no memory?

    Attributes:
        pa: first physical address of the access.
        size: its length in bytes.
    """

    def __init__(self, pa: Pa, size: int) -> None:
        super().__init__(f"no memory at 0x{pa:016x}, {size} bytes")
        self.pa = pa
        self.size = size


class PhysicalMemory:
    """What does the range [base, base + size) of the physical address space hold?

    Args:
        base: physical address of the first byte; a multiple of 4 KiB.
        size: length in bytes; a multiple of 4 KiB. Zero-filled, and lazily allocated.
        buffer: a writable buffer of `size` bytes to use instead (a mapped file).

    Raises:
        ValueError: base or size is not a multiple of 4 KiB, or the buffer is too small.
    """

    def __init__(self, base: Pa, size: int, buffer: mmap.mmap | None = None) -> None:
        if base % 4096 or size % 4096 or size <= 0:
            raise ValueError("base and size of physical memory are multiples of 4096")
        self.base = base
        self.size = size
        self.end = base + size
        self._private = buffer is None
        self._map = mmap.mmap(-1, size, flags=ANONYMOUS) if buffer is None else buffer
        self.bytes: Bytes = np.frombuffer(self._map, dtype=np.uint8, count=size)
        self.words: Words = self.bytes.view(np.uint64)
        # Scalar accesses through a memoryview cost a third of NumPy indexing.
        self._view = self.bytes.data
        self.scalar_words = self._u64 = self._view.cast("Q")
        self._u32 = self._view.cast("I")

    def contains(self, word: int, size: int = 1) -> TypeGuard[Pa]:
        """Do all `size` bytes at `word`, any number, exist?"""
        return self.base <= word and word + size <= self.end

    def read_u64(self, pa: Pa) -> int:
        """Which little-endian doubleword stands at `pa` (a multiple of 8)?

        Raises:
            BusError: no memory there, or not aligned.
        """
        if not self.base <= pa <= self.end - 8 or pa & 7:
            raise BusError(pa, 8)
        return self._u64[(pa - self.base) >> 3]

    def write_u64(self, pa: Pa, value: int) -> None:
        """Store a doubleword at `pa` (a multiple of 8) with one 8-byte store.

        Raises:
            BusError: no memory there, or not aligned.
        """
        if not self.base <= pa <= self.end - 8 or pa & 7:
            raise BusError(pa, 8)
        self._u64[(pa - self.base) >> 3] = value

    def read_u32(self, pa: Pa) -> int:
        """Which little-endian word stands at `pa` (a multiple of 4)?

        Raises:
            BusError: no memory there, or not aligned.
        """
        if not self.base <= pa <= self.end - 4 or pa & 3:
            raise BusError(pa, 4)
        return self._u32[(pa - self.base) >> 2]

    def write_u32(self, pa: Pa, value: int) -> None:
        """Store a word at `pa` (a multiple of 4) with one 4-byte store.

        Raises:
            BusError: no memory there, or not aligned.
        """
        if not self.base <= pa <= self.end - 4 or pa & 3:
            raise BusError(pa, 4)
        self._u32[(pa - self.base) >> 2] = value

    def read(self, pa: Pa, size: int) -> bytes:
        """Which `size` bytes stand at `pa`?

        Raises:
            BusError: some of them do not exist.
        """
        if size < 0 or not self.contains(pa, size):
            raise BusError(pa, size)
        start = pa - self.base
        return bytes(self._view[start : start + size])

    def view(self, pa: Pa, size: int) -> memoryview:
        """Which live view shows the `size` bytes at `pa`? Stores go through.

        Raises:
            BusError: some of them do not exist.
        """
        if size < 0 or not self.contains(pa, size):
            raise BusError(pa, size)
        start = pa - self.base
        return self._view[start : start + size]

    def write(self, pa: Pa, data: bytes | bytearray | memoryview) -> None:
        """Store `data` at `pa`.

        Raises:
            BusError: some of the bytes do not exist.
        """
        size = len(data)
        if not self.contains(pa, size):
            raise BusError(pa, size)
        start = pa - self.base
        self._view[start : start + size] = data

    def fill(self, pa: Pa, size: int, value: int = 0) -> None:
        """Set `size` bytes at `pa` to `value`.

        Raises:
            BusError: some of the bytes do not exist.
        """
        if size < 0 or not self.contains(pa, size):
            raise BusError(pa, size)
        start = pa - self.base
        self.bytes[start : start + size] = value

    def wipe(self, pa: Pa, size: int) -> None:
        """Zero `size` bytes at `pa`; large ranges are given back to the operating system.

        Raises:
            BusError: some of the bytes do not exist.
        """
        if size < 0 or not self.contains(pa, size):
            raise BusError(pa, size)
        start, end = pa - self.base, pa - self.base + size
        first = -(-start // _GIVE_BACK) * _GIVE_BACK
        last = end // _GIVE_BACK * _GIVE_BACK
        if first < last:
            advice = mmap.MADV_DONTNEED if self._private else mmap.MADV_REMOVE
            with contextlib.suppress(OSError):  # a file system that cannot punch holes
                self._map.madvise(advice, first, last - first)
                self.bytes[start:first] = 0
                start = last
        self.bytes[start:end] = 0

    def table(self, pa: Pa, entries: int) -> Words:
        """Which live view shows `entries` doublewords from `pa` (a multiple of 8)?

        Returns:
            uint64 array of shape (entries,) that shares this memory: stores go through.

        Raises:
            BusError: some of them do not exist, or `pa` is not aligned.
        """
        if pa & 7 or entries < 0 or not self.contains(pa, entries * 8):
            raise BusError(pa, entries * 8)
        start = (pa - self.base) >> 3
        return self.words[start : start + entries]
