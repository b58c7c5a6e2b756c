"""Random allocations from the modelled atomic pool, for the kernel's own to do as well."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from oracle_program import answers
from swiotlb_oracle import BASE
from topbit.addressing.kernel_policy import policy_for
from topbit.arch.ipa import Ipa
from topbit.events import Event
from topbit.linux.atomic_pool import MAX_PAGE_ORDER, AtomicPool, leaked
from topbit.linux.pageattr import PAGE_SIZE, LinearMap
from topbit.machine.model.flat_cpu import FlatCpu

SIZE = 4 << 20
ALL = (1 << 64) - 1
EINVAL = 22


class Memory(LinearMap):
    """RAM whose pages are shared, or not, as the test says."""

    refused = False

    def set_memory_decrypted(self, phys: Ipa, pages: int) -> int:
        return -EINVAL if self.refused else 0


@dataclass
class Twin:
    """The modelled pool of one release, asked at random; each request is noted for the kernel's.

    Attributes:
        lines: the requests; results: what came of each.
    """

    release: str
    seed: int
    shared: bool = True
    lines: list[str] = field(default_factory=list)
    results: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    given_back: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.policy = policy_for(self.release)
        self.cpu = FlatCpu(BASE, SIZE)
        self.memory = Memory(self.cpu, BASE, SIZE, None, self.events.append)
        self.next, self.largest = 0, MAX_PAGE_ORDER + 1
        self.live: list[tuple[int, int]] = []
        frees = leaked if self.policy.pool_leaks_unshared else self._free_pages
        # Kernels before 7.3 share it on any platform (to no effect where nothing is encrypted).
        shared = self.shared or not self.policy.capable_by_attrs
        self.pool = AtomicPool(
            self.memory, self._pages, self.events.append, shared=shared, free_pages=frees
        )

    def _pages(self, count: int) -> int | None:
        size = count * PAGE_SIZE
        at = -(-self.next // size) * size
        if count >= 1 << self.largest or at + size > SIZE:
            return None
        self.next = at + size
        return BASE + at

    def _free_pages(self, phys: int, pages: int) -> None:
        self.given_back += pages

    def run(self, requests: int) -> None:
        """Make `requests` allocations and frees, and what happens between them."""
        for _ in range(requests):
            kind = self.random.random()
            if kind < 0.5:
                self._alloc()
            elif kind < 0.9 and self.live:
                self._free()
            elif kind < 0.97:
                self.pool.resize()
                self._done("w", 0, 0, 0)
            else:
                self.largest = self.random.choice((0, 2, 5, 7, MAX_PAGE_ORDER + 1))
                self.memory.refused = self.random.random() < 0.3
                self._done("l", self.largest, self.memory.refused, 0)

    def _done(self, kind: str, one: int, other: int, result: int) -> None:
        self.lines.append(f"{kind} {one} {other:d}")
        state = f"{self.pool.available} {self.pool.size} {self.given_back}"
        self.results.append(f"{result:d} {state}")

    def _alloc(self) -> None:
        size = self.random.choice((0, 1, 100, 4096, 5000, 8192, 12288, 40_000, 70_000, 140_000))
        end = self.random.choice((ALL, ALL, ALL, BASE + (256 << 10), BASE + (1 << 20)))
        phys = self.pool.alloc(size, lambda start: start + size - 1 <= end)
        if phys is None:
            said = "DMA pool exhausted" if self.pool.ready else "Failed to get suitable pool"
            self.events.append(Event("guest", "trouble", detail=f"{said} for dev"))
        else:
            self.live.append((phys, size))
            self.cpu.store(Ipa(phys), b"\xa5" * size)
        self._done("a", size, end, phys or 0)

    def _free(self) -> None:
        if self.random.random() < 0.05:  # what is none of the pool's
            phys, size = BASE + SIZE - PAGE_SIZE, 2 * PAGE_SIZE
        else:
            phys, size = self.live.pop(self.random.randrange(len(self.live)))
        self._done("f", phys, size, self.pool.release(Ipa(phys), size))

    def checksum(self) -> int:
        ram = np.frombuffer(self.cpu.ram, np.uint8).astype(np.uint64)
        return int((ram * np.arange(1, SIZE + 1, dtype=np.uint64)).sum())

    def printed(self) -> list[str]:
        return [event.detail or "" for event in self.events]


def run_kernels(program: Path, twin: Twin) -> tuple[list[str], int, list[str]]:
    """What came of the same requests to the kernel's code, which RAM, and what was printed?"""
    lines = answers(program, (SIZE, int(twin.shared)), twin.lines)
    count = len(twin.results)
    return lines[:count], int(lines[count]), lines[count + 1 :]
