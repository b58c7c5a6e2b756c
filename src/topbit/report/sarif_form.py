"""What is the report in SARIF 2.1.0, as code scanning services and editors read it?

A rule is a reporting descriptor, a finding a result, the place of its first evidence its location:
a line of a text file; of a record in a binary file only the file. What could not be checked or read
is a notification of the invocation. A result without any place, of a run, has the device it is
about as a logical location.

Source: SARIF Version 2.1.0 Plus Errata 01, OASIS Standard, the sections named below.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import quote

from topbit import __version__
from topbit.errors import TopbitError, printable
from topbit.recording.platform import Unparsed
from topbit.report.boot import BootReport
from topbit.report.cases import FINISHED, JUDGED, Case, cases, good
from topbit.rules.check import in_order
from topbit.rules.finding import Evidence, Finding, Severity, verdict_of
from topbit.rules.rule import Rule

SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
LEVELS: dict[Severity, str] = {"violation": "error", "warning": "warning", "note": "note"}
"""3.27.10, level."""
Json = dict[str, Any]


def render(boots: Sequence[BootReport]) -> str:
    """What is the log file, as JSON text with its line end?"""
    findings = [finding for boot in boots for finding in boot.checked.findings]
    verdict = verdict_of(boot.checked for boot in boots)
    places = {rule.id: number for number, rule in enumerate(in_order())}
    files = _Files(boots)
    notifications = [
        entry
        for boot, made in zip(boots, cases(boots), strict=True)
        for entry in _notifications(boot, made, files)
    ]
    failed = any(boot.platform.unfinished for boot in boots)
    return _log(
        {
            "tool": {"driver": _driver(map(_descriptor, in_order()))},
            "invocations": [
                {
                    "executionSuccessful": not failed,
                    "exitCodeDescription": str(verdict),
                    "toolExecutionNotifications": notifications,
                }
            ],
            "artifacts": [{"location": files.location(name)} for name in files.names],
            "results": [_result(finding, places, files) for finding in findings],
            "columnKind": "unicodeCodePoints",
        }
    )


def render_error(error: TopbitError) -> str:
    """What is the log file where there is no report (3.20.14, executionSuccessful)?"""
    told = {"level": "error", "message": {"text": str(error)}}
    invocation = {
        "executionSuccessful": False,
        "exitCode": error.exit_status,
        "toolExecutionNotifications": [told],
    }
    return _log({"tool": {"driver": _driver(())}, "invocations": [invocation], "results": []})


def _log(run: Json) -> str:
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _driver(rules: Iterable[Json]) -> Json:
    return {"name": "topbit", "semanticVersion": __version__, "rules": list(rules)}


def _descriptor(rule: Rule) -> Json:
    """Which reporting descriptor is a rule (3.49)?"""
    return {
        "id": rule.id,
        "name": _pascal(rule.check.__name__),
        "shortDescription": {"text": rule.statement},
        "help": {"text": f"Source: {rule.source}"},
        "defaultConfiguration": {"level": "error"},
    }


def _pascal(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


class _Files:
    """Which files was the report made of, and how are they named in it?"""

    def __init__(self, boots: Sequence[BootReport]) -> None:
        read = [file for boot in boots for file in boot.platform.files]
        self.names = list(dict.fromkeys(file.name for file in read))
        self._text = {file.name for file in read if file.kind == "text"}

    def location(self, name: str) -> Json:
        """Which artifact location is a file (3.4)? Relative names stay relative."""
        place: Json = {"uri": quote(name.encode("utf-8", "backslashreplace"))}
        if name in self.names:
            place["index"] = self.names.index(name)
        return place

    def physical(self, name: str, line: int | None) -> Json:
        """Which physical location is a line of a file (3.29)? Only text has lines, from 1."""
        place: Json = {"artifactLocation": self.location(name)}
        if line and (name in self._text or name not in self.names):
            place["region"] = {"startLine": line}
        return place


def _result(finding: Finding, places: dict[str, int], files: _Files) -> Json:
    """Which result is a finding (3.27)?"""
    parts = [
        finding.message,
        *(("seen: " + finding.seen,) if finding.seen else ()),
        *(("expected: " + finding.expected,) if finding.expected else ()),
        *(("hint: " + finding.hint,) if finding.hint else ()),
    ]
    made: Json = {
        "ruleId": finding.rule,
        "level": LEVELS[finding.severity],
        "message": {"text": "\n".join(map(printable, parts))},
        "occurrenceCount": finding.count,
        "partialFingerprints": {"topbitFinding/v1": _fingerprint(finding)},
        "properties": {"agent": finding.agent},
    }
    if finding.rule in places:
        made["ruleIndex"] = places[finding.rule]
    placed = [piece for piece in finding.evidence if piece.source]
    if placed:
        made["locations"] = [_location(placed[0], files)]
        related = [_location(piece, files) for piece in placed[1:]]
        made["relatedLocations"] = [{"id": n, **at} for n, at in enumerate(related, 1)]
    elif files.names:  # found by what the files do not tell
        made["locations"] = [{"physicalLocation": files.physical(files.names[0], None)}]
    if finding.device:
        logical = {"name": printable(finding.device), "kind": "resource"}
        made.setdefault("locations", [{}])[0]["logicalLocations"] = [logical]
    return made


def _location(piece: Evidence, files: _Files) -> Json:
    return {
        "physicalLocation": files.physical(piece.source, piece.line),
        "message": {"text": printable(f"{piece.agent}: {piece.text}")},
    }


def _fingerprint(finding: Finding) -> str:
    """What stays the same of a finding from run to run?"""
    told = [finding.rule, finding.severity, finding.agent, finding.device, finding.message]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _notifications(boot: BootReport, made: Sequence[Case], files: _Files) -> Iterator[Json]:
    """What is there to say beside the findings (3.58)?"""
    for entry in boot.checked.not_checked:
        text = f"{entry.rule} was not checked: {entry.reason}"
        yield {
            "level": "note",
            "message": {"text": printable(text)},
            "associatedRule": {"id": entry.rule},
        }
    for unparsed in boot.platform.unparsed:
        yield _unparsed(unparsed, files)
    for case in made:
        if case.id in (FINISHED, JUDGED) and not good([case]):
            yield {"level": "error", "message": {"text": case.message}}
    for kind in boot.checked.unjudged:
        if kind.first.source:
            place = _location(kind.first, files)
            text = f"no rule judges this: {kind.tells} ({kind.count} times)"
            yield {"level": "warning", "message": {"text": printable(text)}, "locations": [place]}


def _unparsed(entry: Unparsed, files: _Files) -> Json:
    text = f"{entry.count} entries look like events and could not be read, first: {entry.text}"
    return {
        "level": "warning",
        "message": {"text": printable(text)},
        "locations": [{"physicalLocation": files.physical(entry.source, entry.line)}],
    }
