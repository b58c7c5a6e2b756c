"""Which one-line faults of a room would its own tests let pass?

    python tools/mutants.py vmm rules --count 40 --seed 1
    python tools/mutants.py vmm/convert.py --count 0      # all of one module

Works on a copy of the tree. The room's tests (`tests/ROOM/`) run once to learn which of them run
which line; then each mutant of the sample (one a line) meets the tests that run its line, quickest
first, and, before it counts as a survivor, all others of the room. Survivors that are accepted
stand in `mutants_accepted.toml` with the reason. Exit status: 0 if at least `--floor` per cent of
the rest are killed in each room, 1 if not, 2 if the room's tests fail as they are.

cosmic-ray (edits the checkout, runs all tests for each mutant) and mutmut (leaves out decorated
functions, so all rules and properties) were looked at and did not serve.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import tomllib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from queue import SimpleQueue
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from mutations import Mutation, mutations

ROOT = Path(__file__).resolve().parents[1]
ACCEPTED = Path(__file__).with_name("mutants_accepted.toml")
PACKAGE = Path("src/topbit")
NOT_COPIED = (".git", ".venv", ".*_cache", ".hypothesis", "__pycache__", "build", "dist")
MEMORY = 8 << 30  # bytes of address space that a mutant may take
WITH_MEMORY = "not qemu and not browser and not slow"
"""Tests that end in that memory, and soon."""
GUARDED = f"""
import resource, sys, pytest
resource.setrlimit(resource.RLIMIT_AS, ({MEMORY}, {MEMORY}))
sys.exit(pytest.main(sys.argv[1:]))
"""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One mutation of one file (relative to the package)."""

    file: str
    mutation: Mutation

    def __str__(self) -> str:
        change = f"{self.mutation.old}  ->  {self.mutation.new}"
        return f"{PACKAGE / self.file}:{self.mutation.lines.start}  {change}"

    @property
    def key(self) -> tuple[str, ...]:
        """What names it in the list of those accepted, whatever its line is."""
        return self.file, self.mutation.scope, self.mutation.old, self.mutation.new


@dataclass
class Tests:
    """The room's tests, and which of them run which lines (of files in the copy)."""

    seconds: dict[str, float]
    lines: dict[str, dict[str, set[int]]]
    imported: dict[str, set[int]]

    def imports(self, mutant: Mutant) -> bool:
        """Does the mutant's line run before any test does?"""
        imported = self.imported.get(mutant.file, set())
        return mutant.mutation.at_import or not imported.isdisjoint(mutant.mutation.lines)

    def of(self, mutant: Mutant) -> list[str]:
        """The tests that run the mutant's line, quickest first; of an import, those of its file."""
        wanted, imports = set(mutant.mutation.lines), self.imports(mutant)
        found = [
            test
            for test, files in self.lines.items()
            if (lines := files.get(mutant.file)) and (imports or not wanted.isdisjoint(lines))
        ]
        return sorted(found, key=self.seconds.__getitem__)

    def others(self, tests: list[str]) -> list[str]:
        """All but these."""
        return sorted(self.seconds.keys() - tests, key=self.seconds.__getitem__)


