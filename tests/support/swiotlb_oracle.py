"""The kernel's own swiotlb, compiled from a source tree, and the model, told to do the same."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import needs
from oracle_program import answers
from topbit.addressing.dma_direct import DmaDevice
from topbit.events import Event
from topbit.linux.device import Device
from topbit.linux.pageattr import LinearMap
from topbit.linux.swiotlb import Growth, IoTlbMem
from topbit.machine.model.flat_cpu import FlatCpu

OWN = Path(__file__).parent / "swiotlb_c"
BASE, SIZE = 0x4000_0000, 3 << 19
BUFFERS = 512 << 10
SEGMENT = 256 << 10
ALL = (1 << 64) - 1
DIRECTIONS = {"BIDIRECTIONAL": 0, "TO_DEVICE": 1, "FROM_DEVICE": 2}
SKIP_CPU_SYNC = 1 << 5


STAGED = {
    "linux/swiotlb.h": "include/linux/swiotlb.h",
    "swiotlb_of_the_tree.c": "kernel/dma/swiotlb.c",
}
STAGED_DIRECT = STAGED | {
    "linux/dma-direct.h": "include/linux/dma-direct.h",
    "direct.h": "kernel/dma/direct.h",
    "direct_of_the_tree.c": "kernel/dma/direct.c",
}
STAGED_POOL = {
    "linux/genalloc.h": "include/linux/genalloc.h",
    "genalloc_of_the_tree.c": "lib/genalloc.c",
    "pool_of_the_tree.c": "kernel/dma/pool.c",
}
ALL_STAGED = {
    "drive.c": STAGED,
    "direct_drive.c": STAGED_DIRECT,
    "pool_drive.c": STAGED_POOL,
}


def build(tree: Path, folder: Path, driver: str = "drive.c", *flags: str) -> Path:
    """Compile the tree's kernel/dma/swiotlb.c, direct.c or pool.c with the driver around it."""
    staged = ALL_STAGED[driver]
    texts = {name: (tree / path).read_text() for name, path in staged.items()}
    whole = "".join(texts.values())
    texts |= dict.fromkeys(
        set(re.findall(r"#\s*include\s*<(.+?)>", whole)) - texts.keys(),
        '#include "kernel_stubs.h"\n',
    )
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    program = folder / "program"
    pointer = re.search(r"unsigned long \*attrs", texts.get("linux/swiotlb.h", ""))
    knows = "bool cc_shared;" in texts.get("linux/swiotlb.h", "")
    wrapped = "struct dma_gen_pool" in texts.get("pool_of_the_tree.c", "")
    taken = "__DMA_ATTR_ALLOC_CC_SHARED * !!cc_attributes, fits" if wrapped else "fits"
    defined = {
        "ATTRS(x)": "(&(x))" if pointer else "(x)",
        "THE_POOL": "atomic_pool_kernel.pool" if wrapped else "atomic_pool_kernel",
        "FROM_POOL(dev,size,address,fits)": f"dma_alloc_from_pool(dev, size, address, 0, {taken})",
        "SHARED_POOL(x)": "(io_tlb_default_mem.cc_shared = (x))" if knows else "((void)(x))",
    }
    command = [needs.program("gcc"), "-std=gnu11", "-O2", "-w", f"-I{folder}", f"-I{OWN}"]
    command += [f"-D{name}={value}" for name, value in defined.items()]
    command += flags
    if driver != "drive.c":
        # What is never called here need not be there.
        command += ["-static", "-no-pie", "-Wl,--unresolved-symbols=ignore-all"]
    done = subprocess.run(
        [*command, "-o", str(program), str(OWN / driver)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[:3000]
    return program


@dataclass
class Live:
    """A mapping that has not ended."""

    tlb: int
    orig: int
    size: int
    align: int


@dataclass
class Twin:
    """The model, fed with random operations, each noted for the kernel's code.

    Attributes:
        lines: the operations; results: what the model gave for each that gives something.
    """

    seed: int
    nareas: int = 1
    bits: int = 0
    size: int = SIZE
    lines: list[str] = field(default_factory=list)
    results: list[tuple[int, int]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.cpu = FlatCpu(BASE, self.size)
        memory = LinearMap(self.cpu, BASE, self.size, None, self.events.append)
        # An area has a segment at least; a pool has two at least, so that there is a next one.
        self.pool_size = self.first_size()
        start = BASE + self.size - self.pool_size
        self.pool = IoTlbMem(
            memory,
            start,
            self.pool_size,
            self.events.append,
            nareas=self.nareas,
            growth=self.growth(),
        )
        self.device = Device("dev", DmaDevice(), ALL)
        self.live: list[Live] = []

    def first_size(self) -> int:
        """How large is the pool? Bytes."""
        return SEGMENT * max(self.nareas, 2)

    def growth(self) -> Growth | None:
        """How does it grow?"""
        return None

    def run(self, operations: int) -> None:
        """Make `operations` maps, unmaps and syncs."""
        while len(self.results) < operations:
            if not len(self.results) % 50:
                self._fill_or_drain = self.random.random()
            choice = self.random.random()
            if choice < self._fill_or_drain * 0.6 + 0.1 or not self.live:
                self._map()
            elif choice < 0.85:
                self._unmap()
            else:
                self._sync()

    def _do(self, kind: str, *words: int) -> None:
        self.lines.append(" ".join(map(str, (kind, *words, *[0] * (4 - len(words))))))

    def _result(self, result: int) -> None:
        self.results.append((result, self.pool.slots_used()))

    def _be(self, align: int, boundary: int, cpu: int) -> None:
        self.device.min_align_mask, self.device.seg_boundary_mask = align, boundary
        self.pool.cpu = cpu
        self._do("d", align, boundary, cpu)

    def _write(self, address: int, size: int) -> None:
        value = self.random.randrange(256)
        data = bytes((value + i * 7) & 0xFF for i in range(size))
        self.cpu.store(address, data)
        self._do("w", address, size, value)

    def _map(self) -> None:
        pick = self.random.choice
        align = pick((0, 0, 0xFFF, 0x1FF, 0x7FF, 0x3FFF))
        self._be(align, pick((ALL, ALL, 0xFFFF_FFFF, 0xFFFF, 0x1FFFF)), self.random.randrange(8))
        size = pick((1, 64, 512, 2048, 4096, self.random.randrange(1, 20000), 66000))
        orig = BASE + self.random.randrange(BUFFERS - size)
        alloc_align = pick((0, 0, 0, 0xFFF, 0x7FF))
        self._write(orig, min(size, 64))
        tlb = self.pool.tbl_map_single(
            self.device, orig, size, lambda start: start | self.bits, alloc_align_mask=alloc_align
        )
        self._do("m", orig, size, alloc_align)
        self._result(ALL if tlb is None else tlb)
        if tlb is not None:
            self.live.append(Live(tlb, orig, size, align))

    def _one(self) -> tuple[Live, str]:
        live = self.random.choice(self.live)
        self._be(live.align, ALL, self.random.randrange(8))
        self._write(live.tlb, min(live.size, 32))
        return live, self.random.choice(list(DIRECTIONS))

    def _unmap(self) -> None:
        live, direction = self._one()
        self.live.remove(live)
        skip = self.random.random() < 0.2
        self.pool.tbl_unmap_single(self.device, live.tlb, live.size, direction, sync=not skip)
        self._do("u", live.tlb, live.size, DIRECTIONS[direction], SKIP_CPU_SYNC * skip)
        self._result(0)

    def _sync(self) -> None:
        live, direction = self._one()
        start = self.random.randrange(live.size)
        size = self.random.randrange(1, live.size - start + 1)
        if self.random.random() < 0.02:
            size = live.size + 5000  # more than there is
        if self.random.random() < 0.5:
            self.pool.sync_single_for_cpu(self.device, live.tlb + start, size, direction)
            self._do("c", live.tlb + start, size, DIRECTIONS[direction])
        else:
            self.pool.sync_single_for_device(self.device, live.tlb + start, size, direction)
            self._do("f", live.tlb + start, size, DIRECTIONS[direction])
        self._result(0)

    def checksum(self) -> int:
        ram = np.frombuffer(self.cpu.ram, np.uint8).astype(np.uint64)
        return int((ram * np.arange(1, self.size + 1, dtype=np.uint64)).sum())

    def printed(self) -> list[str]:
        return [(event.detail or "").partition(": ")[2] for event in self.events]


@dataclass
class Kernels:
    """What the kernel's code gave for the same operations."""

    results: list[tuple[int, int]]
    checksum: int
    max_mapping_size: int
    free: list[int]
    printed: list[str]


def run_kernels(program: Path, twin: Twin) -> Kernels:
    assert shutil.which(str(program))
    words = [twin.size, twin.pool_size, twin.nareas, twin.bits]
    lines = answers(program, words, twin.lines)
    count = len(twin.results)
    results = [(int(a), int(b)) for a, b in (line.split() for line in lines[:count])]
    checksum, longest = map(int, lines[count].split())
    free = [int(word) for word in lines[count + 1].split()]
    return Kernels(results, checksum, longest, free, lines[count + 2 :])
