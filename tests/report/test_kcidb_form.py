"""KCIDB submissions, held against KCIDB's own package and its schema 5.3."""

from __future__ import annotations

import json
from typing import Any

import pytest
from kcidb_io.schema import V5_3

from report_kinds import KINDS
from topbit.errors import InputError
from topbit.report.cases import cases
from topbit.report.kcidb_form import STATUS, render, render_error


def submitted(text: str) -> Any:
    data = json.loads(text)
    V5_3.validate_exactly(data)
    assert "\\u0000" not in text  # the database takes none
    return data


@pytest.mark.parametrize("kind", KINDS)
def test_every_case_is_a_test_of_its_boots_build(kind: str) -> None:
    data = submitted(render(KINDS[kind]))
    builds = {build["id"]: build["checkout_id"] for build in data["builds"]}
    assert set(builds.values()) == {checkout["id"] for checkout in data["checkouts"]}
    assert len(builds) == len(KINDS[kind])
    made = [case for made in cases(KINDS[kind]) for case in made]
    assert [test["path"] for test in data["tests"]] == [f"topbit.{case.id}" for case in made]
    assert [test["status"] for test in data["tests"]] == [STATUS[case.outcome] for case in made]
    assert {test["build_id"] for test in data["tests"]} == set(builds)
    assert len({test["id"] for test in data["tests"]}) == len(made)


def test_the_same_report_has_the_same_ids_and_another_one_others() -> None:
    assert render(KINDS["violation"]) == render(KINDS["violation"])
    ids = [submitted(render(KINDS[kind]))["builds"][0]["id"] for kind in ("ok", "violation")]
    assert ids[0] != ids[1]
    assert all(each.startswith("topbit:") for each in ids)


def test_a_long_excerpt_is_cut_where_the_schema_says() -> None:
    (test,) = [t for t in submitted(render(KINDS["many"]))["tests"] if t["path"] == "topbit.F1"]
    assert len(test["log_excerpt"]) == 16384


def test_a_failure_is_told_with_its_rule_and_its_lines() -> None:
    (test,) = [t for t in submitted(render(KINDS["violation"]))["tests"] if t["status"] == "FAIL"]
    assert test["comment"].startswith("No translation fault at the unprotected alias")
    assert test["log_excerpt"].startswith("VIOLATION F1  the VMM did not map")
    assert test["environment"]["misc"] == {"scheme": "arm-cca", "ipa_bits": 41}


def test_an_error_is_a_missed_test() -> None:
    (test,) = submitted(render_error(InputError("is empty", where="a")))["tests"]
    assert (test["status"], test["comment"]) == ("MISS", "a: is empty")
