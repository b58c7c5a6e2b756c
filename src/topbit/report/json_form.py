"""What is the report as one JSON document?

`schema/report.schema.json` says what stands in it; where there is no report, the document is an
error, with the same schema.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from topbit.errors import TopbitError
from topbit.report.boot import BootReport
from topbit.report.report import Report
from topbit.rules import Finding, Unjudged
from topbit.rules.privacy import Answered


def document(boots: Sequence[BootReport]) -> dict[str, Any]:
    """What is the document, as JSON values?"""
    report = Report(tuple(boots))
    last = boots[-1]
    platform = last.platform.to_dict()
    unparsed = [entry for boot in boots for entry in boot.platform.unparsed]
    for key in ("unparsed", "changed", "unfinished"):
        del platform[key]
    space = last.platform.space
    platform["shared_bit"] = None if space is None else space.bit_number
    summary = dataclasses.asdict(last.summary)
    events = summary.pop("kinds")
    return {
        "verdict": report.verdict,
        "exit_status": report.exit_status,
        "boots": len(boots),
        "unfinished": report.unfinished,
        "platform": platform,
        "summary": summary,
        "events": events,
        "findings": _by_boot(boots, [boot.checked.findings for boot in boots]),
        "trouble": _by_boot(boots, [boot.checked.unjudged for boot in boots]),
        "private_dma": _by_boot(boots, [boot.private_dma for boot in boots]),
        "unparsed": sum(entry.count for entry in unparsed),
        "unparsed_lines": [dataclasses.asdict(entry) for entry in unparsed],
        "not_checked": [dataclasses.asdict(entry) for entry in last.checked.not_checked],
    }


def _by_boot(
    boots: Sequence[BootReport],
    told: Sequence[Sequence[Finding] | Sequence[Unjudged] | Sequence[Answered]],
) -> list[dict[str, Any]]:
    """What is told of each boot, with the boot's number from 1 if there are several?"""
    several = len(boots) > 1
    return [
        entry.to_dict() | ({"boot": number} if several else {})
        for number, entries in enumerate(told, 1)
        for entry in entries
    ]


def render(boots: Sequence[BootReport]) -> str:
    """What is the document, as text?"""
    return _text(document(boots))


def render_error(error: TopbitError) -> str:
    """What is the document where there is no report, because something went wrong?"""
    told = {"what": error.what, "where": error.where, "hint": error.hint}
    return _text({"error": told, "exit_status": error.exit_status})


def _text(data: dict[str, Any]) -> str:
    # NaN and the like are no JSON: better an error of topbit's than a document that nobody reads.
    return json.dumps(data, indent=2, allow_nan=False) + "\n"
