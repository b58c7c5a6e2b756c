"""Can any bytes make `topbit check` fail in a way that it should not?

    python tools/fuzz_readers.py --inputs 100000 --seed 1

Every input is a mutated copy of a file that the readers know: logs in many wrappings, traces in
many dialects, trace.dat, event queues, recordings, compressed files of these. Each is checked as
by `topbit check FILE --format json`, and must end with an exit status of 0 to 4, one JSON document
or none on stdout, no traceback, within 5 s of CPU time and 1 GiB. What fails is kept in --keep.
"""

from __future__ import annotations

import argparse
import bz2
import contextlib
import gzip
import io
import json
import lzma
import random
import resource
import sys
import tarfile
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests" / "support")]

import zstandard  # noqa: E402

from log_wrappings import GUEST, HOST, WRAPPINGS  # noqa: E402
from mixed_traces import Guest as Traced  # noqa: E402
from topbit.cli import main as topbit  # noqa: E402
from trace_wrappings import DIALECTS, ENTRIES, PERF_TRACE  # noqa: E402

DATA = ROOT / "tests" / "data"
SECONDS, BYTES = 5.0, 1 << 30
STATUSES = range(5)
LARGEST = 60_000
"""Bytes of a seed that are kept: what is wrong with a long log is wrong with its beginning."""
TOKENS = [
    b"\0", b"\xff", b"\xff\xfe", b"\n", b"\r\n", b"\x1b[31m", b"\x1b]0;x\x07", b"{", b"}", b'"',
    b"<", b"&#x0;", b"&gt;", b"[", b"]", b"0x", b"0xffffffffffffffff", b"0x1ffffffffffffffff",
    b"18446744073709551615", b"-1", b"9" * 400, b"f" * 400, b" " * 400, b"[" * 400, b"> " * 40,
    b"nan", b"1e999", b"dma_addr=", b"attrs=", b": dma_map_phys: ", b"IOMMU: iova=",
    b" callbacks suppressed", b"DMA-API: ", b"AMD-Vi: Event logged [", b"swiotlb buffer is full (",
    b"event 0x10 received:", b"Linux version 7.3.4 (", b"Using RSI version", b"MESSAGE=",
    "é\u202e\ud7ff".encode(), b"CPU:1 [LOST 99 EVENTS]", b"PAR1", b"\x28\xb5\x2f\xfd",
]  # fmt: skip
PACKERS: tuple[Callable[[bytes], bytes], ...] = (
    gzip.compress,
    lzma.compress,
    bz2.compress,
    zstandard.ZstdCompressor().compress,
)


def seeds() -> list[bytes]:
    """Which files do the readers know?"""
    found = [w(lines).encode() for w in WRAPPINGS.values() for lines in (GUEST, HOST)]
    found += [dialect(ENTRIES).encode() for dialect in (*DIALECTS.values(), PERF_TRACE)]
    for path in sorted(DATA.rglob("*")):
        if path.suffix in (".dat", ".bin", ".parquet"):
            found.append(path.read_bytes())
        elif path.name.endswith((".log.xz", ".txt.xz", ".dat.xz")):
            found.append(lzma.decompress(path.read_bytes()))
    with tarfile.open(DATA / "hostile" / "parquet.tar.xz") as tar:
        found += [file.read() for name in tar.getnames() if (file := tar.extractfile(name))]
    found.append("\n".join(Traced().lines(400, faults=1)).encode())
    messages = (DATA / "logs" / "messages.txt").read_bytes()
    return [data[:LARGEST] for data in [*found, messages]]


