"""What does a finding say, and what verdict do findings make?"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from topbit.recording import Reading
from topbit.rules.finding import Checked, Evidence, Finding, Severity, Unjudged, verdict_of


def finding(severity: Severity, readings: Sequence[str] = ()) -> Finding:
    return Finding("M1", severity, "guest", "something is wrong", readings=list(readings))


@pytest.mark.parametrize(
    ("source", "line", "place"),
    [("trace.txt", 812, "trace.txt:812"), ("queue.bin", 0, "queue.bin:0"), ("log", None, "log"),
     ("", 5, ""), ("", None, "")],
)  # fmt: skip
def test_evidence_stands_somewhere(source: str, line: int | None, place: str) -> None:
    assert Evidence("text", source, line).place == place


def test_the_json_form_has_every_part() -> None:
    made = Finding(
        "M1", "warning", "guest", "message", device="disk", count=3, seen="seen",
        expected="expected", hint="what to do", source="a book",
        evidence=[Evidence("text", "trace.txt", 1, "guest"), Evidence("other")],
        readings=["one", "another"],
    )  # fmt: skip
    assert made.to_dict() == {
        "rule": "M1",
        "severity": "warning",
        "agent": "guest",
        "device": "disk",
        "count": 3,
        "message": "message",
        "seen": "seen",
        "expected": "expected",
        "evidence": [
            {"text": "text", "source": "trace.txt", "line": 1, "agent": "guest"},
            {"text": "other", "source": None, "line": None, "agent": ""},
        ],
        "hint": "what to do",
        "source": "a book",
        "readings": ["one", "another"],
    }


def test_a_finding_judges_its_evidence_and_more() -> None:
    shown = [Evidence("a", "log", 3), Evidence("b", "log"), Evidence("c"), Evidence("d", "q", 0)]
    made = Finding("S1", "warning", "guest", "full", evidence=shown, judged={("log", 9)})
    assert made.places() == {("log", 3), ("q", 0), ("log", 9)}
    assert made.judged == {("log", 9)}


def test_a_finding_is_one_observation_unless_it_says_otherwise() -> None:
    assert finding("note").count == 1
    assert finding("note").device is None


LEFT = Unjudged("leaked", "Memory is lost.", 2, Evidence("a line", "log", 1))
READING = Reading("realm", "yes", "its addresses", "its log")
OPEN = finding("warning", readings=["the VMM did not map it", "the page was never shared"])


@pytest.mark.parametrize(
    ("boots", "verdict", "status"),
    [
        ([Checked([], [])], "ok", 0),
        ([Checked([finding("note"), finding("warning")], [])], "ok", 0),
        ([Checked([finding("violation")], [])], "violation", 1),
        ([Checked([finding("note"), finding("violation")], [])], "violation", 1),
        ([Checked([], [], unjudged=[LEFT])], "inconclusive", 4),
        ([Checked([], [], undecided=[READING])], "inconclusive", 4),
        ([Checked([OPEN], [])], "inconclusive", 4),
        ([Checked([], [], damaged=["log"])], "inconclusive", 4),
        ([Checked([], [], judged=False)], "inconclusive", 4),
        ([Checked([finding("violation"), OPEN], [], [LEFT], [READING])], "violation", 1),
        # Boots of one run: each may be wrong or open, and one of them must have been judged.
        ([Checked([], []), Checked([finding("violation")], [])], "violation", 1),
        ([Checked([], [], unjudged=[LEFT]), Checked([], [])], "inconclusive", 4),
        ([Checked([], [], judged=False), Checked([], [])], "ok", 0),
        ([Checked([], [], judged=False), Checked([], [], judged=False)], "inconclusive", 4),
    ],
)
def test_the_verdict_and_its_exit_status(boots: list[Checked], verdict: str, status: int) -> None:
    made = verdict_of(iter(boots))
    assert (made, made.exit_status) == (verdict, status)
    if len(boots) == 1:
        assert boots[0].verdict is made
