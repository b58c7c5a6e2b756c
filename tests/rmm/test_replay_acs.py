"""The RMM answers what Arm's compliance suite asserts; the replay notices changes."""

import json
from pathlib import Path
from typing import Any

import pytest

from paths import DATA
from replay_acs import Replay, replay
from replay_rmm import read_lines
from replay_vectors import kind_of

CALLS = DATA / "vectors" / "acs10-calls.jsonl.xz"


def test_every_call_of_the_suite_is_answered_as_it_asserts() -> None:
    lines = read_lines(CALLS)
    next(lines)
    run = Replay(0x8000_0000, 0x8000_0000)
    for line in lines:
        run.play(json.loads(line))
    assert run.differences == []
    assert (run.asserted, run.compared) == (370, 270_273)


def test_its_form_is_recognised() -> None:
    assert kind_of(CALLS) is not None


LINES = list(read_lines(CALLS))


def one_test(name: str) -> list[dict[str, Any]]:
    start = next(i for i, line in enumerate(LINES) if f'"begin":"{name}"' in line)
    end = next((i for i in range(start + 1, len(LINES)) if '"begin"' in LINES[i]), len(LINES))
    return [json.loads(line) for line in LINES[start:end]]


@pytest.mark.parametrize(
    ("test", "key", "value"),
    [
        ("cmd_granule_delegate", "e", [2, 0]),
        ("cmd_granule_delegate", "s", 4),
        ("gic_hcr_invalid", "begin", "without the suite's expectation"),
        ("cmd_host_call", "realm", [{"access": 0, "k": "x", "pa": 0, "ns": False}]),
        ("cmd_host_call", "realm", [{"rsi": "RSI_VERSION", "a": [0x10000], "r": {"0": 1}}]),
    ],
)
def test_a_changed_record_is_a_difference(
    test: str, key: str, value: object, tmp_path: Path
) -> None:
    records = one_test(test)
    changed = next(r for r in records if key in r)
    changed[key] = value
    path = tmp_path / "changed.jsonl"
    path.write_text("\n".join([LINES[0].strip(), *map(json.dumps, records)]))
    assert replay(path)[1]
