#!/usr/bin/env python3
"""How long does it take to build the tables of a large Realm, and how much memory besides them?

    python benchmarks/rmm_build.py [--gib 64]

Populates a Realm of 4 KiB pages through RMI 2.0, exactly as a host would: delegate the memory,
create every table, map every page with range descriptors; then converts 64 MiB to shared and
back. Prints seconds, and the peak resident memory above the tables themselves.
"""

from __future__ import annotations

import argparse
import resource
import struct
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "src"))

from topbit.arch.rmi import Rmi, Rmi2
from topbit.arch.rmi_range import AddrRange, MapFlags
from topbit.memory import PhysicalMemory
from topbit.rmm import Rmm

MIB, GIB = 1 << 20, 1 << 30
BASE = 4 * GIB
LIST = 512


class Host:
    """A host that has one Realm and hands out granules from a pool."""

    def __init__(self, ram: int) -> None:
        self.pool = 2 * MIB * (ram // GIB + 64)
        self.rmm = Rmm(PhysicalMemory(BASE, ram + self.pool), abi="2.0")
        self.data = BASE + self.pool
        self.next = BASE + MIB
        self.call(Rmi2.RMM_ACTIVATE)
        self.call(Rmi2.GRANULE_RANGE_DELEGATE, self.next, BASE + self.pool)
        self.list_pa, self.params = BASE + 0x1000, BASE + 0x2000
        self.rd = self.granules(1)

    def call(self, fid: int, *args: int) -> tuple[int, ...]:
        out = self.rmm.rmi(fid, args)
        if out[0]:
            raise RuntimeError(f"{fid:#x}: {out[0]:#x} {[hex(a) for a in args]}")
        return out

    def granules(self, count: int) -> int:
        pa, self.next = self.next, self.next + count * 0x1000
        return pa

    def create(self, ipa_bits: int) -> None:
        root = self.granules(1)
        page = bytearray(4096)
        page[0x8], page[0x18], page[0x20] = ipa_bits, 1, 1
        struct.pack_into("<QqI", page, 0x808, root, 0, 1)
        self.rmm.memory.write(self.params, page)
        self.call(Rmi.REALM_CREATE, self.rd, self.params)

    def tables(self, base: int, size: int) -> None:
        for level, step in ((1, 512 * GIB), (2, GIB), (3, 2 * MIB)):
            for ipa in range(base & ~(step - 1), base + size, step):
                self.call(Rmi.RTT_CREATE, self.rd, self.granules(1), ipa, level)

    def map_data(self, ipa: int, size: int, pa: int) -> None:
        unit = 1023 * 0x1000
        while size:
            words, offset = [], 0
            while offset < size and len(words) < LIST:
                count = min(unit, size - offset) >> 12
                words.append(AddrRange(COUNT=count, ADDR=pa + offset).words[0])
                offset += count << 12
            self.rmm.memory.table(self.list_pa, len(words))[:] = words
            flags = MapFlags(OADDR_TYPE=MapFlags.LIST, LIST_COUNT=len(words)).words[0]
            top = self.call(Rmi2.RTT_DATA_MAP, self.rd, ipa, ipa + offset, flags, self.list_pa)[1]
            pa, size, ipa = pa + top - ipa, size - (top - ipa), top


def resident() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gib", type=int, default=64)
    gib = parser.parse_args().gib
    before = resident()
    host = Host(gib * GIB)
    host.create(48)
    start = time.perf_counter()
    host.call(Rmi2.GRANULE_RANGE_DELEGATE, host.data, host.data + gib * GIB)
    delegated = time.perf_counter()
    host.tables(0, gib * GIB)
    created = time.perf_counter()
    host.map_data(0, gib * GIB, host.data)
    mapped = time.perf_counter()
    tables = host.next - BASE - MIB
    above = resident() - before - tables
    print(f"{gib} GiB in 4 KiB pages: {mapped - start:.2f} s")
    print(f"  delegate {delegated - start:.3f} s, tables {created - delegated:.3f} s", end="")
    print(f", map {mapped - created:.3f} s")
    print(f"  tables {tables / MIB:.0f} MiB, resident above them {above / MIB:.0f} MiB")
    convert(host, gib)
    return 0


def convert(host: Host, gib: int) -> None:
    """64 MiB to shared memory at the alias and back."""
    size, half = 64 * MIB, 1 << 47
    ipa, shared = 16 * MIB, 16 * MIB + half
    for level, step in ((1, 512 * GIB), (2, GIB), (3, 2 * MIB)):
        for table in range(shared & ~(step - 1), shared + size, step):
            host.call(Rmi.RTT_CREATE, host.rd, host.granules(1), table, level)
    rmm, pa = host.rmm, host.data + ipa
    for filled in (False, True):
        if filled:
            rmm.memory.fill(pa, size, 1)
        start = time.perf_counter()
        at = ipa
        while at < ipa + size:
            at = host.call(Rmi2.RTT_DATA_UNMAP, host.rd, at, ipa + size, 0, 0)[1]
        host.call(Rmi2.GRANULE_RANGE_UNDELEGATE, pa, pa + size)
        words = [
            AddrRange(COUNT=512, ADDR=pa + i, STATE=1).words[0] for i in range(0, size, 2 * MIB)
        ]
        rmm.memory.table(host.list_pa, len(words))[:] = words
        flags = MapFlags(
            OADDR_TYPE=MapFlags.LIST, LIST_COUNT=len(words), MEMATTR=7, S2AP_READ=1, S2AP_WRITE=1
        ).words[0]
        host.call(Rmi2.RTT_UNPROT_MAP, host.rd, shared, shared + size, flags, host.list_pa)
        there = time.perf_counter()
        host.call(Rmi2.RTT_UNPROT_UNMAP, host.rd, shared, shared + size, 0, 0)
        host.call(Rmi2.GRANULE_RANGE_DELEGATE, pa, pa + size)
        host.map_data(ipa, size, pa)
        back = time.perf_counter()
        state = "resident" if filled else "untouched"
        print(f"64 MiB ({state}) to shared {(there - start) * 1e3:.1f} ms", end="")
        print(f", back to private {(back - there) * 1e3:.1f} ms")


if __name__ == "__main__":
    sys.exit(main())
