"""Does every kernel boot as a Realm and pass the scenario every time?

    python tools/boot_series.py [--kernels 6.16 6.18 7.2 7.3] [--cpus 1 4] [--boots 20]
        [--scenario seed] [--busy 0] [OPTION ...]

Each boot is a process of its own: ``topbit run seed --machine qemu OPTION ...``, which exits 0 only
when the workload's hashes hold outside of the guest and no rule is violated; a boot of which the
guest's trace lost events counts as failed too. What a failed boot printed is kept in the folder
``--keep``, with its recording. ``--busy 2`` lets two processes use a CPU each all the while. Exit
status 0: no boot failed; 1: at least one did.

No false verdict and no lost event, with much traffic on a loaded machine:

    python tools/boot_series.py --kernels 6.18 7.3 --cpus 1 --boots 30 --busy 2 \
        --set workload.network_mib=64 --timeout 600
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Boot:
    """What came of one boot?

    Attributes:
        failed: why it counts as failed; empty if it does not.
        wall: seconds.
        output: what it printed.
    """

    failed: str
    wall: float
    output: str


def boot(command: list[str]) -> Boot:
    """Run one; `command` prints its report as JSON."""
    start = time.monotonic()
    ran = subprocess.run(command, capture_output=True, text=True)
    wall = time.monotonic() - start
    return Boot(failure(ran.returncode, ran.stdout), wall, ran.stderr + ran.stdout)


def failure(status: int, report: str) -> str:
    """Why does a run count as failed, by its exit status and its JSON report? Empty: it passed."""
    if status:
        return f"exit status {status}"
    lost = json.loads(report)["platform"]["lost_events"]
    return f"{lost} events of the guest's trace lost" if lost else ""


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    """Let `count` processes use a CPU each."""
    loads = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for load in loads:
            load.kill()
            load.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kernels", nargs="+", default=["6.16", "6.18", "7.2", "7.3"])
    parser.add_argument("--cpus", nargs="+", type=int, default=[1, 4])
    parser.add_argument("--boots", type=int, default=20)
    parser.add_argument("--scenario", default="seed")
    parser.add_argument("--busy", type=int, default=0, metavar="N")
    parser.add_argument("--keep", type=Path, default=Path("boot-series"), metavar="FOLDER")
    options, rest = parser.parse_known_args()
    options.keep.mkdir(parents=True, exist_ok=True)
    with busy(options.busy):
        failed = sum(
            series(options, kernel, cpus, rest)
            for kernel in options.kernels
            for cpus in options.cpus
        )
    with contextlib.suppress(OSError):
        options.keep.rmdir()  # nothing was kept
    return 1 if failed else 0


def series(options: argparse.Namespace, kernel: str, cpus: int, rest: list[str]) -> int:
    """How many boots of this kernel failed? Says so, and why."""
    failed, seconds = 0, []
    for number in range(1, options.boots + 1):
        kept = options.keep / f"{kernel}-{cpus}-{number}.txt"
        recording = kept.with_suffix(".parquet")
        command = [sys.executable, "-m", "topbit", "run", options.scenario, "--machine", "qemu"]
        command += ["--kernel", kernel, "--cpus", str(cpus), *rest]
        one = boot([*command, "--format", "json", "-o", str(recording)])
        seconds.append(one.wall)
        if not one.failed:
            recording.unlink()
            continue
        failed += 1
        kept.write_text(one.output)
        print(f"  {kernel}, {cpus} vCPUs, boot {number}: {one.failed}, see {kept}", flush=True)
    middle = sorted(seconds)[len(seconds) // 2]
    print(
        f"{kernel}, {cpus} vCPUs: {options.boots - failed} of {options.boots} boots passed, "
        f"{middle:.0f} s each (median)",
        flush=True,
    )
    return failed


if __name__ == "__main__":
    raise SystemExit(main())
