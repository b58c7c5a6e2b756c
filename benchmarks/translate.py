"""How fast is batch translation against a C walk of the same tables?

    python benchmarks/translate.py [--addresses N] [--runs N]

Translates random IPAs in 1 GiB of 4 KiB pages at the unprotected alias of a 41-bit IPA space with
stage2_walk.c (compiled here with gcc -O3 -march=native, one thread), the reference walk, the fast
path with NumPy alone, and with numba where it is installed. Runs are interleaved; medians count.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "src"))

from topbit.arch.smmuv3_regs import CR0, Reg
from topbit.host.io_pgtable import Stage2Table
from topbit.host.pages import PageRange
from topbit.memory import PhysicalMemory
from topbit.smmu import Smmu, batch, flat
from topbit.smmu.translate import Translator

IPA_BITS = 41
ALIAS = 1 << (IPA_BITS - 1)
RAM = 0x8000_0000
GIB = 1 << 30
SID = 8

Run = Callable[[], tuple[batch.Addresses, batch.Codes]]


class CTable(ctypes.Structure):
    _fields_ = (
        ("words", ctypes.c_void_p),
        ("base", ctypes.c_uint64),
        ("size", ctypes.c_uint64),
        ("root", ctypes.c_uint64),
        ("start_level", ctypes.c_int32),
        ("input_bits", ctypes.c_int32),
        ("output_bits", ctypes.c_int32),
        ("access_flag", ctypes.c_int32),
    )


def build() -> tuple[Smmu, Stage2Table]:
    """1 GiB of pages, each mapped to a random frame."""
    memory = PhysicalMemory(0x4000_0000, 16 << 20)
    table = Stage2Table(memory, PageRange(memory, 0x4010_0000, 8 << 20), IPA_BITS, blocks=False)
    frames = np.random.default_rng(1).permutation(GIB >> 12)
    table.map(ALIAS | RAM, RAM, GIB)
    first = table.lookup(ALIAS | RAM)
    assert first == RAM
    for start in range(0, len(frames), 512):
        leaf_table = _leaf_table(table, ALIAS | (RAM + (start << 12)))
        view = memory.table(leaf_table, 512)
        attributes = view & np.uint64(0xFFF)
        view[:] = attributes | (
            np.uint64(RAM) + (frames[start : start + 512].astype(np.uint64) << np.uint64(12))
        )
    memory.write(0x4000_0000 + 64 * SID, table.ste(1).pack())
    smmu = Smmu(memory)
    smmu.write_reg(Reg.STRTAB_BASE, 0x4000_0000)
    smmu.write_reg(Reg.STRTAB_BASE_CFG, 8)
    smmu.write_reg(Reg.CR0, CR0.SMMUEN)
    return smmu, table


def _leaf_table(table: Stage2Table, iova: int) -> int:
    pa = table.root
    for level in range(table.start_level, 3):
        index = iova >> (39 - 9 * level)
        index &= 511 if level > table.start_level else -1
        pa = table.memory.read_u64(pa + 8 * index) & 0xFFFF_FFFF_F000
    return pa


def c_walk(smmu: Smmu, table: Stage2Table, iovas: batch.Addresses, folder: str) -> Run:
    library = Path(folder) / "stage2_walk.so"
    source = Path(__file__).with_name("stage2_walk.c")
    subprocess.run(
        ["gcc", "-O3", "-march=native", "-shared", "-fPIC", "-o", library, source], check=True
    )
    function = ctypes.CDLL(str(library)).translate
    memory = smmu.memory
    c_table = CTable(
        memory.words.ctypes.data, memory.base, memory.size, table.root, table.start_level,
        IPA_BITS, table.output_bits, 0,
    )  # fmt: skip

    def run() -> tuple[batch.Addresses, batch.Codes]:
        pas = np.empty_like(iovas)
        codes = np.empty(iovas.shape, np.uint8)
        function(
            ctypes.byref(c_table),
            ctypes.c_void_p(iovas.ctypes.data),
            ctypes.c_size_t(iovas.size),
            0,
            ctypes.c_void_p(pas.ctypes.data),
            ctypes.c_void_p(codes.ctypes.data),
        )
        return pas, codes

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--addresses", type=int, default=10_000_000)
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    smmu, table = build()
    translator = Translator(smmu)
    offsets = np.random.default_rng(2).integers(0, GIB, options.addresses, dtype=np.uint64)
    iovas = offsets + np.uint64(ALIAS | RAM)
    numba_from = flat.NUMBA_FROM

    def fast(threshold: int) -> Run:
        def run() -> tuple[batch.Addresses, batch.Codes]:
            flat.NUMBA_FROM = threshold
            return translator.translate(SID, iovas)

        return run

    with tempfile.TemporaryDirectory() as folder:
        runs: dict[str, Run] = {
            "C walk, gcc -O3, one thread": c_walk(smmu, table, iovas, folder),
            "reference walk (NumPy)": lambda: translator.translate(SID, iovas, reference=True),
            "fast path (NumPy)": fast(1 << 62),
        }
        try:
            import numba
        except ImportError:
            print("numba is not installed: its row is left out")
        else:
            runs[f"fast path (numba, {numba.get_num_threads()} threads)"] = fast(0)
        baseline, *others = runs.values()
        expected = baseline()
        for other in others:  # also builds the flattened copy and compiles
            pas, codes = other()
            assert np.array_equal(pas, expected[0])
            assert np.array_equal(codes, expected[1])
        times: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(options.runs):
            for name, run in runs.items():
                start = time.perf_counter()
                run()
                times[name].append(time.perf_counter() - start)
        flat.NUMBA_FROM = numba_from
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    reference = next(iter(medians.values()))
    print(f"{options.addresses:,} random IPAs in 1 GiB of 4 KiB pages, {os.cpu_count()} CPUs")
    for name, seconds in medians.items():
        nanoseconds = seconds / options.addresses * 1e9
        print(f"{name:32} {nanoseconds:7.2f} ns/address   {reference / seconds:5.2f} x C")


if __name__ == "__main__":
    main()
