"""The RMM answers as TF-RMM of July 2026 did, but for what it is said to do of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from paths import DATA
from replay_deviations import wanted_instead
from replay_rmm import read_lines
from replay_rmm20 import advanced, memory_of, replay, run_of
from replay_vectors import kind_of, main
from topbit.arch.rmi_range import AddrRange

PUBLIC = DATA / "vectors" / "rmm20-public.jsonl.xz"
LINES = list(read_lines(PUBLIC))


def test_every_recorded_call_is_answered_as_recorded_or_as_wanted_instead() -> None:
    run = run_of(PUBLIC)
    assert run.differences == []
    assert run.compared == 94_085
    assert run.deviations == {"D11": 2, "D16": 2, "D12": 3, "D17": 15, "D19": 95}


def test_the_forms_of_all_files_are_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert all(kind_of(path) for path in (DATA / "vectors").glob("*.xz"))
    assert main([str(PUBLIC)]) == 0
    assert "rmm20-public.jsonl.xz: 94085 compared, 0 differ" in capsys.readouterr().out


def sequence(text: str) -> tuple[list[dict[str, Any]], int]:
    """The sequence with the first record that holds `text`, up to it; and where it stands."""
    at = next(i for i, line in enumerate(LINES) if i and text in line)
    begin = next(i for i in range(at, 0, -1) if '"begin"' in LINES[i])
    return [json.loads(line) for line in LINES[begin : at + 1]], at - begin


CHANGES = [
    ('"o":"RTT_DATA_MAP"', "s", "ERROR_INPUT"),
    ('"o":"RTT_DATA_UNMAP"', "x", ["0x7000"]),
    ('"mpidr":"0x0"},"s":"INCOMPLETE"', "m", "RECLAIM"),
    ('"mpidr":"0x0"},"s":"INCOMPLETE"', "cancel", 1),
    ('"o":"OP_MEM_RECLAIM"', "s", "ERROR_INPUT"),
    ('"o":"OP_CANCEL"', "s", "ERROR_DEVICE"),
    ('"steps":[', "steps", [{"o": "REC_CREATE", "s": "SUCCESS"}]),
    ('"reached":', "reached", "0x1000"),
    ('"freed":', "freed", [["0x5000", "0x1000"]]),
    ('"exit_words":', "exit_words", [["0x0", "0x77"]]),
    ('"info_words":', "info_words", [["0x0", "0x77"]]),
    ('"info_digests":', "info_digests", ["0x40"]),
    ('"out":["EXIT","DEV_MEM_MAP"', "out", ["EXIT", "DEV_MEM_MAP", "0x0", "0x0", "0x0", "0x0"]),
    ('"out":["EXIT","VDEV_REQUEST"', "out", ["EXIT", "VDEV_REQUEST", "0x77"]),
    ('"o":"VDEV_COMMUNICATE"', "s", "ERROR_REALM"),
    ('"v":[3,"ASSIGNED_DEV"', "v", [3, "ASSIGNED_DEV", "EMPTY", "0x1000"]),
    ('"irq"', None, None),
]


@pytest.mark.parametrize(("text", "key", "value"), CHANGES)
def test_a_changed_record_is_a_difference(
    text: str, key: str | None, value: object, tmp_path: Path
) -> None:
    records, at = sequence(text)
    path = tmp_path / "changed.jsonl"

    def differences() -> list[str]:
        path.write_text("\n".join([LINES[0].strip(), *map(json.dumps, records)]))
        return [str(found) for found in replay(path)[1]]

    assert differences() == []
    if key is None:
        return
    records[at][key] = value
    assert len(differences()) >= 1


@pytest.mark.parametrize(
    ("record", "wanted"),
    [
        ({"o": "FEATURES", "a": ["0x0"], "x": ["0x130"]}, ("D11", {"x": ["0x134"]})),
        ({"o": "FEATURES", "a": ["0x1"], "x": ["0x130"]}, None),
        ({"o": "FEATURES", "a": ["0x3"], "x": ["0x3"]}, ("D16", {"x": ["0x0"]})),
        ({"info_digests": ["0xc0"]}, ("D17", {"info_digests": ["0xc0", "0x100"]})),
        ({"w": "0x0", "v": [[3, "0x8000000010a7db"]]}, None),
        ({"w": "0x0", "v": [[3, "0x400000001007db"]]}, ("D18", {"v": [[3, "0x1007db"]]})),
        ({"w": "0x0", "v": [[2, "0x400000002007d9"]]}, ("D18", {"v": [[2, "0x2007d9"]]})),
        ({"w": "0x0", "v": [[3, "0x1007db"]]}, None),
        ({"w": "0x0", "v": []}, None),
    ],
)
def test_what_is_wanted_instead(
    record: dict[str, Any], wanted: tuple[str, dict[str, Any]] | None
) -> None:
    assert wanted_instead(record) == wanted


def test_ranges_are_the_same_memory_however_they_are_cut() -> None:
    whole = AddrRange(SIZE=1, COUNT=2, ADDR=0x40_0000).words[0]
    halves = [AddrRange(SIZE=1, COUNT=1, ADDR=pa).words[0] for pa in (0x60_0000, 0x40_0000)]
    pages = [AddrRange(COUNT=512, ADDR=pa).words[0] for pa in (0x40_0000, 0x60_0000)]
    assert memory_of([whole]) == memory_of(halves) == memory_of(pages)
    assert len(memory_of([whole])) == 1024
    assert advanced(whole, 0x20_0000) == (halves[0], 0)
    assert advanced(whole, 0x60_0000) == (None, 0x20_0000)
