#!/usr/bin/env python3
"""How many RMM calls per second does one core answer?

    python benchmarks/rmm_calls.py [FILE] [--runs 5]

Makes exactly the RMI, RSI and access calls of a recorded vector file (default: the public one in
tests/data/vectors), with their parameter pages prepared beforehand, and prints the median rate.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "src"))
sys.path.insert(0, str(Path(__file__).parent.parent / "tools"))

from replay_rmm import Replay, number, read_lines
from topbit.arch.rmi import Rmi
from topbit.arch.rsi import Rsi
from topbit.memory import PhysicalMemory
from topbit.rmm import Rmm

DEFAULT = Path(__file__).parent.parent / "tests/data/vectors/rmm10-public.jsonl.xz"


class Calls:
    """Which calls, in order, does a vector file make, and what must be written before each?"""

    def __init__(self, path: Path) -> None:
        lines = read_lines(path)
        header = json.loads(next(lines))
        self.size = header["granules"]["tracked_count"] << 12
        self.sequences: list[list[tuple[Any, ...]]] = []
        self.count = 0
        for line in lines:
            self.add(json.loads(line))

    def add(self, record: dict[str, Any]) -> None:
        if "begin" in record:
            self.sequences.append([])
        elif "p" in record:
            self.put("rmi", Rmi.RTT_READ_ENTRY, tuple(number(v) for v in record["p"]))
        elif "o" in record:
            self.call(record)

    def put(self, *step: Any) -> None:
        self.sequences[-1].append(step)
        self.count += 1

    def call(self, record: dict[str, Any]) -> None:
        name = record["o"]
        pages = Pages(self.size)
        args = pages.arguments(record)
        steps = [number(d) for d in record.get("d", [0] * len(args))]
        if pages.written:
            self.sequences[-1].append(("write", *pages.written[0]))
        if name == "REC_ENTER":
            flags = number(record.get("f", 0)).to_bytes(8, "little")
            self.sequences[-1].append(("write", args[1], flags))
        for turn in range(record.get("n", 1)):
            turned = tuple(a + turn * d for a, d in zip(args, steps, strict=True))
            self.put("rmi", Rmi[name], turned)
        if name != "REC_ENTER" or record["s"] != "SUCCESS":
            return
        act = record.get("act")
        if act and act[0] == "ACCESS":
            self.put("access", args[0], number(act[1]), act[2], act[3])
        elif act:
            fid = Rsi[act[0].removeprefix("RSI_")]
            self.put("rsi", args[0], (int(fid), *(number(a) for a in act[1:])))
        if record["out"][0] != "EXIT":
            self.put("interrupt", args[0])

    def run(self) -> float:
        """How many seconds do all calls take? (memory and RMM are made outside the clock)"""
        total = 0.0
        for sequence in self.sequences:
            memory = PhysicalMemory(0, self.size)
            rmm = Rmm(memory)
            doors: dict[str, Callable[..., Any]] = {
                "rmi": rmm.rmi,
                "rsi": rmm.rsi,
                "access": rmm.access,
                "interrupt": rmm.interrupt,
                "write": memory.write,
            }
            steps = [(doors[door], args) for door, *args in sequence]
            start = time.perf_counter()
            for door, args in steps:
                door(*args)
            total += time.perf_counter() - start
        return total


class Pages(Replay):
    """What would the replay write into parameter pages?"""

    def __init__(self, size: int) -> None:
        self.written: list[tuple[int, bytes]] = []

    def store(self, pa: int, data: bytes | bytearray) -> None:
        self.written.append((pa, bytes(data)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="?", type=Path, default=DEFAULT)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    calls = Calls(options.file)
    seconds = [calls.run() for _ in range(options.runs)]
    median = statistics.median(seconds)
    rate = calls.count / median
    best = calls.count / min(seconds)
    print(f"{calls.count} calls: {rate:,.0f} calls/s (median of {options.runs}, best {best:,.0f})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
