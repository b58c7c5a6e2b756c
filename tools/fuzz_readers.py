"""Can any bytes make `topbit check` fail in a way that it should not?

    python tools/fuzz_readers.py --inputs 100000 --seed 1

Every input is a mutated copy of a file that the readers know: logs in many wrappings, traces in
many dialects, messages of kernels, VMMs and firmware, trace.dat, event queues, recordings,
compressed files of these. Each is checked as by `topbit check FILE --format json`, and must end
with an exit status of 0 to 4, one JSON document or none on stdout, no traceback, within 5 s of CPU
time and 1 GiB. What fails is kept in --keep, under its number: `--first NUMBER --inputs 1` with the
same seed makes it again.

The inputs are shared out among --jobs processes, which check one after the other. One that dies, or
that nothing is heard of for a minute, fails with the input that it was at, and another goes on.
"""

from __future__ import annotations

import argparse
import bz2
import contextlib
import gzip
import io
import json
import lzma
import os
import queue
import random
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

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
SILENCE = 60.0
"""Seconds after which a process is given up that nothing was heard of."""
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
        seed: of the random numbers; each input has its own, from the seed and its number.
        keep: folder for the inputs that failed.
    """

    def __init__(self, seed: int, keep: Path) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.seeds = seeds()
        self.keep = keep
        self.statuses: Counter[int] = Counter()
        self.failures: list[str] = []
        self.slowest = 0.0

    def mutated(self, number: int) -> bytes:
        """A file that nobody would write."""
        rng = self.rng = random.Random(f"{self.seed}/{number}")
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

    def run(self, numbers: range, progress: Callable[[int], None] = lambda number: None) -> None:
        """Check the inputs of these numbers; `progress` is told each that is done."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "input"
            for number in numbers:
                data = self.mutated(number)
                path.write_bytes(data)
                wrong = self._check(path)
                if wrong:
                    self.failures.append(f"{self.kept(number, data)}: {wrong}")
                progress(number)

    def kept(self, number: int, data: bytes) -> Path:
        """Where is an input kept that failed?"""
        self.keep.mkdir(parents=True, exist_ok=True)
        path = self.keep / f"input-{self.seed}-{number}"
        path.write_bytes(data)
        return path

    def _check(self, path: Path) -> str:
        """What is wrong with how this file was checked? Empty: nothing."""
        # A machine form is written as bytes.
        out, err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), io.StringIO()
        forget_peak()
        before, begun = memory("VmRSS"), time.process_time()
        signal.signal(signal.SIGPROF, _too_slow)
        signal.setitimer(signal.ITIMER_PROF, 2 * SECONDS)
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                status = topbit(["check", str(path), "--format", "json"])
        except BaseException:
            return traceback.format_exc()
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        seconds = time.process_time() - begun
        self.slowest = max(self.slowest, seconds)
        self.statuses[status] += 1
        if status not in STATUSES:
            return f"exit status {status}: {err.getvalue()}"
        if seconds > SECONDS:
            return f"{seconds:.1f} s"
        if memory("VmHWM") - before > BYTES:
            return f"{(memory('VmHWM') - before) >> 20} MiB"
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


class TooSlowError(BaseException):
    """Which input took so long that it was ended?"""


