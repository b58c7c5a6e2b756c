"""The RMM answers as TF-RMM v0.8.0 did, for every recorded call; the replay notices changes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from paths import DATA, ROOT
from replay_rmm import read_lines, replay

PUBLIC = DATA / "vectors" / "rmm10-public.jsonl.xz"
LINES = list(read_lines(PUBLIC))


def test_public_vectors_replay_without_difference() -> None:
    compared, differences = replay(PUBLIC)
    assert differences == []
    assert compared > 80_000


def changed(edit: str, wanted: str, value: object) -> list[str]:
    """The file with the first record that holds `edit` given another expected value."""
    for i, line in enumerate(LINES):
        if i and edit in line:
            record = json.loads(line)
            record[wanted] = value
            return [*LINES[:i], json.dumps(record) + "\n", *LINES[i + 1 : i + 30]]
    raise AssertionError(edit)


@pytest.mark.parametrize(
    ("edit", "wanted", "value"),
    [
        ('"o":"DATA_DESTROY"', "s", "ERROR_RTT"),
        ('"o":"RTT_INIT_RIPAS"', "x", ["0x6000"]),
        ('{"p":', "v", [3, "UNASSIGNED", "EMPTY", "0x0"]),
        ('"g":', "v", "RTT"),
        ('"out":["EXIT","SYNC"', "out", ["EXIT", "SYNC", "0x90000007", "0x0", "0x20", 7]),
        ('"resume"', "resume", ["SUCCESS", "0x3000", "REJECT"]),
        ('{"w":', "v", [[1, "0x62003"], [2, "0x63003"], [3, "0xa17d7"]]),
    ],
)
def test_a_changed_record_is_a_difference(
    edit: str, wanted: str, value: object, tmp_path: Path
) -> None:
    path = tmp_path / "changed.jsonl"
    path.write_text("".join(changed(edit, wanted, value)))
    assert len(replay(path)[1]) >= 1


@pytest.mark.parametrize("nowhere", ["0x10000000000", "0x4000000000000ff8", "0xfffffffffffff000"])
def test_parameter_pages_may_lie_in_no_memory(nowhere: str, tmp_path: Path) -> None:
    create = next(line for line in LINES if '"o":"REALM_CREATE"' in line)
    record = json.loads(create)
    record["a"][1]["params_pa"] = nowhere
    record |= {"s": "ERROR_INPUT", "i": 0, "x": []}
    enter = {"o": "REC_ENTER", "a": ["0x11000", nowhere], "f": 2, "s": "ERROR_INPUT"}
    rec = {"flags": "0x1", "mpidr": "0x0", "aux": [], "params_pa": nowhere}
    rec_create = {"o": "REC_CREATE", "a": ["0x10000", "0x11000", rec], "s": "ERROR_INPUT"}
    path = tmp_path / "nowhere.jsonl"
    records = [json.dumps(r) + "\n" for r in (record, rec_create, enter)]
    path.write_text("".join([LINES[0], *records]))
    compared, differences = replay(path)
    assert differences == []
    assert compared == 3


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "tools" / "replay_vectors.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_command_line(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.jsonl", tmp_path / "bad.jsonl"
    good.write_text("".join(LINES[:200]))
    bad.write_text("".join(changed('"o":"DATA_DESTROY"', "s", "ERROR_RTT")))
    done = run(good)
    assert done.returncode == 0
    assert done.stdout.endswith("compared, 0 differ\n")
    assert run(bad).returncode == 1
    other = tmp_path / "other.jsonl"
    other.write_text("{}\n")
    assert run(other).returncode == 2
    assert run(tmp_path / "missing").returncode == 2
