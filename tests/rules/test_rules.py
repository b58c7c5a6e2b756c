"""Every rule has a recording that it must flag and one that it must not."""

from __future__ import annotations

import dataclasses

import pytest

import cases_faults
import cases_helpers
import cases_mappings
import cases_pages
import cases_trusted
import cases_vmm
from paths import ROOT
from rule_events import DOORBELL, INTERRUPTS, POOL, REALM, Case, access, dma_map, helper
from topbit.events import Event
from topbit.recording import DeviceFacts, Recording
from topbit.rules import RULES, check

FAMILIES = (
    cases_helpers, cases_mappings, cases_vmm, cases_faults, cases_pages, cases_trusted,
)  # fmt: skip
CASES: dict[str, Case] = {name: case for family in FAMILIES for name, case in family.CASES.items()}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_bad_recording_is_flagged(case: Case) -> None:
    checked = check(Recording.of_events(case.platform, case.bad))
    found = [finding for finding in checked.findings if finding.rule == case.rule]
    assert len(found) == 1, checked.findings
    (finding,) = found
    assert finding.agent == case.agent
    assert finding.severity == case.severity
    assert finding.count == case.count
    assert finding.device == case.device
    assert case.says in " ".join((finding.message, finding.seen, finding.hint))
    for part in (finding.seen, finding.expected, finding.hint, finding.source):
        assert part
    assert finding.evidence


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_good_recording_is_not_flagged(case: Case) -> None:
    recording = Recording.of_events(case.good_platform or case.platform, case.good)
    checked = check(recording)
    assert [finding for finding in checked.findings if finding.rule == case.rule] == []


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_good_recording_is_really_checked(case: Case) -> None:
    """A rule that lacks something finds nothing either; that would prove nothing."""
    platform = case.good_platform or case.platform
    lack = RULES[case.rule].lacks(Recording.of_events(platform, case.good))
    # Where the good side of a rule is that nothing happened, nothing is there to be checked.
    assert lack == "" or case.rule in ("M7", "D1")


def test_what_follows_from_a_lie_of_the_rmm_is_not_the_guests_fault() -> None:
    told = Event("rmm", "realm_config", address=1 << 39)
    wrong = [dma_map(POOL | 1 << 39), helper("phys_to_dma", POOL, POOL | 1 << 39, "disk")]
    platform = dataclasses.replace(REALM, devices={"disk": DeviceFacts(sid=0x10)})
    assert {f.rule for f in check(Recording.of_events(platform, wrong)).findings} >= {"M1"}
    checked = check(Recording.of_events(platform, [told, *wrong]))
    assert {f.rule for f in checked.findings if f.severity == "violation"} == {"R1"}


def test_a_refused_interrupt_is_not_the_devices_fault() -> None:
    events = [dma_map(), access(DOORBELL, direction="w")]
    blamed = {f.rule: f.agent for f in check(Recording.of_events(INTERRUPTS, events)).findings}
    assert blamed == {"F10": "vmm"}
    unknown = check(Recording.of_events(REALM, events)).findings
    assert {f.rule for f in unknown} == {"F3"}  # which says that it may be a doorbell


def test_every_rule_has_its_recordings() -> None:
    assert {case.rule for case in CASES.values()} == set(RULES)


def test_every_rule_is_documented() -> None:
    for rule in RULES.values():
        assert rule.statement.endswith(".")
        assert rule.source
        assert (rule.check.__doc__ or "").splitlines()[0].rstrip().endswith("?")


def test_the_documentation_tells_what_a_rule_was_called() -> None:
    text = (ROOT / "docs" / "rules.md").read_text()
    renamed = {rule.id: rule for rule in RULES.values() if rule.former}
    assert len(renamed) == 6
    for rule in renamed.values():
        assert f"| {rule.former} | {rule.id} | {rule.statement} |" in text
