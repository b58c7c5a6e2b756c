"""Does the mutants' tool tell killed from surviving, and leave the tree as it was?"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mutants import accepted, mutants_of, rooms, sample, where_tested
from paths import ROOT

TOOLS = ROOT / "tools"

MODULE = '''"""A toy."""

LIMIT = 4


def inside(n):
    return n < LIMIT


def unused(n):
    n.gone = n


def doubled(n):
    return n + n


FOUR = doubled(2)


def waits(n):
    while n:
        n.clear()
    return not n
'''
TESTS = """
from topbit.toy.toy import FOUR, inside, waits

def test_inside():
    assert inside(2)
    assert not inside(9)

def test_waits():
    assert waits([3])

def test_four():
    assert FOUR == 4
"""


ACCEPTED = """
[[mutant]]
file = "toy/toy.py"
scope = ""
old = "LIMIT = 4"
new = "LIMIT = 3"
why = "a toy"
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A checkout with one room, whose tests miss the boundary."""
    shutil.copytree(TOOLS, tmp_path / "tree" / "tools")
    for path, text in (
        ("src/topbit/__init__.py", ""),
        ("src/topbit/pytest.py", ""),  # which pytest loads wherever topbit is installed
        ("src/topbit/toy/__init__.py", ""),
        ("src/topbit/toy/toy.py", MODULE),
        ("tests/toy/test_toy.py", TESTS),
        ("tools/mutants_accepted.toml", ACCEPTED),
    ):
        at = tmp_path / "tree" / path
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_text(text, encoding="utf-8")
    (tmp_path / "temporary").mkdir()
    return tmp_path / "tree"


def start(tree: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(tree / "tools" / "mutants.py"), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tree.parent / "temporary")},
    )


def state(tree: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in tree.rglob("*.py")}


def test_survivors_are_listed_and_the_tree_is_left_alone(tree: Path) -> None:
    before = state(tree)
    running = start(tree, "toy", "--count", "0", "--floor", "50", "--grace", "8")
    said, complaints = running.communicate(timeout=300)
    assert running.returncode == 0, complaints
    assert said.splitlines() == [
        "src/topbit/toy/toy.py:3  LIMIT = 4  ->  LIMIT = 5",
        "src/topbit/toy/toy.py:7  return n < LIMIT  ->  return n <= LIMIT",
        "src/topbit/toy/toy.py:11  n.gone = n  ->  pass  (no test of the room runs it)",
        "toy: 13 mutants, 9 killed, 3 survived, 1 accepted; 75.0 % of those not accepted killed",
    ]
    assert state(tree) == before
    assert not list((tree.parent / "temporary").iterdir())


def test_an_interrupt_leaves_nothing_behind(tree: Path) -> None:
    (tree / "tests" / "toy" / "test_toy.py").write_text(
        f"{TESTS}\ndef test_slow():\n    import time\n    time.sleep(30)\n", encoding="utf-8"
    )
    before = state(tree)
    running = start(tree, "toy")
    time.sleep(3)
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=20)
    assert running.returncode == 130
    assert state(tree) == before
    assert not list((tree.parent / "temporary").iterdir())


def test_tests_that_fail_as_they_are_are_told(tree: Path) -> None:
    (tree / "tests" / "toy" / "test_toy.py").write_text("def test_it():\n    assert False\n")
    running = start(tree, "toy")
    _, complaints = running.communicate(timeout=60)
    assert running.returncode == 2
    assert "tests/toy fails as it is" in complaints


def test_a_sample_is_told_by_its_seed_and_takes_a_line_once() -> None:
    mutants = mutants_of("events") + mutants_of("memory")
    chosen = sample(mutants, 20, 7)
    assert chosen == sample(mutants, 20, 7)
    assert chosen != sample(mutants, 20, 8)
    assert len({(m.file, m.mutation.lines.start) for m in chosen}) == 20
    assert sample(mutants, 0, 7) == mutants


def test_rooms_are_those_with_tests() -> None:
    assert {"vmm", "rmm", "memory"} <= set(rooms())
    assert all(where_tested(room).exists() for room in rooms())
    assert where_tested("vmm/convert.py") == where_tested("vmm")


def test_what_is_accepted_still_is_a_mutant_and_has_a_reason() -> None:
    listed = accepted()
    possible = {mutant.key for file in {key[0] for key in listed} for mutant in mutants_of(file)}
    assert set(listed) <= possible
    assert all(len(why) > 10 for why in listed.values())