class Fuzz:
    """One generator of hostile files, and what came of them.

    Args:
        seed: of the random numbers.
        keep: folder for the inputs that failed.
    """

    def __init__(self, seed: int, keep: Path) -> None:
        self.rng = random.Random(seed)
        self.seeds = seeds()
        self.keep = keep
        self.statuses: Counter[int] = Counter()
        self.failures: list[str] = []
        self.slowest = 0.0

    def mutated(self) -> bytes:
        """A file that nobody would write."""
        rng = self.rng
        data = bytearray(rng.choice(self.seeds))
        if rng.random() < 0.3 and len(data) > 4000:
            start = rng.randrange(len(data) - 2000)
            del data[: start if rng.random() < 0.5 else 0]
            del data[rng.randrange(1, 20_000) :]
        for _ in range(rng.choice((1, 1, 2, 4, 16, 64))):
            self._mutate(data)
        if rng.random() < 0.15:
            packed = rng.choice(PACKERS)(bytes(data))
            data = bytearray(packed + rng.choice((b"", packed, b"x")))
            if rng.random() < 0.7:
                self._mutate(data)
        return bytes(data)

    def _mutate(self, data: bytearray) -> None:
        rng = self.rng
        at = rng.randrange(len(data) + 1)
        how = rng.random()
        if how < 0.3:
            data[at : at + rng.choice((0, 0, 1, 8))] = rng.choice(TOKENS)
        elif how < 0.5 and data:
            data[at % len(data)] = rng.randrange(256)
        elif how < 0.6 and data:
            data[at % len(data)] ^= 1 << rng.randrange(8)
        elif how < 0.75:
            del data[at : at + rng.choice((1, 1, 2, 10, 100))]
        elif how < 0.8:
            del data[at:]
        elif how < 0.9:
            other = rng.choice(self.seeds)
            start = rng.randrange(max(len(other), 1))
            data[at:at] = other[start : start + rng.choice((10, 100, 1000))]
        else:
            piece = bytes(data[at : at + rng.choice((1, 10, 100))])
            data[at:at] = piece * rng.choice((2, 10, 100, 1000))

    def run(self, inputs: int, progress: Callable[[int], None] = lambda done: None) -> None:
        """Check so many inputs."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "input"
            for number in range(inputs):
                data = self.mutated()
                path.write_bytes(data)
                wrong = self._check(path)
                if wrong:
                    self.keep.mkdir(parents=True, exist_ok=True)
                    kept = self.keep / f"input-{number}"
                    kept.write_bytes(data)
                    self.failures.append(f"{kept}: {wrong}")
                progress(number + 1)

    def _check(self, path: Path) -> str:
        """What is wrong with how this file was checked? Empty: nothing."""
        # A machine form is written as bytes.
        out, err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), io.StringIO()
        begun, before = time.process_time(), _memory()
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                status = topbit(["check", str(path), "--format", "json"])
        except BaseException:
            return traceback.format_exc()
        seconds = time.process_time() - begun
        self.slowest = max(self.slowest, seconds)
        self.statuses[status] += 1
        if status not in STATUSES:
            return f"exit status {status}"
        if seconds > SECONDS:
            return f"{seconds:.1f} s"
        if _memory() - before > BYTES:
            return f"{(_memory() - before) >> 20} MiB"
        out.flush()
        out.seek(0)
        text = out.read()
        if text or status in (0, 1, 4):
            try:
                json.loads(text, parse_constant=_no_number)
            except ValueError as error:
                return f"no JSON document: {error}"
        shown = err.getvalue().rstrip("\n")
        return "" if shown == "" or shown.isprintable() else f"not printable: {shown!r}"


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _memory() -> int:
    """The most bytes that this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-failures"))
    args = parser.parse_args()
    fuzz = Fuzz(args.seed, args.keep)
    begun = time.monotonic()

    def progress(done: int) -> None:
        if done % 1000 == 0 or done == args.inputs:
            rate = done / (time.monotonic() - begun)
            print(f"{done} inputs, {rate:.0f}/s, {len(fuzz.failures)} failures", file=sys.stderr)

    fuzz.run(args.inputs, progress)
    statuses = ", ".join(f"{status}: {count}" for status, count in sorted(fuzz.statuses.items()))
    print(f"{args.inputs} inputs; exit status {statuses}; slowest {fuzz.slowest:.2f} s")
    print("\n".join(fuzz.failures) or "no failure")
    return bool(fuzz.failures)


if __name__ == "__main__":
    sys.exit(main())
