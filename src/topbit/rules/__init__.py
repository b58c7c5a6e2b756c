"""Did every agent keep the convention?

Belongs here: the rules, one family per module, each with id, statement, source and the reason
why it may not apply; what a finding is; running them all. Does not belong here: parsing, running,
showing. A rule sees a Recording and does not know whether a model, QEMU or a log made it.
"""

from __future__ import annotations

from topbit.rules.check import check
from topbit.rules.finding import (
    Checked,
    Evidence,
    Finding,
    NotChecked,
    Severity,
    Unjudged,
    Verdict,
)
from topbit.rules.rule import RULES, Rule

__all__ = [
    "RULES",
    "Checked",
    "Evidence",
    "Finding",
    "NotChecked",
    "Rule",
    "Severity",
    "Unjudged",
    "Verdict",
    "check",
]
