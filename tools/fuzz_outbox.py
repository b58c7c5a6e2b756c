"""Can a hostile guest, by what it hands out, bring topbit down or write where it should not?

    python tools/fuzz_outbox.py --rounds 100000 --seed 1

Each round is a guest's outbox, its counters included: the report, the trace and the files of
``--get``, valid ones with some bytes, fields and pieces changed. They are taken out and read as at
the end of a run. Nothing but files below the wanted folder may be written, nothing may be raised
but an InputError (a name that the file system does not take), and each round has 5 s.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import shutil
import struct
import sys
import tarfile
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests" / "support")]

from guest_trace import FORMATS, RECORD  # noqa: E402
from topbit.arch.ipa import Pa  # noqa: E402
from topbit.errors import InputError  # noqa: E402
from topbit.machine.qemu.guest.evidence import read_evidence  # noqa: E402
from topbit.machine.qemu.guest.ktap import read_ktap  # noqa: E402
from topbit.machine.qemu.guest.report import read_report, step_events, troubles  # noqa: E402
from topbit.machine.qemu.guest.transfer import Wanted, unpack  # noqa: E402
from topbit.machine.qemu.host.outbox import (  # noqa: E402
    BYTES,
    RING_BYTES,
    RING_OFFSET,
    STREAM_BYTES,
    Outbox,
    Stream,
)
from topbit.memory import PhysicalMemory  # noqa: E402

SECONDS = 5.0
BASE = Pa(0x4000_0000)
NAMES = (
    *("got/a", "got/b/c", "got", "./got/d", "got/" + "x" * 180, "got/" + "y" * 300, "got/\udcff"),
    *("other", "/etc/topbit", "../got/e", "got/../../f", "got/..", "", ".", "got//g", "got/a/b"),
)
REPORTED = (
    *("run.status", "run.log", "a.status", "dmesg.txt", "formats", "cpu0.raw", "cpu0.stats"),
    *("cpu1.raw", "attest.token", "cpu" + "9" * 90 + ".raw", "\udcff.status"),
)
TYPES = [b"0"] * 8 + [b"\0", b"1", b"2", b"3", b"5", b"L", b"K", b"S", b"x", b"g", b"\xff"]
FIELDS = ((0, 100), (100, 108), (124, 136), (148, 156), (156, 157), (257, 265), (345, 500))
LOG = (
    b"[    0.000000] Linux version 6.18.15 (x) #1\n[    0.1] RME: Using RSI version 1.0\n"
    b"[    0.2] software IO TLB: mapped [mem 0x0000000076c00000-0x000000007ac00000] (64MB)\n"
)
KTAP = b"KTAP version 1\n1..2\nok 1 one\nnot ok 2 two # SKIP\n"
CONSOLE = b"\n@@ 1.0 boot 6.18.15 cpus 1\n@@ 2.0 step run start\n@@ 3.0 step run exit 0\n@@ done\n"


class Fuzz:
    """One machine's memory, and guests that hand out what should not be.

    - `run` lets so many guests do so; `failures` are what came of it, with each one's number.

    Args:
        seed: chooses.
        folder: where files may be written, below ``got``; it is emptied.
    """

    def __init__(self, seed: int, folder: Path) -> None:
        self.seed = seed
        self.folder = folder
        self.failures: list[str] = []
        self.seen: Counter[str] = Counter()
        self._memory = PhysicalMemory(BASE, BYTES)
        (folder / "sentinel").write_bytes(b"as it was")

    def run(self, rounds: int, first: int = 0) -> None:
        for number in range(first, first + rounds):
            self.random = random.Random(f"{self.seed}/{number}")
            begun = time.process_time()
            try:
                self._round()
            except Exception:
                self.failures.append(f"round {number}: {traceback.format_exc()}")
            if (took := time.process_time() - begun) > SECONDS:
                self.failures.append(f"round {number}: {took:.1f} s")
            if wrong := self._written_elsewhere():
                self.failures.append(f"round {number}: {wrong}")

    def _round(self) -> None:
        for stream in Stream:  # both counters
            self._memory.write(BASE + stream * STREAM_BYTES, bytes(16))
        outbox = Outbox(self._memory, BASE)
        streams = {
            Stream.REPORT: self._tape(REPORTED),
            Stream.FILES: self._tape(NAMES),
            Stream.TRACE: self._trace(),
            Stream.OUTPUT: self._changed(KTAP),
        }
        for stream, data in streams.items():
            self._hand_out(outbox, stream, data)
        outbox.collect()
        taken = {stream: outbox.taken(stream) for stream in Stream}
        self.seen["streams that came whole"] += sum(taken[s] == d for s, d in streams.items())
        report = read_report(self._changed(CONSOLE), taken)
        evidence = read_evidence(report, CONSOLE)
        step_events(report, {})
        troubles("done", report)
        read_ktap(taken[Stream.OUTPUT].decode("utf-8", "replace"))
        self.seen["files of reports"] += len(report.files)
        self.seen["trace events"] += len(evidence.events)
        try:
            written = unpack(taken[Stream.FILES], [Wanted("/got", self.folder / "got")])
            self.seen["files written"] += len(written)
        except InputError:
            self.seen["names that cannot be"] += 1

    def _hand_out(self, outbox: Outbox, stream: Stream, data: bytes) -> None:
        """As the guest's program does; now and then with a count that cannot be."""
        start = BASE + stream * STREAM_BYTES
        for at in range(0, len(data), RING_BYTES):
            piece = data[at : at + RING_BYTES]
            self._memory.write(start + RING_OFFSET, piece)
            count = at + len(piece)
            if self.random.random() < 0.01:
                count = self.random.choice([0, count + RING_BYTES + 1, 1 << 63, (1 << 64) - 1])
            self._memory.write_u64(start, count)
            outbox.collect()

    def _tape(self, names: tuple[str, ...]) -> bytes:
        made = io.BytesIO()
        form = self.random.choice([tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT])
        with tarfile.open(fileobj=made, mode="w", format=form, errors="surrogateescape") as tar:
            chosen = [self.random.choice(names) for _ in range(self.random.randrange(1, 5))]
            if names is REPORTED and self.random.random() < 0.7:
                chosen += ["formats"]
            for name in chosen:
                entry = tarfile.TarInfo(name)
                data = self._content(name)
                entry.size = len(data)
                if self.random.random() < 0.1 and form == tarfile.PAX_FORMAT:
                    entry.pax_headers = {"size": "-2048", "path": "got/../z\0"}
                try:
                    tar.addfile(entry, io.BytesIO(data))
                except ValueError:  # the form has no room for such a name
                    continue
        tape = bytearray(made.getvalue())
        while self.random.random() < 0.5:
            self._change_header(tape)
        return self._changed(bytes(tape)) if self.random.random() < 0.3 else bytes(tape)

    def _change_header(self, tape: bytearray) -> None:
        """Another field in one of the headers, mostly with the sum that fits."""
        at = 512 * self.random.randrange(max(1, len(tape) // 512))
        if self.random.random() < 0.5:
            tape[at + 156 : at + 157] = self.random.choice(TYPES)
        else:
            start, end = self.random.choice(FIELDS)
            fields = (b"\xff" * 12, b"\x80" + bytes(11), b"77777777777", b"-1", b"\0", b"/", b"..")
            field = self.random.choice([*fields, self.random.randbytes(end - start)])[: end - start]
            tape[at + start : at + start + len(field)] = field
        if self.random.random() < 0.8 and len(tape) >= at + 512:
            tape[at + 148 : at + 156] = b" " * 8
            tape[at + 148 : at + 156] = b"%06o\0 " % sum(tape[at : at + 512])

    def _content(self, name: str) -> bytes:
        if name.endswith(".raw"):
            return self._page()
        if name.endswith(".status"):
            return self._changed(b"0 1.00 2.00\n")
        if name.endswith(".stats"):
            return self._changed(b"entries: 0\noverrun: 0\ndropped events: 0\nread events: 1\n")
        known = {"formats": FORMATS, "dmesg.txt": LOG, "run.log": b"took read 1.000000 2.000000\n"}
        if name in known:
            return self._changed(known[name]) if self.random.random() < 0.5 else known[name]
        return self.random.randbytes(self.random.choice([0, 1, 511, 512, 513, 3000]))

    def _page(self) -> bytes:
        data = b""
        for _ in range(self.random.randrange(1, 4)):
            data += struct.pack("<II", 0, len(RECORD) + 4) + RECORD + bytes(-len(RECORD) % 4)
        page = struct.pack("<QQ", self.random.randrange(1 << 34), len(data)) + data
        whole = page.ljust(4096, b"\0")
        return self._changed(whole) if self.random.random() < 0.5 else whole

    def _trace(self) -> bytes:
        pieces = b""
        for _ in range(self.random.randrange(1, 4)):
            page = self._page()
            size = self.random.choice([len(page)] * 9 + [0xFFFF_FFFF])
            pieces += struct.pack("<II", self.random.choice([0, 1, 1 << 31]), size) + page
        return pieces

    def _changed(self, data: bytes) -> bytes:
        made = bytearray(data)
        for _ in range(self.random.randrange(4)):
            at = self.random.randrange(len(made) + 1)
            cut = self.random.choice([0, 1, 1, 1, 8, 512])
            made[at : at + cut] = self.random.randbytes(self.random.choice([0, 1, 1, 1, 8]))
        return bytes(made)

    def _written_elsewhere(self) -> str:
        got = self.folder / "got"
        if got.is_dir() and not got.is_symlink():
            for path in got.rglob("*"):
                if path.is_symlink() or not (path.is_file() or path.is_dir()):
                    return f"{path} is no plain file"
            shutil.rmtree(got)
        else:
            got.unlink(missing_ok=True)
        names = os.listdir(self.folder)
        if names != ["sentinel"] or (self.folder / "sentinel").read_bytes() != b"as it was":
            return f"in the folder above: {names}"
        return ""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first round")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        fuzz = Fuzz(options.seed, Path(folder))
        fuzz.run(options.rounds, options.first)
    for failure in fuzz.failures[:10]:
        print(failure)
    counts = ", ".join(f"{count} {what}" for what, count in sorted(fuzz.seen.items()))
    print(f"{options.rounds} rounds, {len(fuzz.failures)} failures; {counts}")
    return 1 if fuzz.failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
