"""What is the report as a submission to KCIDB, the database of kernel test results?

One checkout and one build for each boot's kernel, and a test run for each rule, at the path
`topbit.RULE`. A submission must name its CI system: `ORIGIN` stands for it, in one place, and is to
be replaced by whoever submits. The same report has the same ids, so that it counts once.

Source: KCIDB I/O schema 5.3 (kcidb_io/schema/v05_03.py).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from topbit.errors import TopbitError, printable
from topbit.report.boot import BootReport
from topbit.report.cases import Case, Outcome, boot_name, cases

ORIGIN = "topbit"
VERSION = {"major": 5, "minor": 3}
STATUS = {
    Outcome.PASSED: "PASS",
    Outcome.FAILED: "FAIL",
    Outcome.SKIPPED: "SKIP",
    Outcome.OPEN: "ERROR",
}
LONGEST_EXCERPT = 16384
"""Characters of `log_excerpt`."""


def render(boots: Sequence[BootReport]) -> str:
    """What is the submission, as JSON text with its line end?"""
    checkouts, builds, tests = [], [], []
    for number, (boot, made) in enumerate(zip(boots, cases(boots), strict=True), 1):
        key = _key(boot, made, number)
        kernel = printable(boot.platform.kernel or "unknown")
        checkouts.append({"id": key, "origin": ORIGIN, "comment": f"Linux {kernel}", "valid": True})
        builds.append(
            {
                "id": key,
                "origin": ORIGIN,
                "checkout_id": key,
                "comment": f"Linux {kernel}",
                "status": "PASS",
            }
        )
        environment = {
            "comment": f"topbit, {boot_name(boots, number)}, machine {boot.platform.machine}",
            "misc": {"scheme": boot.platform.scheme, "ipa_bits": boot.platform.ipa_bits},
        }
        tests += [_test(case, key, environment) for case in made]
    return _document(checkouts=checkouts, builds=builds, tests=tests)


def render_error(error: TopbitError) -> str:
    """What is the submission where there is no report: one run that missed?"""
    key = f"{ORIGIN}:{_digest(str(error))}"
    test = {
        "id": f"{key}.topbit",
        "origin": ORIGIN,
        "build_id": key,
        "path": "topbit",
        "status": "MISS",
        "comment": str(error),
    }
    return _document(checkouts=[], builds=[], tests=[test])


def _document(**lists: Sequence[dict[str, Any]]) -> str:
    return json.dumps({"version": VERSION, **lists}, indent=2) + "\n"


def _test(case: Case, key: str, environment: dict[str, Any]) -> dict[str, Any]:
    test: dict[str, Any] = {
        "id": f"{key}.{case.id}",
        "origin": ORIGIN,
        "build_id": key,
        "path": f"topbit.{case.id}",
        "status": STATUS[case.outcome],
        "comment": case.statement,
        "environment": environment,
        "misc": {"source": case.source},
    }
    if case.lines:
        test["log_excerpt"] = ("\n".join(case.lines) + "\n")[:LONGEST_EXCERPT]
    return test


def _key(boot: BootReport, made: Sequence[Case], number: int) -> str:
    told = [[case.id, case.outcome, case.lines] for case in made]
    return f"{ORIGIN}:{_digest(json.dumps([number, boot.platform.to_dict(), told]))}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
