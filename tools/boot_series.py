"""Does every kernel boot as a Realm and pass the scenario every time?

    python tools/boot_series.py [--kernels 6.16 6.18 7.2 7.3] [--cpus 1 4] [--boots 20]
        [--scenario seed] [OPTION ...]

Each boot is a process of its own: ``topbit run seed --machine qemu OPTION ...``, which exits 0 only
when the workload's hashes hold outside of the guest and no rule is violated. The output of a boot
that fails is kept in the folder ``--keep``. Exit status 0: no boot failed; 1: at least one did.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path


def boot(scenario: str, kernel: str, cpus: int, rest: list[str]) -> tuple[int, float, str]:
    """Exit status, wall seconds and output of one run of the scenario."""
    command = [sys.executable, "-m", "topbit", "run", scenario, "--machine", "qemu"]
    command += ["--kernel", kernel, "--cpus", str(cpus), *rest]
    start = time.monotonic()
    ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return ran.returncode, time.monotonic() - start, ran.stdout


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kernels", nargs="+", default=["6.16", "6.18", "7.2", "7.3"])
    parser.add_argument("--cpus", nargs="+", type=int, default=[1, 4])
    parser.add_argument("--boots", type=int, default=20)
    parser.add_argument("--scenario", default="seed")
    parser.add_argument("--keep", type=Path, default=Path("boot-series"), metavar="FOLDER")
    options, rest = parser.parse_known_args()
    failed = 0
    for kernel in options.kernels:
        for cpus in options.cpus:
            passed, seconds = 0, []
            for number in range(1, options.boots + 1):
                status, wall, output = boot(options.scenario, kernel, cpus, rest)
                seconds.append(wall)
                if status == 0:
                    passed += 1
                    continue
                options.keep.mkdir(parents=True, exist_ok=True)
                kept = options.keep / f"{kernel}-{cpus}-{number}.txt"
                kept.write_text(output)
                print(f"  {kernel}, {cpus} vCPUs, boot {number}: exit status {status}, see {kept}")
            failed += options.boots - passed
            middle = sorted(seconds)[len(seconds) // 2]
            print(
                f"{kernel}, {cpus} vCPUs: {passed} of {options.boots} boots passed, "
                f"{middle:.0f} s each (median)",
                flush=True,
            )
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
