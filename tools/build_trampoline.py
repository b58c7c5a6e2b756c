"""Rebuild the programs that topbit ships as machine code, and their hashes.

    python tools/build_trampoline.py           rebuild next to each source
    python tools/build_trampoline.py --check   say whether the shipped code is what the source gives

Needs GNU binutils for aarch64 (Debian: binutils-aarch64-linux-gnu), or another set named by
CROSS_COMPILE (a prefix such as "aarch64-linux-gnu-").
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = (
    ROOT / "src/topbit/machine/qemu/el2/trampoline.S",
    ROOT / "src/topbit/machine/qemu/guest/dma_ask.S",
    ROOT / "src/topbit/machine/qemu/guest/outbox.S",
    ROOT / "tests/support/payload.S",
)


def build(source: Path) -> bytes:
    """Which machine code does an assembly `source` give, linked at address 0?"""
    prefix = os.environ.get("CROSS_COMPILE", "aarch64-linux-gnu-")
    with tempfile.TemporaryDirectory() as folder:
        made, flat = Path(folder, "made.o"), Path(folder, "made.bin")
        linked = Path(folder, "made.elf")
        subprocess.run([f"{prefix}as", "-o", made, source], check=True)
        subprocess.run([f"{prefix}ld", "-Ttext=0", "-o", linked, made], check=True)
        subprocess.run(
            [f"{prefix}objcopy", "-O", "binary", "-j", ".text", linked, flat], check=True
        )
        return flat.read_bytes()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="compare only, write nothing")
    args = parser.parse_args()
    status = 0
    for source in SOURCES:
        code = build(source)
        digest = hashlib.sha256(code).hexdigest()
        binary = source.with_suffix(".bin")
        if args.check:
            same = binary.read_bytes() == code
            print(f"{binary.name}: {'as its source' if same else 'DIFFERS from its source'}")
            status |= not same
            continue
        binary.write_bytes(code)
        source.with_suffix(".sha256").write_text(f"{digest}  {binary.name}\n")
        print(f"{binary.name}: {len(code)} bytes, sha256 {digest}")
    return status


if __name__ == "__main__":
    sys.exit(main())
