"""What is the report as one JSON document?

verdict      "ok" or "violation"
platform     the facts (of the last boot)
summary      numbers (of the last boot)
findings     rule, severity, agent, device, count, message, seen, expected, evidence, mend,
             source; with several boots also boot, from 1
unparsed     how many lines looked like events and could not be read
unparsed_lines, not_checked   where, which rule and why
boots        how many boots were checked
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from topbit.report.report import Report


def document(reports: Sequence[Report]) -> dict[str, Any]:
    """What is the document, as JSON values? The last report is the last boot."""
    last = reports[-1]
    violated = any(report.checked.verdict == "violation" for report in reports)
    several = len(reports) > 1
    platform = last.platform.to_dict()
    unparsed = [entry for report in reports for entry in report.platform.unparsed]
    del platform["unparsed"]
    ipa_bits = last.platform.ipa_bits
    platform["shared_bit"] = None if ipa_bits is None else ipa_bits - 1
    return {
        "verdict": "violation" if violated else "ok",
        "boots": len(reports),
        "platform": platform,
        "summary": dataclasses.asdict(last.summary),
        "findings": [
            finding.to_dict() | ({"boot": boot} if several else {})
            for boot, report in enumerate(reports, 1)
            for finding in report.checked.findings
        ],
        "unparsed": sum(entry.count for entry in unparsed),
        "unparsed_lines": [dataclasses.asdict(entry) for entry in unparsed],
        "not_checked": [dataclasses.asdict(entry) for entry in last.checked.not_checked],
    }


def render(reports: Sequence[Report]) -> str:
    """What is the document, as text?"""
    return json.dumps(document(reports), indent=2) + "\n"
