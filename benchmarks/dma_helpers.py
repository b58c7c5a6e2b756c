"""How many addresses a second do the helpers of the DMA layer take, and how many maps the swiotlb?

    python benchmarks/dma_helpers.py [--addresses N] [--runs N]

The helpers over arrays against the same loop in C (gcc -O3 -march=native), in turns, both with a
new array for the results each time; bounced 4 KiB maps of the modelled guest with their copy, on
flat RAM. CPU seconds of this process; medians.
"""

from __future__ import annotations

import argparse
import ctypes
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from topbit.addressing.dma_direct import (
    BusDmaRegion,
    DmaDevice,
    dma_to_phys,
    phys_to_dma_unencrypted,
)
from topbit.addressing.scheme import arm_cca
from topbit.events import ignore
from topbit.linux.device import Device
from topbit.linux.pageattr import LinearMap
from topbit.linux.swiotlb import IoTlbMem
from topbit.machine.model.flat_cpu import FlatCpu

HERE = Path(__file__).resolve().parent
RAM, SIZE = 0x4000_0000, 8 << 20
SCHEME = arm_cca(41)
BIT = SCHEME.unencrypted_mask
RANGES = (BusDmaRegion(RAM, 0x1000_0000, 1 << 30),)
MAPS = 20_000


def c_loops(folder: Path) -> ctypes.CDLL:
    library = folder / "loops.so"
    command = ["gcc", "-O3", "-march=native", "-shared", "-fPIC", str(HERE / "dma_loops.c")]
    subprocess.run([*command, "-o", str(library)], check=True)
    return ctypes.CDLL(str(library))


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def maps(count: int) -> None:
    memory = LinearMap(FlatCpu(RAM, SIZE), RAM, SIZE, None, ignore)
    pool = IoTlbMem(memory, RAM + SIZE // 2, SIZE // 2, ignore)
    device = Device("dev", DmaDevice(SCHEME), (1 << 64) - 1)
    for number in range(count):
        slot = pool.tbl_map_single(
            device, RAM + number % 512 * 4096, 4096, lambda start: start | BIT
        )
        assert slot is not None
        pool.tbl_unmap_single(device, slot, 4096, "TO_DEVICE")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--addresses", type=int, default=1 << 23)
    parser.add_argument("--runs", type=int, default=9)
    args = parser.parse_args()
    count = args.addresses
    x = np.arange(RAM, RAM + count * 64, 64, dtype=np.uint64)
    bus = phys_to_dma_unencrypted(DmaDevice(SCHEME, RANGES), x)
    word = ctypes.c_uint64
    with tempfile.TemporaryDirectory() as name:
        loops = c_loops(Path(name))

        def c(function: str, *more: int) -> None:
            given = bus if function == "to_phys_behind" else x
            out = np.empty_like(given)
            words = [word(value) for value in (BIT, *more)]
            pointers = (ctypes.c_void_p(given.ctypes.data), ctypes.c_void_p(out.ctypes.data))
            getattr(loops, function)(*pointers, ctypes.c_long(count), *words)

        region = RANGES[0]
        pairs = {
            "phys_to_dma_unencrypted": (
                lambda: phys_to_dma_unencrypted(DmaDevice(SCHEME), x),
                lambda: c("unencrypted"),
            ),
            "the same behind dma-ranges": (
                lambda: phys_to_dma_unencrypted(DmaDevice(SCHEME, RANGES), x),
                lambda: c("unencrypted_behind", region.cpu_start, region.dma_start, region.size),
            ),
            "dma_to_phys behind dma-ranges": (
                lambda: dma_to_phys(DmaDevice(SCHEME, RANGES), bus),
                lambda: c("to_phys_behind", region.dma_start, region.cpu_start, region.size),
            ),
        }
        for title, (ours, theirs) in pairs.items():
            times = [(seconds(ours), seconds(theirs)) for _ in range(args.runs)]
            mine, loop = (median(side) for side in zip(*times, strict=True))
            print(f"{title}: {count / mine / 1e6:.0f} M/s, {loop / mine:.2f} x the C loop")
    took = median(seconds(lambda: maps(MAPS)) for _ in range(args.runs))
    print(f"bounced 4 KiB maps, copied and unmapped: {MAPS / took:.0f}/s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
