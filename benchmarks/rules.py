#!/usr/bin/env python3
"""How long do all rules take over a recording that is in memory, and what do they need for it?

    python benchmarks/rules.py [CASE ...] [--runs 3] [--src OTHER/src] [--limit 600] [--each]

Makes the event table of each case with NumPy, then runs `topbit.rules.check` on it in a process of
its own and prints the median time and how much the process grew at most. `--src` measures another
checkout; a run that takes longer than `--limit` seconds is ended. `--each` also prints each rule's
own time.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from topbit.recording import Recording

S = 1 << 40
RAM, RAM_SIZE = 0x40000000, 1 << 30
POOL, POOL_SIZE = 0x76B00000, 64 << 20
HOST = 0x9_0000_0000
PAGE, SLOT = 4096, 2048
DISKS = ("0000:00:01.0", "0000:00:02.0")
SIDS = (8, 16)
MASK = (1 << 64) - 1

Columns = dict[str, Any]


def only(where: Any, values: Any) -> pl.Series:
    """A column that is empty where the condition does not hold."""
    return pl.Series(values).set(pl.Series(~where), None)


def transfers(count: int, reach: str = "") -> Columns:
    """`count` events of two devices that map, sync and unmap slots of the pool.

    `reach`: "access" if the device's own access is recorded as well.
    """
    steps = np.array(["swiotlb_bounced", "dma_map", reach or "dma_sync", "dma_sync", "dma_unmap"])
    random = np.random.default_rng(1)
    buffer, step = np.divmod(np.arange(count), len(steps))
    buffers = buffer[-1] + 1
    kinds = steps[step]
    slot = random.integers(0, POOL_SIZE // SLOT, buffers)[buffer] * SLOT
    phys = RAM + random.integers(0, 1 << 17, buffers)[buffer] * PAGE
    bounced, reached = kinds == "swiotlb_bounced", kinds == "access"
    to_device = buffer % 3 == 0
    direction = np.where(to_device, "TO_DEVICE", "FROM_DEVICE")
    return {
        "agent": np.where(reached, "device", "guest"),
        "event": kinds,
        "device": np.array(DISKS)[buffer % 2],
        "sid": only(reached, np.array(SIDS)[buffer % 2]),
        "address": only(~bounced, (POOL + slot) | S),
        "phys": only(bounced | (kinds == "dma_map"), phys),
        "size": np.full(count, SLOT),
        "direction": np.where(reached, np.where(to_device, "r", "w"), direction),
        "status": only(reached, np.full(count, "ok")),
        "mask": only(bounced, np.full(count, MASK, dtype=np.uint64)),
        "time": np.arange(count) * 1e-6,
        "source": np.full(count, "trace.txt"),
        "line": np.arange(1, count + 1, dtype=np.uint32),
    }


def pool(pages: int) -> Columns:
    """The pool's pages, each shared by the VMM and mapped for all devices before anything else."""
    page, mapped = np.divmod(np.arange(2 * pages), 2)
    return {
        "agent": np.full(2 * pages, "vmm"),
        "event": np.array(["convert", "iommu_map"])[mapped],
        "address": only(mapped == 1, (page * PAGE + POOL) | S),
        "phys": only(mapped == 0, page * PAGE + POOL),
        "pa": page * PAGE + HOST,
        "size": np.full(2 * pages, PAGE),
        "status": np.array(["shared", "ok"])[mapped],
        "time": np.zeros(2 * pages),
    }


