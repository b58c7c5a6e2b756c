"""What is the report as one JSON document?

verdict      "ok", "violation" or "inconclusive"
platform     the facts (of the last boot)
summary      numbers (of the last boot)
findings     rule, severity, agent, device, count, message, seen, expected, evidence, hint,
             source; with several boots also boot, from 1
private_dma  of mappings of trusted devices: device, answer ("confidential", "not confidential" or
             "inconclusive"), why, count, evidence; with several boots also boot
unparsed     how many lines looked like events and could not be read
unparsed_lines, not_checked   where, which rule and why
boots        how many boots were checked
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from topbit.report.boot import BootReport
from topbit.rules.finding import verdict_of


def document(boots: Sequence[BootReport]) -> dict[str, Any]:
    """What is the document, as JSON values?"""
    last = boots[-1]
    several = len(boots) > 1
    platform = last.platform.to_dict()
    unparsed = [entry for boot in boots for entry in boot.platform.unparsed]
    for key in ("unparsed", "changed", "unfinished"):
        del platform[key]
    space = last.platform.space
    platform["shared_bit"] = None if space is None else space.bit_number
    return {
        "verdict": verdict_of(boot.checked for boot in boots),
        "boots": len(boots),
        "platform": platform,
        "summary": dataclasses.asdict(last.summary),
        "findings": [
            finding.to_dict() | ({"boot": number} if several else {})
            for number, boot in enumerate(boots, 1)
            for finding in boot.checked.findings
        ],
        "private_dma": [
            answer.to_dict() | ({"boot": number} if several else {})
            for number, boot in enumerate(boots, 1)
            for answer in boot.private_dma
        ],
        "unparsed": sum(entry.count for entry in unparsed),
        "unparsed_lines": [dataclasses.asdict(entry) for entry in unparsed],
        "not_checked": [dataclasses.asdict(entry) for entry in last.checked.not_checked],
    }


def render(boots: Sequence[BootReport]) -> str:
    """What is the document, as text?"""
    return json.dumps(document(boots), indent=2) + "\n"
