"""Is the report one JSON document with what it promises?"""

from __future__ import annotations

import dataclasses
import json
import math

import pytest

from report_made import REALM, boot, finding
from topbit.recording import Platform
from topbit.recording.platform import Unparsed
from topbit.report.json_form import document, render
from topbit.report.transfers import Transfers
from topbit.rules.finding import Evidence, NotChecked, Unjudged
from topbit.rules.privacy import Answered, Privacy

LINES = Unparsed("trace", 3, 7, "text")


def test_the_document_has_facts_numbers_and_findings() -> None:
    platform = dataclasses.replace(REALM, kernel="6.18", unparsed=[LINES])
    unchecked = NotChecked("V1", "A statement.", "a reason")
    made = document(
        [boot(platform, [finding()], [unchecked], events=9, transfers=(), kinds={"dma_map": 9})]
    )
    assert made["verdict"] == "violation"
    assert made["boots"] == 1
    assert made["platform"]["kernel"] == "6.18"
    assert made["platform"]["shared_bit"] == 40
    assert "unparsed" not in made["platform"]
    assert made["summary"]["events"] == 9
    assert made["events"] == {"dma_map": 9}
    assert "kinds" not in made["summary"]
    assert (made["exit_status"], made["unfinished"]) == (1, "")
    assert made["findings"] == [finding().to_dict()]
    assert made["unparsed"] == 3
    assert made["unparsed_lines"] == [{"source": "trace", "count": 3, "line": 7, "text": "text"}]
    assert made["not_checked"] == [
        {"rule": "V1", "statement": "A statement.", "reason": "a reason"}
    ]


def test_without_a_width_there_is_no_shared_bit() -> None:
    assert document([boot(Platform())])["platform"]["shared_bit"] is None


@pytest.mark.parametrize(
    ("severities", "verdict"),
    [((), "ok"), (("warning", "note"), "ok"), (("note", "violation"), "violation")],
)
def test_the_verdict(severities: tuple[str, ...], verdict: str) -> None:
    findings = [finding(severity) for severity in severities]  # type: ignore[arg-type]
    assert document([boot(findings=findings)])["verdict"] == verdict


def test_several_boots_are_numbered_and_the_last_one_is_described() -> None:
    first = boot(dataclasses.replace(REALM, kernel="6.14", unparsed=[LINES]), [finding()], events=1)
    second = boot(dataclasses.replace(REALM, unparsed=[LINES]), [finding("note")], events=2)
    made = document([first, second])
    assert [(each["boot"], each["severity"]) for each in made["findings"]] == [
        (1, "violation"), (2, "note"),
    ]  # fmt: skip
    assert (made["boots"], made["verdict"]) == (2, "violation")
    assert (made["platform"]["kernel"], made["summary"]["events"]) == (None, 2)
    assert (made["unparsed"], len(made["unparsed_lines"])) == (6, 2)


def test_trouble_that_no_finding_judges_is_told() -> None:
    kind = Unjudged("dmar", "It is.", 2, Evidence("a line", "log", 7, "host"))
    made = document([boot(unjudged=[kind])])
    first = {"text": "a line", "source": "log", "line": 7, "agent": "host"}
    told = {"kind": "dmar", "tells": "It is.", "count": 2, "first": first}
    assert (made["trouble"], made["verdict"], made["exit_status"]) == ([told], "inconclusive", 4)
    made = document([boot(), boot(dataclasses.replace(REALM, unfinished="stuck"), unjudged=[kind])])
    assert made["trouble"] == [{**told, "boot": 2}]
    assert (made["exit_status"], made["unfinished"]) == (3, "stuck")


def test_what_is_no_json_is_no_document() -> None:
    transfer = Transfers("disk", "", "r", seconds=math.nan)
    with pytest.raises(ValueError, match="not JSON compliant"):
        render([boot(transfers=(transfer,))])


def test_the_text_is_the_document_and_a_line_end() -> None:
    text = render([boot(findings=[finding()])])
    assert text.endswith("\n}\n")
    assert text == json.dumps(document([boot(findings=[finding()])]), indent=2) + "\n"
    assert text.splitlines()[1].startswith('  "verdict"')


def test_what_was_answered_of_trusted_devices() -> None:
    answer = Answered("accel0", Privacy.NOT, "its page is shared", 2, ())
    made = dataclasses.replace(boot(), private_dma=(answer,))
    told = {
        "device": "accel0", "answer": "not confidential", "why": "its page is shared", "count": 2,
        "evidence": [],
    }  # fmt: skip
    assert document([made])["private_dma"] == [told]
    assert document([boot(), made])["private_dma"] == [told | {"boot": 2}]
    assert json.loads(render([made]))["private_dma"] == [told]
