"""Test cases: a rule's outcome, and what fails a run beside the rules."""

import pytest

from report_kinds import F1, KINDS, LOGS, UNFINISHED
from report_made import boot, finding
from topbit.report.cases import FINISHED, JUDGED, Outcome, boot_name, cases, count, good
from topbit.rules.finding import NotChecked
from topbit.rules.rule import RULES

LACKING = NotChecked("F1", "...", "no SMMU event")


@pytest.mark.parametrize(
    ("findings", "not_checked", "outcome"),
    [
        ([], [], Outcome.PASSED),
        ([F1], [], Outcome.FAILED),
        ([finding("warning", rule="F1")], [], Outcome.PASSED),
        ([], [LACKING], Outcome.SKIPPED),
        ([F1], [LACKING], Outcome.FAILED),
    ],
)
def test_how_a_rule_ends(findings: list, not_checked: list, outcome: Outcome) -> None:
    (case,) = [c for c in cases([boot(LOGS, findings, not_checked)])[0] if c.id == "F1"]
    assert case.outcome is outcome
    assert case.findings == tuple(findings)
    assert (case.family, case.source) == ("faults", RULES["F1"].source)
    assert case.reason == ("no SMMU event" if not_checked else "")


def test_every_rule_is_a_case_and_a_log_has_no_other() -> None:
    made = cases([boot(LOGS, [F1], [NotChecked("F2", "...", "")])])[0][:-1]
    assert [case.id for case in made] == list(dict.fromkeys(case.id for case in made))
    assert {case.id for case in made} == set(RULES)
    numbers = [count(made, outcome) for outcome in Outcome]
    assert numbers == [len(RULES) - 2, 1, 1, 0]
    assert count(made, *Outcome) == len(RULES)
    assert not good(made)


@pytest.mark.parametrize(("platform", "outcome"), [(UNFINISHED, Outcome.FAILED)])
def test_a_run_that_did_not_end_its_work_fails(platform, outcome: Outcome) -> None:
    case = cases([boot(platform)])[0][-2]
    assert (case.id, case.outcome, case.message) == (FINISHED, outcome, "the guest is stuck")


def test_the_message_names_each_violation_once_and_no_warning() -> None:
    twice = [F1, F1, finding(rule="F1", device=None, message="x"), finding("note", rule="F1")]
    (case,) = [c for c in cases([boot(LOGS, twice)])[0] if c.id == "F1"]
    assert case.message == "the VMM did not map the unprotected alias (nvme0); x"


def test_nothing_hostile_makes_a_line_of_its_own() -> None:
    (made,) = cases(KINDS["hostile"])
    lines = [line for case in made for line in [*case.lines, case.message]]
    assert len(lines) > len(made)
    assert all(line.isprintable() for line in lines)


def test_a_boot_that_is_alone_has_no_number() -> None:
    assert boot_name(KINDS["ok"], 1) == "boot"
    assert boot_name(KINDS["two boots"], 2) == "boot-2"


LEFT_OPEN = (
    "A device did not answer. (3 times); realm yes: who is it; t.dat could not be read whole; "
    "x: a or b"
)


@pytest.mark.parametrize(
    ("kind", "outcome", "reason"),
    [
        ("ok", Outcome.PASSED, ""),
        ("inconclusive", Outcome.OPEN, LEFT_OPEN),
        ("nothing judged", Outcome.OPEN, "nothing could be judged"),
    ],
)
def test_what_is_left_open_is_a_case(kind: str, outcome: Outcome, reason: str) -> None:
    case = cases(KINDS[kind])[0][-1]
    assert (case.id, case.outcome, case.reason) == (JUDGED, outcome, reason)
    assert good([case]) is (outcome is Outcome.PASSED)


def test_a_boot_beside_one_that_could_be_judged_is_skipped() -> None:
    both = cases([*KINDS["nothing judged"], *KINDS["ok"]])
    assert [made[-1].outcome for made in both] == [Outcome.SKIPPED, Outcome.PASSED]
