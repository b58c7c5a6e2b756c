"""Does a verdict rest on a guess?"""

from __future__ import annotations

import pytest

from topbit.events import Event
from topbit.recording import Platform, Reading, Recording
from topbit.rules import Verdict, check
from topbit.rules.finding import Finding, Severity
from topbit.rules.open_facts import OpenFacts
from topbit.rules.rule import RULES

PLAIN = Event("guest", "dma_map", device="a", address=0x76B0_0000, phys=0x43D9_2000, size=64)


def readings(*facts: str) -> list[Reading]:
    return [
        Reading(fact, value, f"because of {value}", "a log")
        for fact in facts
        for value in ("41", "48")
    ]


def realm(*open_facts: str) -> Platform:
    return Platform(
        realm=True, ipa_bits=41, ram=[(0x4000_0000, 1 << 30)], readings=readings(*open_facts)
    )


@pytest.mark.parametrize(
    ("facts", "severity", "verdict"),
    [
        ((), "violation", Verdict.VIOLATION),
        # An address within the RAM lacks the bit, whichever it is.
        (("ipa_bits",), "violation", Verdict.VIOLATION),
        (("realm",), "note", Verdict.INCONCLUSIVE),
        (("scheme",), "note", Verdict.INCONCLUSIVE),
        (("realm", "scheme"), "note", Verdict.INCONCLUSIVE),
        (("kernel",), "violation", Verdict.VIOLATION),  # on which M1 does not rest
    ],
)
def test_a_violation_that_rests_on_an_open_fact_is_lowered(
    facts: tuple[str, ...], severity: str, verdict: Verdict
) -> None:
    checked = check(Recording.of_events(realm(*facts), [PLAIN]))
    (finding,) = (f for f in checked.findings if f.rule == "M1")
    assert (finding.severity, checked.verdict) == (severity, verdict)
    lowered = severity == "note"
    assert finding.readings == [
        f"{fact} {value}: because of {value}" for fact in facts for value in ("41", "48") if lowered
    ]


def test_a_violation_that_only_one_reading_makes_is_lowered() -> None:
    platform = realm("ipa_bits")
    platform.ram = []
    (finding,) = check(Recording.of_events(platform, [PLAIN])).findings
    assert (finding.rule, finding.severity, len(finding.readings)) == ("M1", "note", 2)


@pytest.mark.parametrize("severity", ["warning", "note"])
def test_only_a_violation_is_lowered(severity: Severity) -> None:
    made = Finding("M1", severity, "guest", "plain")
    OpenFacts(Recording.of_events(realm("realm"), [PLAIN])).lower(RULES["M1"], made)
    assert (made.severity, made.readings) == (severity, [])


def test_a_fact_that_is_open_leaves_the_verdict_open_without_any_finding() -> None:
    good = Event("guest", "dma_map", device="a", address=0x76B0_0000 | 1 << 40, phys=0x43D9_2000)
    assert check(Recording.of_events(realm(), [good])).verdict is Verdict.OK
    checked = check(Recording.of_events(realm("ipa_bits"), [good]))
    assert checked.findings == []
    assert checked.undecided == readings("ipa_bits")
    assert checked.verdict is Verdict.INCONCLUSIVE