def coherent(count: int) -> Columns:
    """`count` events of pages that are shared, given to a device, and taken back, one by one."""
    steps = ("convert", "iommu_map", "dma_alloc", "dma_free", "iommu_unmap", "convert")
    cycle, step = np.divmod(np.arange(count), len(steps))
    kinds = np.array(steps)[step]
    ipa = RAM + (cycle % (1 << 14)) * PAGE
    host = HOST + np.random.default_rng(3).permutation(count)[cycle] * PAGE
    by_ipa, by_guest = kinds == "convert", np.char.startswith(kinds, "dma")
    return {
        "agent": np.where(by_guest, "guest", "vmm"),
        "event": kinds,
        "device": only(by_guest, np.full(count, DISKS[0])),
        "address": only(~by_ipa, ipa | S),
        "phys": only(by_ipa, ipa),
        "pa": only((kinds == "iommu_map") | (step == 0), host),
        "size": np.full(count, PAGE),
        "status": np.where(step == 0, "shared", np.where(step == 5, "private", "ok")),
        "time": np.sort(np.random.default_rng(4).random(count // 6 + 1))[cycle] + step * 1e-9,
    }


def host_maps(count: int) -> Columns:
    """`count` pages that a host maps at their aliases, in no order, as its trace tells it."""
    random = np.random.default_rng(2)
    return {
        "agent": np.full(count, "vmm"),
        "event": np.full(count, "iommu_map"),
        "address": (random.permutation(count) * PAGE + RAM) | S,
        "pa": random.permutation(count) * PAGE + HOST,
        "size": np.full(count, PAGE),
        "status": np.full(count, "ok"),
        "time": np.zeros(count),
    }


def faults(count: int) -> Columns:
    """`count` pages that the SMMU refuses at their aliases."""
    return {
        "agent": np.full(count, "smmu"),
        "event": np.full(count, "smmu_event"),
        "sid": np.full(count, SIDS[0], dtype=np.uint32),
        "address": (np.arange(count) * 97 * PAGE + POOL) | S,
        "direction": np.full(count, "r"),
        "status": np.full(count, "F_TRANSLATION"),
        "attrs": np.full(count, "s2|IN"),
        "time": np.full(count, 1e6),
    }


def run(count: int) -> Columns:
    """As `transfers`, with the devices' accesses."""
    return transfers(count, "access")


CASES: dict[str, tuple[bool, list[tuple[Any, int]]]] = {
    # name: (one clock, what stands in the recording)
    "one-fault": (False, [(transfers, 1_000_000), (faults, 1)]),
    "one-fault-ordered": (True, [(pool, 16384), (transfers, 1_000_000), (faults, 1)]),
    "host-maps": (False, [(host_maps, 400_000), (faults, 12)]),
    "host-maps-ordered": (True, [(host_maps, 400_000), (transfers, 100_000), (faults, 12)]),
    "run": (True, [(pool, 16384), (run, 850_000), (coherent, 120_000), (faults, 1)]),
    "no-faults": (False, [(transfers, 20_000_000)]),
}


def recording(name: str) -> Recording:
    from topbit.recording import DeviceFacts, Platform, Recording
    from topbit.recording.schema import COLUMNS, polars_schema

    one_clock, parts = CASES[name]
    schema = polars_schema()
    frames = []
    for make, count in parts:
        frame = pl.DataFrame(make(count))
        lacking = [pl.lit(None).alias(name) for name in COLUMNS if name not in frame.columns]
        frames.append(frame.with_columns(lacking).select(COLUMNS).cast(pl.Schema(schema)))
    platform = Platform(
        realm=True,
        ipa_bits=41,
        kernel="6.18.15",
        pools=[(POOL, POOL_SIZE)],
        ram=[(RAM, RAM_SIZE)],
        devices={name: DeviceFacts(sid=sid) for name, sid in zip(DISKS, SIDS, strict=True)},
        one_clock=one_clock,
        origins={"realm": "option", "ipa_bits": "option"},
    )
    frame = pl.concat(frames, rechunk=True)
    return Recording(platform, frame.sort("time", maintain_order=True) if one_clock else frame)


class Peak(threading.Thread):
    """How many bytes did the process hold at most since this started?"""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.ended = threading.Event()
        self.most = self.first = resident()

    def run(self) -> None:
        while not self.ended.wait(0.005):
            self.most = max(self.most, resident())


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def measure(name: str, each: bool) -> dict[str, Any]:
    """What does one run of one case cost, in this process?"""
    from topbit.recording import Recording
    from topbit.rules import RULES, check

    made = recording(name)
    small = made.frame.head(2000)
    check(Recording(made.platform, small))  # what is imported at first use is no cost of the rules
    peak = Peak()
    peak.start()
    start, before = time.perf_counter(), time.process_time()
    checked = check(made)
    seconds, cpu = time.perf_counter() - start, time.process_time() - before
    peak.ended.set()
    result = {
        "events": len(made.frame),
        "seconds": seconds,
        "cpu": cpu,
        "grown": peak.most - peak.first,
        "findings": [f"{f.rule} x {f.count}" for f in checked.findings],
        "rules": {},
    }
    if each:
        for rule in RULES.values():
            start = time.perf_counter()
            if not rule.lacks(made):
                list(rule.check(made))
            result["rules"][rule.id] = time.perf_counter() - start
    return result


def in_own_process(name: str, src: Path, each: bool, limit: float) -> dict[str, Any] | None:
    words = [sys.executable, __file__, name, "--src", str(src), "--measure"]
    try:
        done = subprocess.run(
            words + ["--each"] * each, stdout=subprocess.PIPE, timeout=limit, check=True
        )
    except subprocess.TimeoutExpired:
        return None
    return dict(json.loads(done.stdout))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("case", nargs="*", help=f"of {', '.join(CASES)}; default: all")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--src", type=Path, default=Path(__file__).parent.parent / "src")
    parser.add_argument("--limit", type=float, default=600.0)
    parser.add_argument("--each", action="store_true")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        sys.path.insert(0, str(options.src))
        print(json.dumps(measure(options.case[0], options.each)))
        return 0
    for name in options.case or CASES:
        results = []
        for _ in range(options.runs):
            result = in_own_process(name, options.src, options.each, options.limit)
            if result is None:
                break
            results.append(result)
        if len(results) < options.runs:
            print(f"{name}: not done in {options.limit:.0f} s")
            continue
        seconds, cpu = (
            statistics.median(result[key] for result in results) for key in ("seconds", "cpu")
        )
        grown = max(result["grown"] for result in results)
        print(
            f"{name}: {results[0]['events']:,} events in {seconds:.2f} s (CPU {cpu:.2f} s), "
            f"grown by {grown >> 20} MiB; {', '.join(results[0]['findings']) or 'no finding'}"
        )
        for rule, took in sorted(results[0]["rules"].items(), key=lambda item: -item[1]):
            if took >= 0.01:
                print(f"    {rule:3} {took:7.2f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