def _too_slow(number: int, frame: FrameType | None) -> None:
    raise TooSlowError(f"more than {2 * SECONDS:.0f} s")


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def forget_peak() -> None:
    """The most memory that this process had is the memory that it has now."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def memory(what: str) -> int:
    """How many bytes has this process (VmRSS), or had it at most (VmHWM)?"""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) << 10
    return 0


def work(seed: int, keep: Path, numbers: range) -> int:
    """Check these inputs, and tell of each on stdout what came of it: a line of JSON."""
    fuzz = Fuzz(seed, keep)

    def progress(number: int) -> None:
        words = {"failures": fuzz.failures, "statuses": dict(fuzz.statuses)}
        print(json.dumps(words | {"slowest": fuzz.slowest}), flush=True)
        fuzz.failures, fuzz.statuses = [], Counter()

    fuzz.run(numbers, progress)
    return 0


class Pool:
    """Several processes that check one share of the inputs each.

    Args:
        seed, keep: as for `Fuzz`.
        numbers: of the inputs.
        jobs: how many processes.
    """

    def __init__(self, seed: int, keep: Path, numbers: range, jobs: int) -> None:
        self.fuzz = Fuzz(seed, keep)
        self.done = 0
        share = -(-len(numbers) // jobs)
        self._shares = [numbers[start : start + share] for start in range(0, len(numbers), share)]
        self._told: queue.Queue[tuple[int, dict[str, Any] | None]] = queue.Queue()

    def run(self) -> Iterator[int]:
        """Check all of them; yields how many are done after each."""
        running = {index: self._start(index) for index in range(len(self._shares))}
        heard = dict.fromkeys(running, time.monotonic())
        try:
            while running:
                with contextlib.suppress(queue.Empty):
                    index, words = self._told.get(timeout=1.0)
                    heard[index] = time.monotonic()
                    if words is not None:
                        self._take(index, words)
                        yield self.done
                    elif self._ended(index, running.pop(index)):
                        running[index] = self._start(index)
                for index, process in running.items():
                    if time.monotonic() - heard[index] > SILENCE:
                        process.kill()
        finally:
            for process in running.values():
                process.kill()

    def _start(self, index: int) -> subprocess.Popen[str]:
        numbers, fuzz = self._shares[index], self.fuzz
        command = [sys.executable, __file__, "--work", "--seed", str(fuzz.seed)]
        command += ["--keep", str(fuzz.keep), "--first", str(numbers[0])]
        process = subprocess.Popen(
            [*command, "--inputs", str(len(numbers))],
            stdout=subprocess.PIPE,
            text=True,
            # Each job is one process: threads of its libraries would only wait for each other.
            env={**os.environ, "POLARS_MAX_THREADS": "1"},
        )

        def listen() -> None:
            assert process.stdout is not None
            with process.stdout as lines:
                for line in lines:
                    self._told.put((index, json.loads(line)))
            self._told.put((index, None))

        threading.Thread(target=listen, daemon=True).start()
        return process

    def _take(self, index: int, words: dict[str, Any]) -> None:
        fuzz, numbers = self.fuzz, self._shares[index]
        fuzz.failures += words["failures"]
        fuzz.slowest = max(fuzz.slowest, words["slowest"])
        fuzz.statuses.update({int(status): n for status, n in words["statuses"].items()})
        self.done += 1
        self._shares[index] = numbers[1:]

    def _ended(self, index: int, process: subprocess.Popen[str]) -> bool:
        """Is anything left of a share whose process has ended? The input that ended it fails."""
        status = process.wait()
        numbers, fuzz = self._shares[index], self.fuzz
        if not len(numbers):
            return False
        kept = fuzz.kept(numbers[0], fuzz.mutated(numbers[0]))
        fuzz.failures.append(f"{kept}: the process ended with {status}, or was silent and ended")
        self.done += 1
        self._shares[index] = numbers[1:]
        return bool(len(self._shares[index]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-failures"))
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    numbers = range(args.first, args.first + args.inputs)
    if args.work:
        return work(args.seed, args.keep, numbers)
    pool = Pool(args.seed, args.keep, numbers, max(args.jobs, 1))
    fuzz, begun, shown = pool.fuzz, time.monotonic(), 0
    for done in pool.run():
        if done // 1000 > shown or done == args.inputs:
            shown = done // 1000
            rate = done / (time.monotonic() - begun)
            print(f"{done} inputs, {rate:.0f}/s, {len(fuzz.failures)} failures", file=sys.stderr)
    statuses = ", ".join(f"{status}: {count}" for status, count in sorted(fuzz.statuses.items()))
    print(f"{pool.done} inputs; exit status {statuses}; slowest {fuzz.slowest:.2f} s")
    print("\n".join(fuzz.failures) or "no failure")
    return bool(fuzz.failures)


if __name__ == "__main__":
    sys.exit(main())