@dataclass
class Copies:
    """Copies of the tree, one for each job; none of its processes outlives it."""

    folder: Path
    grace: float = 20  # seconds that any run may take
    free: SimpleQueue[Path] = field(default_factory=SimpleQueue)
    running: set[subprocess.Popen[bytes]] = field(default_factory=set)
    stopped: threading.Event = field(default_factory=threading.Event)

    def make(self, count: int) -> None:
        """Copy the tree so often."""
        for number in range(count):
            copy = self.folder / str(number)
            shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*NOT_COPIED))
            compileall.compile_dir(copy / "src", quiet=2)
            self.free.put(copy)

    def pytest(self, copy: Path, *arguments: str, timeout: float, **more: str) -> int | None:
        """The exit status of pytest in a copy; None if it took too long."""
        environment = {
            **os.environ,
            **more,
            "PYTHONPATH": os.pathsep.join((str(copy / "src"), str(copy / "tools"))),
            "PYTHONDONTWRITEBYTECODE": "1",
            "HYPOTHESIS_STORAGE_DIRECTORY": str(copy / ".hypothesis"),
        }
        options = ("-x", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=1", "-m", WITH_MEMORY)
        running = subprocess.Popen(
            [sys.executable, "-c", GUARDED, *options, *arguments],
            cwd=copy,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.running.add(running)
        try:
            return running.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        finally:
            self._end(running)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.running.discard(process)

    def stop(self) -> None:
        """End every process, and start no more."""
        self.stopped.set()
        for process in list(self.running):
            self._end(process)

    def learn(self, target: Path, tests: Path) -> Tests:
        """Run the room's tests once, unchanged, and see what they run."""
        copy = self.free.get()
        seen, room = self.folder / "trace.json", copy / PACKAGE
        trace = {"TOPBIT_TRACE_ROOM": str(room / target), "TOPBIT_TRACE_TO": str(seen)}
        status = self.pytest(copy, "-p", "line_trace", str(tests), timeout=3600, **trace)
        self.free.put(copy)
        if status != 0:
            print(f"{tests} fails as it is (pytest: exit status {status})", file=sys.stderr)
            raise SystemExit(2)
        found: dict[str, dict[str, Any]] = json.loads(seen.read_text(encoding="utf-8"))
        lines = {
            test: {str(Path(f).relative_to(room)): set(n) for f, n in one["lines"].items()}
            for test, one in found.items()
        }
        imported = lines.pop("")
        return Tests({test: found[test]["seconds"] for test in lines}, lines, imported)

    def kills(self, mutant: Mutant, tests: Tests) -> bool:
        """Does a test of the room notice the mutant?"""
        covering = tests.of(mutant)
        if not covering and not tests.imports(mutant):
            return False
        copy = self.free.get()
        path = copy / PACKAGE / mutant.file
        source = path.read_bytes()
        try:
            path.write_bytes(mutant.mutation.apply(source))
            for stale in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
                stale.unlink()
            for chosen in (covering, tests.others(covering)):
                seconds = self.grace + 5 * sum(tests.seconds[test] for test in chosen)
                if self.stopped.is_set():
                    return False
                if chosen and self.pytest(copy, *chosen, timeout=seconds) != 0:
                    return True
            return False
        finally:
            path.write_bytes(source)
            compileall.compile_file(path, quiet=2)
            self.free.put(copy)


def rooms() -> list[str]:
    """The folders and modules of the package that have tests of their own."""
    found = [path.parent.name for path in (ROOT / PACKAGE).glob("*/__init__.py")]
    found += [path.stem for path in (ROOT / PACKAGE).glob("[a-z]*.py")]
    return sorted(room for room in found if where_tested(room).exists())


def where_tested(target: str) -> Path:
    """Where do the tests of a room, or of a file in it, stand?"""
    room = Path(target).parts[0].removesuffix(".py")
    folder = ROOT / "tests" / room
    return folder if folder.is_dir() else ROOT / "tests" / f"test_{room}.py"


def mutants_of(target: str) -> list[Mutant]:
    """Every mutant of a room or file."""
    path = ROOT / PACKAGE / target
    if not path.exists():
        path = path.with_suffix(".py")
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return [
        Mutant(str(file.relative_to(ROOT / PACKAGE)), mutation)
        for file in files
        for mutation in mutations(file.read_bytes())
    ]


def sample(mutants: list[Mutant], count: int, seed: int) -> list[Mutant]:
    """`count` of them by chance, one a line at most; all for 0."""
    if not count:
        return mutants
    chance = random.Random(seed)
    by_line: dict[tuple[str, int], list[Mutant]] = {}
    for mutant in mutants:
        by_line.setdefault((mutant.file, mutant.mutation.lines.start), []).append(mutant)
    lines = chance.sample(sorted(by_line), min(count, len(by_line)))
    return [chance.choice(by_line[line]) for line in sorted(lines)]


def accepted(path: Path = ACCEPTED) -> dict[tuple[str, ...], str]:
    """The survivors that are accepted, and why."""
    listed = tomllib.loads(path.read_text(encoding="utf-8")).get("mutant", [])
    found = {}
    for one in listed:
        parts = [one[part] for part in ("file", "scope", "old", "new")]
        for key in product(*(part if isinstance(part, list) else [part] for part in parts)):
            found[key] = one["why"]
    return found


def judge(target: str, copies: Copies, chosen: list[Mutant], jobs: int) -> Counter[str]:
    """Run a room's sample; print its survivors and its figures."""
    known = accepted()
    tried = [mutant for mutant in chosen if mutant.key not in known]
    tests = copies.learn(Path(target), where_tested(target).relative_to(ROOT))
    with ThreadPoolExecutor(jobs) as pool:
        try:
            fates = list(pool.map(lambda mutant: copies.kills(mutant, tests), tried))
        except BaseException:
            copies.stop()
            raise
    for mutant, killed in zip(tried, fates, strict=True):
        if not killed:
            unrun = not tests.of(mutant) and not tests.imports(mutant)
            print(f"{mutant}{'  (no test of the room runs it)' if unrun else ''}", flush=True)
    figures = Counter(killed=sum(fates), survived=len(tried) - sum(fates))
    figures["accepted"] = len(chosen) - len(tried)
    share = 100 * figures["killed"] / max(len(tried), 1)
    print(
        f"{target}: {len(chosen)} mutants, {figures['killed']} killed, "
        f"{figures['survived']} survived, {figures['accepted']} accepted; "
        f"{share:.1f} % of those not accepted killed",
        flush=True,
    )
    return figures


def main() -> int:
    """Judge the rooms that were named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("room", nargs="*", help="a room, or a file of one (default: all)")
    parser.add_argument("--count", type=int, default=40, help="mutants of each; 0: all")
    parser.add_argument("--seed", type=int, default=1, help="of the sample")
    parser.add_argument("--jobs", type=int, default=2, help="mutants at a time")
    parser.add_argument("--floor", type=float, default=90, help="per cent to be killed")
    parser.add_argument("--grace", type=float, default=20, help="seconds that any run may take")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    low = False
    with tempfile.TemporaryDirectory(prefix="topbit-mutants-") as folder:
        copies = Copies(Path(folder), options.grace)
        copies.make(options.jobs)
        for target in options.room or rooms():
            chosen = sample(mutants_of(target), options.count, options.seed)
            got = judge(target, copies, chosen, options.jobs)
            low |= got["killed"] * 100 < options.floor * (got["killed"] + got["survived"])
    return int(low)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
