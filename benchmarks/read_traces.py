#!/usr/bin/env python3
"""How fast is a long trace read, to the verdict, and in how much memory?

    python benchmarks/read_traces.py [--lines 5000000] [--runs 3] [--faults 1] [--src OTHER/src]
    python benchmarks/read_traces.py --parquet       # the recording of it is checked again
    python benchmarks/read_traces.py --trace-dat     # a trace.dat of as many events

Writes a file of `tests/support/mixed_traces.py`, and runs in turns: `topbit check` on it, as a
process of its own, and without numba if it is installed; a C parser of the same fields on one
thread (`trace_fields.c`, compiled here); and what only looks for the lines: ripgrep, mawk, and
Python's `re`. Prints the median of each, of the time on all cores together too, and the most
memory. `--src` measures another checkout as well.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from random import Random

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests" / "support")]

from mixed_traces import PAGE, PAGES, POOL, RAM, SHARED, SLOT, SLOTS, Guest  # noqa: E402
from trace_dat_files import Buffer, TraceDat, a_map, as_the_kernel, event, page  # noqa: E402

CHECK = "import sys; sys.path.insert(0, sys.argv.pop(1)); from topbit.cli import command; command()"
"""What the command `topbit` does, from a checkout."""
WITHOUT_NUMBA = "import sys; sys.modules['numba'] = None; " + CHECK
USING_RE = """\
import re, sys
found = re.compile(rb": (dma_\\w+|swiotlb_bounced): ")
print(sum(1 for line in open(sys.argv[1], "rb") if found.search(line)))
"""
PATTERN = ": (dma_|swiotlb_bounced)"
BLOCK = 100_000
"""Lines that are written at a time."""
DIFFERENT_PAGES = 400
"""Pages of a trace.dat that hold other events than each other; from there on they repeat."""

# As an installed topbit: Python keeps what it compiled.
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}

Command = list[str | Path]


def write_trace(path: Path, lines: int, faults: int) -> int:
    """Write the file; how many lines has it?"""
    count = 0
    with path.open("w", encoding="ascii") as file:
        block: list[str] = []
        for line in Guest(seed=1).lines(lines, faults):
            block.append(line)
            if len(block) == BLOCK:
                file.write("\n".join(block) + "\n")
                count += len(block)
                block = []
        file.write("".join(line + "\n" for line in block))
    return count + len(block)


def write_trace_dat(path: Path, events: int) -> int:
    """Write a trace.dat of two CPUs; how many events has it?"""
    random = Random(1)
    device, size, way = "0000:00:01.0", 512, 1
    bodies: list[list[bytes]] = []
    for _ in range(DIFFERENT_PAGES):
        body: list[bytes] = []
        while sum(map(len, body)) < 3800:
            given = SHARED | POOL + random.randrange(SLOTS) * SLOT
            phys = RAM + random.randrange(PAGES) * PAGE
            told = (
                event("swiotlb_bounced", device, (1 << 64) - 1, phys, size, 1),
                a_map(given, phys),
                event("dma_sync_single_for_cpu", device, given, size, way),
                event("dma_unmap_phys", device, given, size, way, 0),
            )
            body += map(as_the_kernel, told)
        bodies.append(body)
    pages = events // len(bodies[0]) // 2
    cpus = {
        cpu: b"".join(
            page(*bodies[number % DIFFERENT_PAGES], time=number * 1_000_000 + cpu * 500_000)
            for number in range(pages)
        )
        for cpu in range(2)
    }
    path.write_bytes(TraceDat([Buffer(cpus)]).version_6())
    return pages * len(bodies[0]) * 2


def run(command: Command) -> tuple[float, float, int]:
    """How long did it take (s), on all cores together, and how much memory had it at most (bytes)?

    With the processes that it started; the memory is that of the largest.
    """
    with tempfile.TemporaryFile() as out:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, env=ENVIRONMENT)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1, 4):
        raise SystemExit(f"{command[0]} ended with {process.returncode}")
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss << 10


def commands(trace: Path, folder: Path, other: Path | None) -> dict[str, Command]:
    """What is measured, by name."""
    parser = folder / "trace_fields"
    subprocess.run(
        ["gcc", "-O3", "-march=native", "-o", parser, HERE / "trace_fields.c"], check=True
    )
    found: dict[str, Command] = {
        "topbit check": [sys.executable, "-c", CHECK, ROOT / "src", "check", trace],
        "topbit check without numba": [
            *(sys.executable, "-c", WITHOUT_NUMBA, ROOT / "src", "check", trace)
        ],
        "C parser, 1 thread": [parser, trace],
        "Python re, lines": [sys.executable, "-c", USING_RE, trace],
    }
    if other is not None:
        found[f"topbit check, {other}"] = [sys.executable, "-c", CHECK, other, "check", trace]
    if rg := shutil.which("rg"):
        found["ripgrep, lines"] = [rg, "-c", PATTERN, trace]
    if mawk := shutil.which("mawk"):
        found["mawk, lines"] = [mawk, f"/{PATTERN}/{{n++}} END{{print n}}", trace]
    return found


def recorded(trace: Path, folder: Path, other: Path | None) -> dict[str, Command]:
    """The trace's recording, checked again."""
    events = in_a_process(write_recording, trace, folder / "trace.parquet")
    what = f"topbit check, {events:,} events of Parquet"
    sources = {what: ROOT / "src"} | ({} if other is None else {f"the same, {other}": other})
    return {
        name: [sys.executable, "-c", CHECK, source, "check", folder / "trace.parquet"]
        for name, source in sources.items()
    }


