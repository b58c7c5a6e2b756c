#!/usr/bin/env python3
"""Do the RMM and the SMMU answer as the recorded implementations did?

    python tools/replay_vectors.py FILE...

Replays recorded vectors (JSON Lines, plain or .xz; what a file holds is read from its header)
and ends with `N compared, M differ`. Exit status 0 only if M is 0, 2 for a file of another form.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "src"))

from replay_rmm import read_lines

REPLAYERS = {
    "rmm10": "replay_rmm",
    "rmm20": "replay_rmm20",
    "RMI/RSI call sequences that Arm's RMM ACS": "replay_acs",
    "smmu-s2": "replay_smmu",
}
SHOWN = 20


def kind_of(path: Path) -> str | None:
    """Which of the known forms does the header of the file name?"""
    try:
        header = json.loads(next(read_lines(path)))
        form = str(header["format"] if "format" in header else header["what"])
    except (OSError, ValueError, StopIteration, KeyError, TypeError, EOFError):
        return None
    return next((kind for kind in REPLAYERS if form.startswith(kind)), None)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    files = parser.parse_args(argv).files
    compared, differences = 0, 0
    for path in files:
        kind = kind_of(path)
        if kind is None:
            print(f"{path}: not a vector file (forms: {', '.join(REPLAYERS)})", file=sys.stderr)
            return 2
        count, found = importlib.import_module(REPLAYERS[kind]).replay(path)
        for difference in found[:SHOWN]:
            print(difference)
        if len(found) > SHOWN:
            print(f"... and {len(found) - SHOWN} more")
        print(f"{path.name}: {count} compared, {len(found)} differ")
        compared += count
        differences += len(found)
    print(f"{compared} compared, {differences} differ")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
