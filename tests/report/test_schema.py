"""Is every JSON document as its published schema says, and does the schema say all of it?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import topbit
from paths import DATA
from report_made import boot, finding
from report_schema import EXPLAIN, SCHEMA, valid, valid_explanation
from topbit.errors import InputError, RunError, TopbitError, UsageError
from topbit.recording import DeviceFacts, FileFacts, Platform, Reading, Unparsed
from topbit.recording.metadata import RANGES
from topbit.recording.schema import KINDS
from topbit.report.explain_form import Explanation
from topbit.report.explain_form import document as explanation
from topbit.report.explain_form import render_error as explain_error
from topbit.report.json_form import render, render_error
from topbit.rules.finding import Evidence, Unjudged, Verdict

LOGS = sorted(path for path in (DATA / "recordings").iterdir() if path.is_dir())
TRACES = sorted((DATA / "trace_dat").glob("*.dat"))
SCENARIOS = [scenario.name for scenario in topbit.scenarios()]


@pytest.mark.parametrize("schema", [SCHEMA, EXPLAIN])
def test_the_schema_is_one(schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)


def test_an_explanation_names_every_property() -> None:
    shape = EXPLAIN["$defs"]["explanation"]
    assert list(explanation(Explanation(None))) == shape["required"] == list(shape["properties"])


def test_what_cannot_be_explained_is_an_error() -> None:
    told = valid_explanation(explain_error(UsageError("is wrong", where="here", hint="mend it")))
    assert told["error"]["what"] == "is wrong"


@pytest.mark.parametrize("path", [*LOGS, *TRACES], ids=lambda path: path.name)
def test_what_logs_tell_is_valid(path: Path) -> None:
    document = valid(topbit.check(path).render("json"))
    assert document["summary"]["events"] == sum(document["events"].values())
    assert set(document["events"]) <= set(KINDS)
    known = [fact for fact in ("kernel", "realm", "ipa_bits") if document["platform"][fact]]
    assert set(known) <= set(document["platform"]["origins"])


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_runs_tell_is_valid(name: str) -> None:
    report = topbit.check(topbit.run(name))
    document = valid(report.render("json"))
    assert document["exit_status"] == report.exit_status
    assert document["unfinished"] == report.unfinished
    assert len(document["findings"]) == len(report.findings)
    assert len(document["trouble"]) == len(report.unjudged)


def full() -> dict[str, Any]:
    """A document in which nothing is left out."""
    platform = Platform(
        realm=True, ipa_bits=41, kernel="6.18", c_bit=51, pools=[(0, 1)], ram=[(0, 1)],
        devices={"a": DeviceFacts(sid=8, dma_mask=1, bus_dma_limit=2, driver="nvme")},
        msi_doorbells=[5], dma_ranges=[(1, 2, 3)], policies={"a": "b"}, notes=["c"],
        unparsed=[Unparsed("log", 2, 7, "text")], origins={"kernel": "log:1"},
        readings=[Reading("realm", "yes", "why", "what")], files=[FileFacts("log", damage=["cut"])],
    )  # fmt: skip
    shown = [Evidence("text", "log", 1, "guest"), Evidence("text")]
    kind = Unjudged("dmar", "It is.", 2, shown[0])
    one = boot(
        platform, [finding(device="a", evidence=shown, readings=["one"])], unjudged=[kind],
        kinds={"dma_map": 3},
    )  # fmt: skip
    return valid(render([one, one]))


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where stands each value of a document?"""
    children: list[tuple[Any, Any]] = []
    if isinstance(node, dict | list):
        children = list(node.items() if isinstance(node, dict) else enumerate(node))
    below = [place for key, child in children for place in places(child, (*path, key))]
    return [path, *below]


def test_a_document_with_a_key_more_or_less_is_not_valid() -> None:
    """So that nothing can come into the documents that the schema does not tell."""
    document = full()
    free = {"events", "devices", "policies", "origins"}
    for place in places(document):
        changed = json.loads(json.dumps(document))
        node = changed
        for key in place:
            node = node[key]
        if not isinstance(node, dict) or (place and place[-1] in free):
            continue
        for key in list(node):
            if key == "boot":
                continue
            kept = node.pop(key)
            with pytest.raises(AssertionError):
                valid(json.dumps(changed))
            node[key] = kept
        node["more"] = 1
        with pytest.raises(AssertionError):
            valid(json.dumps(changed))


def test_ranges_are_those_of_recordings() -> None:
    platform = SCHEMA["$defs"]["platform"]["properties"]
    low, high = RANGES["ipa_bits"]
    assert (platform["ipa_bits"]["minimum"], platform["ipa_bits"]["maximum"]) == (low, high)


def test_every_verdict_is_told() -> None:
    report = SCHEMA["$defs"]["report"]["properties"]
    assert report["verdict"]["enum"] == [verdict.value for verdict in Verdict]
    assert (report["exit_status"]["minimum"], report["exit_status"]["maximum"]) == (0, 255)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InputError("is empty", where="a\x1b[2J.log", hint="give another"), 2),
        (RunError("QEMU is missing"), 3),
        (TopbitError(""), 2),
    ],
)
def test_an_error_is_a_document_too(error: TopbitError, status: int) -> None:
    document = valid(render_error(error))
    assert document == {
        "error": {"what": error.what, "where": error.where, "hint": error.hint},
        "exit_status": status,
    }


def test_every_part_of_the_schema_is_used() -> None:
    text = json.dumps(SCHEMA)
    assert [name for name in SCHEMA["$defs"] if f"#/$defs/{name}" not in text] == []
