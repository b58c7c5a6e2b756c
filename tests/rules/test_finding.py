"""What does a finding say, and what verdict do findings make?"""

from __future__ import annotations

import pytest

from topbit.rules.finding import Checked, Evidence, Finding, Severity


def finding(severity: Severity) -> Finding:
    return Finding("M1", severity, "guest", "something is wrong")


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
    }


def test_a_finding_judges_its_evidence_and_more() -> None:
    shown = [Evidence("a", "log", 3), Evidence("b", "log"), Evidence("c"), Evidence("d", "q", 0)]
    made = Finding("S1", "warning", "guest", "full", evidence=shown, judged={("log", 9)})
    assert made.places() == {("log", 3), ("q", 0), ("log", 9)}
    assert made.judged == {("log", 9)}


def test_a_finding_is_one_observation_unless_it_says_otherwise() -> None:
    assert finding("note").count == 1
    assert finding("note").device is None


@pytest.mark.parametrize(
    ("severities", "verdict", "status"),
    [
        ([], "ok", 0),
        (["note", "warning"], "ok", 0),
        (["violation"], "violation", 1),
        (["note", "violation"], "violation", 1),
    ],
)
def test_only_a_violation_fails_a_check(
    severities: list[Severity], verdict: str, status: int
) -> None:
    checked = Checked([finding(severity) for severity in severities], [])
    assert (checked.verdict, checked.verdict.exit_status) == (verdict, status)
