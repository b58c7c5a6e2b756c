"""No bytes make `topbit check` fail as it should not (the long run: tools/fuzz_readers.py)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import fuzz_readers
from fuzz_readers import Fuzz, Pool, forget_peak, memory


def test_mutated_files(tmp_path: Path) -> None:
    fuzz = Fuzz(seed=3, keep=tmp_path / "failures")
    fuzz.run(range(150))
    assert fuzz.failures == []
    assert fuzz.statuses[0] + fuzz.statuses[4] > 50
    assert fuzz.statuses[2] > 10


def test_an_input_is_made_again_by_its_number(tmp_path: Path) -> None:
    first, other = Fuzz(7, tmp_path), Fuzz(7, tmp_path)
    other.mutated(1)
    assert first.mutated(12) == other.mutated(12) != other.mutated(13)


def crash() -> int:
    raise MemoryError


def loop() -> int:
    while True:
        pass


def loud() -> int:
    print("\x1b[2J", file=fuzz_readers.sys.stderr)
    return 0


@pytest.mark.parametrize(
    ("verb", "wrong"),
    [
        (crash, "MemoryError"),
        (loop, "TooSlowError"),
        (loud, "no JSON document"),
        (lambda: 7, "exit status 7"),
    ],
)
def test_what_goes_wrong_is_kept(
    verb: object, wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fuzz_readers, "topbit", lambda words: verb())  # type: ignore[operator]
    if verb is loop:
        monkeypatch.setattr(fuzz_readers, "SECONDS", 0.05)
    fuzz = Fuzz(1, tmp_path / "failures")
    fuzz.run(range(4, 5))
    (failure,) = fuzz.failures
    assert wrong in failure
    assert (tmp_path / "failures" / "input-1-4").read_bytes() == fuzz.mutated(4)


LARGE = """
import sys
from pathlib import Path

import fuzz_readers

fuzz_readers.BYTES = 1 << 25
fuzz_readers.topbit = lambda words: 0 * len(b"x" * int(sys.argv[1]))
fuzz = fuzz_readers.Fuzz(1, Path(sys.argv[2]))
fuzz.run(range(4, 5))
print(*fuzz.failures)
"""


@pytest.mark.parametrize(("size", "wrong"), [(1 << 27, " MiB"), (1 << 20, "no JSON document")])
def test_memory_of_one_input_is_limited(size: int, wrong: str, tmp_path: Path) -> None:
    """In a process of its own: this one may have memory left of other tests."""
    tools = os.pathsep.join(sys.path)
    command = [sys.executable, "-c", LARGE, str(size), str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": tools}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert wrong in done.stdout


def test_the_peak_of_one_input_is_not_the_next_ones() -> None:
    assert b"x" * (1 << 26)
    forget_peak()
    assert memory("VmHWM") - memory("VmRSS") < 1 << 24


def test_a_process_that_dies_loses_no_input_but_its_own(tmp_path: Path) -> None:
    pool = Pool(3, tmp_path, range(30), jobs=1)
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    for done in pool.run():
        if done != 10:
            continue
        for child in children.read_text().split():
            if "--work" in Path(f"/proc/{child}/cmdline").read_text():
                os.kill(int(child), signal.SIGKILL)
    assert pool.done == 30
    (failure,) = pool.fuzz.failures
    assert "the process ended with -9" in failure
    assert list(tmp_path.iterdir()) == [Path(failure.partition(":")[0])]
