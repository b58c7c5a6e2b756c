"""What is the report as JUnit XML: a test suite for each boot, a test case for each rule?

The elements are those of the schema of Jenkins's xUnit plugin (junit-10.xsd), which GitLab, Jenkins
and most others read. There is no time in it: nothing was run for a rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from topbit.errors import TopbitError, printable
from topbit.report.boot import BootReport
from topbit.report.cases import Case, Outcome, boot_name, cases, count


def render(boots: Sequence[BootReport]) -> str:
    """What is the document, with its line end?"""
    suites = [
        _suite(boot, made, boot_name(boots, number))
        for number, (boot, made) in enumerate(zip(boots, cases(boots), strict=True), 1)
    ]
    return _document(suites)


def render_error(error: TopbitError) -> str:
    """What is the document where there is no report?"""
    suite = _element("testsuite", name="topbit", tests=1, failures=1, errors=0, skipped=0)
    case = _element("testcase", classname="topbit", name="run")
    case.append(_told("failure", str(error), [], type="error"))
    suite.append(case)
    return _document([suite])


def _document(suites: Sequence[ET.Element]) -> str:
    whole = _element("testsuites", name="topbit")
    for key in ("tests", "failures", "errors"):
        whole.set(key, str(sum(int(suite.attrib[key]) for suite in suites)))
    whole.extend(suites)
    ET.indent(whole)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(whole, encoding="unicode")}\n'


def _suite(boot: BootReport, made: Sequence[Case], name: str) -> ET.Element:
    suite = _element(
        "testsuite",
        name=f"topbit.{name}",
        tests=len(made),
        failures=count(made, Outcome.FAILED, Outcome.OPEN),
        errors=0,
        skipped=count(made, Outcome.SKIPPED),
    )
    facts = {
        "kernel": boot.platform.kernel,
        "scheme": boot.platform.scheme,
        "ipa_bits": boot.platform.ipa_bits,
        "machine": boot.platform.machine,
        "events": boot.summary.events,
    }
    properties = _element("properties")
    properties.extend(
        _element("property", name=key, value=value)
        for key, value in facts.items()
        if value is not None
    )
    suite.append(properties)
    suite.extend(map(_case, made))
    return suite


def _case(case: Case) -> ET.Element:
    element = _element(
        "testcase", classname=f"topbit.{case.family}", name=f"{case.id} {case.statement}"
    )
    if case.outcome is Outcome.FAILED:
        element.append(_told("failure", case.message, case.lines, type=case.id))
    elif case.outcome is Outcome.OPEN:
        element.append(_told("failure", case.message, case.lines, type="inconclusive"))
    elif case.outcome is Outcome.SKIPPED:
        element.append(_told("skipped", case.message, []))
    elif case.lines:
        element.append(_told("system-out", "", case.lines))
    return element


def _told(tag: str, message: str, lines: Sequence[str], **attributes: str) -> ET.Element:
    element = _element(tag, **({"message": message} if message else {}), **attributes)
    element.text = "\n".join(lines) or None
    return element


def _element(tag: str, **attributes: object) -> ET.Element:
    # XML has no way at all to write most control characters.
    return ET.Element(tag, {key: printable(str(value)) for key, value in attributes.items()})
