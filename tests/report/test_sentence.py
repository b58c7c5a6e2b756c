"""Which sentence tells the verdict?"""

from __future__ import annotations

import dataclasses

import pytest

from report_made import REALM, boot, finding
from topbit.recording import Reading
from topbit.report.boot import BootReport
from topbit.report.sentence import verdict_sentence
from topbit.rules.finding import Evidence, NotChecked, Unjudged
from topbit.rules.rule import RULES

ALL = len(RULES)
STUCK = dataclasses.replace(REALM, unfinished="the guest is stuck")
LEFT = [Unjudged(kind, "It is.", count, Evidence("a line")) for kind, count in (("a", 2), ("b", 3))]
OPEN = finding("warning", readings=["one", "another"])


def reading(fact: str) -> Reading:
    return Reading(fact, "yes", "why", "what decides")


@pytest.mark.parametrize(
    ("boots", "sentence"),
    [
        ([boot()], f"OK: no violation; {ALL} of {ALL} rules were checked"),
        ([boot(not_checked=[NotChecked("M1", ".", "why"), NotChecked("M2", ".", "why")])],
         f"OK: no violation; {ALL - 2} of {ALL} rules were checked"),
        ([boot(findings=[finding("note"), finding("warning"), finding("note")])],
         f"OK: no violation; {ALL} of {ALL} rules were checked; 1 warning; 2 notes"),
        ([boot(findings=[finding()])], "VIOLATION: the guest broke M1"),
        ([boot(findings=[finding(), finding(rule="F2"), finding(rule="M1"), finding(rule="H3")])],
         "VIOLATION: the guest broke M1, F2 and H3"),
        ([boot(findings=[finding(rule="V1", agent="vmm"), finding(), finding("note", rule="S1")])],
         "VIOLATION: the VMM broke V1; the guest broke M1; 1 note"),
        ([boot(STUCK, [finding()])],
         "VIOLATION: the guest broke M1; the run did not come to its end"),
        ([boot(findings=[finding()], unjudged=LEFT)],
         "VIOLATION: the guest broke M1; 5 signs of trouble judged by no rule"),
        ([boot(STUCK)], "UNFINISHED: no violation, but the guest did not do all of its work"),
        ([boot(STUCK, unjudged=LEFT)],
         "UNFINISHED: no violation, but the guest did not do all of its work"),
        ([boot(unjudged=LEFT)],
         "INCONCLUSIVE: no violation, but 5 signs of trouble judged by no rule"),
        ([boot(unjudged=[dataclasses.replace(LEFT[0], count=1)])],
         "INCONCLUSIVE: no violation, but 1 sign of trouble judged by no rule"),
        ([boot(judged=False)], "INCONCLUSIVE: no violation, but nothing in it could be judged"),
        ([boot(undecided=[reading("realm"), reading("realm"), reading("scheme")])],
         "INCONCLUSIVE: no violation, but nothing decides whether it is a Realm and which scheme "
         "it has"),
        ([boot(undecided=[reading("ipa_bits")])],
         "INCONCLUSIVE: no violation, but nothing decides how wide its IPA space is"),
        ([boot(undecided=[reading("c_bit")])],
         "INCONCLUSIVE: no violation, but nothing decides c_bit"),
        ([boot(damaged=["log"])], "INCONCLUSIVE: no violation, but 1 file could not be read whole"),
        ([boot(damaged=["log", "trace"]), boot(damaged=["log"])],
         "INCONCLUSIVE: no violation, but 2 files could not be read whole"),
        ([boot(findings=[OPEN])],
         "INCONCLUSIVE: no violation, but 1 finding has several readings; 1 warning"),
        ([boot(findings=[OPEN, OPEN], unjudged=LEFT, undecided=[reading("realm")])],
         "INCONCLUSIVE: no violation, but 5 signs of trouble judged by no rule, nothing decides "
         "whether it is a Realm and 2 findings have several readings; 2 warnings"),
        # All boots of a run together.
        ([boot(findings=[finding()]), boot(findings=[finding(rule="V1", agent="vmm")])],
         "VIOLATION: the guest broke M1; the VMM broke V1"),
        ([boot(judged=False), boot()], f"OK: no violation; {ALL} of {ALL} rules were checked"),
        ([boot(unjudged=LEFT[:1]), boot(unjudged=LEFT[1:])],
         "INCONCLUSIVE: no violation, but 5 signs of trouble judged by no rule"),
    ],
)  # fmt: skip
def test_the_sentence(boots: list[BootReport], sentence: str) -> None:
    assert verdict_sentence(boots) == sentence
