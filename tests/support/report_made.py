"""One boot with exactly the facts, numbers and findings that a test wants to see shown."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from topbit.events import Event
from topbit.recording import Platform, Reading, Recording
from topbit.report.boot import BootReport
from topbit.report.summary import Summary
from topbit.rules.finding import Checked, Finding, NotChecked, Severity, Unjudged

NOTHING = Summary(0, 0, None, 0, 0, 0, 0, 0, 0, ())
REALM = Platform(realm=True, ipa_bits=41)


def finding(severity: Severity = "violation", **parts: object) -> Finding:
    made = Finding("M1", severity, "guest", "something is wrong")
    return dataclasses.replace(made, **parts)  # type: ignore[arg-type]


def boot(
    platform: Platform = REALM,
    findings: Sequence[Finding] = (),
    not_checked: Sequence[NotChecked] = (),
    *,
    unjudged: Sequence[Unjudged] = (),
    undecided: Sequence[Reading] = (),
    damaged: Sequence[str] = (),
    judged: bool = True,
    recorded: Sequence[Event] = (),
    **numbers: object,
) -> BootReport:
    summary = dataclasses.replace(NOTHING, **numbers)  # type: ignore[arg-type]
    checked = Checked(
        list(findings), list(not_checked), list(unjudged), list(undecided), list(damaged), judged
    )
    return BootReport(platform, summary, checked, Recording.of_events(platform, recorded))
