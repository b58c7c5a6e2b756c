"""JUnit XML, as a peer reads it: junitparser, in the flavour of Jenkins's schema junit-10.xsd."""

from xml.etree import ElementTree as ET

import pytest
from junitparser import xunit2

from report_kinds import KINDS
from topbit.errors import InputError
from topbit.report.cases import Outcome, cases
from topbit.report.junit_form import render, render_error
from topbit.rules.rule import RULES

# junit-10.xsd: which attributes has each element, those that it must have first.
ATTRIBUTES = {
    "testsuites": ("", "name tests failures errors"),
    "testsuite": ("name tests failures errors", "skipped"),
    "properties": ("", ""),
    "property": ("name value", ""),
    "testcase": ("name", "classname"),
    "failure": ("", "message type"),
    "skipped": ("", "message type"),
    "system-out": ("", ""),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_peer_counts_the_same(kind: str) -> None:
    read = xunit2.JUnitXml.fromstring(render(KINDS[kind]).encode())
    suites = list(read)
    assert len(suites) == len(KINDS[kind])
    for suite, made in zip(suites, cases(KINDS[kind]), strict=True):
        told = (suite.tests, suite.failures, suite.skipped, suite.errors)
        suite.update_statistics()
        assert (suite.tests, suite.failures, suite.skipped, suite.errors) == told
        assert [case.name.partition(" ")[0] for case in suite] == [case.id for case in made]
        for read_case, case in zip(suite, made, strict=True):
            assert read_case.is_failure == (case.outcome in (Outcome.FAILED, Outcome.OPEN))
            assert read_case.is_skipped == (case.outcome is Outcome.SKIPPED)


@pytest.mark.parametrize("kind", KINDS)
def test_every_element_is_one_of_the_schema(kind: str) -> None:
    for element in ET.fromstring(render(KINDS[kind]).encode()).iter():
        needed, allowed = (set(names.split()) for names in ATTRIBUTES[element.tag])
        assert needed <= set(element.attrib) <= needed | allowed


def test_a_failure_has_its_rule_message_and_lines() -> None:
    text = render(KINDS["violation"])
    root = ET.fromstring(text.encode())
    (case,) = [case for case in root.iter("testcase") if case.find("failure") is not None]
    assert case.attrib == {"classname": "topbit.faults", "name": f"F1 {RULES['F1'].statement}"}
    failure = case.find("failure")
    assert failure is not None
    assert failure.attrib == {
        "message": "the VMM did not map the unprotected alias (nvme0)", "type": "F1",
    }  # fmt: skip
    assert "logs/trace one.txt:812" in (failure.text or "")
    (warned,) = root.iter("system-out")
    assert "WARNING M1" in (warned.text or "")
    assert text.startswith('<?xml version="1.0" encoding="UTF-8"?>\n<testsuites')
    assert text.endswith("</testsuites>\n")


def test_facts_are_properties_and_what_is_unknown_is_left_out() -> None:
    def properties(kind: str) -> dict[str, str]:
        root = ET.fromstring(render(KINDS[kind]).encode())
        return {each.attrib["name"]: each.attrib["value"] for each in root.iter("property")}

    assert properties("ok") == {
        "kernel": "6.14.0", "scheme": "arm-cca", "ipa_bits": "41", "machine": "log", "events": "0",
    }  # fmt: skip
    assert "kernel" not in properties("empty")


def test_an_error_is_a_failed_case() -> None:
    (suite,) = xunit2.JUnitXml.fromstring(render_error(InputError("is empty", where="a")).encode())
    (case,) = suite
    assert (suite.tests, suite.failures) == (1, 1)
    assert case.result[0].message == "a: is empty"