def write_recording(trace: Path, path: Path) -> int:
    """Write what a trace tells; how many events?"""
    from topbit import api

    recording = api.read([trace])[-1]
    recording.write(path)
    return len(recording.frame)


def in_a_process(work: Callable[..., int], *args: object) -> int:
    """What comes of this work, done in a process of its own?

    What is run later would count the memory that it took here as its own: the most memory that
    Linux tells of a process is never less than its parent had when it started it.
    """
    with ProcessPoolExecutor(1) as pool:
        return pool.submit(work, *args).result()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lines", type=int, default=5_000_000)
    parser.add_argument("--faults", type=int, default=1)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--src", type=Path)
    parser.add_argument("--parquet", action="store_true")
    parser.add_argument("--trace-dat", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trace = folder / "trace"
        if options.trace_dat:
            lines = in_a_process(write_trace_dat, trace, options.lines)
            check = [sys.executable, "-c", CHECK, ROOT / "src", "check", trace]
            todo: dict[str, Command] = {"topbit check, trace.dat": check}
            if options.src is not None:
                other = [sys.executable, "-c", CHECK, options.src, "check", trace]
                todo[f"the same, {options.src}"] = other
        else:
            lines = in_a_process(write_trace, trace, options.lines, options.faults)
            todo = commands(trace, folder, options.src)
        print(f"{lines:,} lines or events, {trace.stat().st_size >> 20} MiB", flush=True)
        if options.parquet:
            todo = recorded(trace, folder, options.src)
        seconds: dict[str, list[float]] = {what: [] for what in todo}
        cpu: dict[str, list[float]] = {what: [] for what in todo}
        memory: dict[str, int] = dict.fromkeys(todo, 0)
        for _ in range(options.runs):
            for what, command in todo.items():
                took, worked, peak = run(command)
                seconds[what].append(took)
                cpu[what].append(worked)
                memory[what] = max(memory[what], peak)
        for what, times in seconds.items():
            median, worked = statistics.median(times), statistics.median(cpu[what])
            print(
                f"{what:40} {median:8.2f} s {lines / median / 1e6:8.2f} M/s "
                f"(CPU {worked:.2f} s) {memory[what] >> 20:6} MiB   "
                f"({', '.join(f'{one:.2f}' for one in times)})"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
