"""LAVA's lines, read as lava-dispatcher 2023.01 does."""

from __future__ import annotations

import re

import pytest

from report_kinds import KINDS
from topbit.errors import InputError
from topbit.report.cases import cases
from topbit.report.lava_form import RESULTS, render, render_error

SIGNAL = re.compile(r"<LAVA_SIGNAL_(\S+) ([^>]+)>")  # actions/test/shell.py


def signals(text: str) -> list[tuple[str, str]]:
    return SIGNAL.findall(text)


@pytest.mark.parametrize("kind", KINDS)
def test_each_case_is_one_signal_in_the_set_of_its_boot(kind: str) -> None:
    found = signals(render(KINDS[kind]))
    expected: list[tuple[str, str]] = []
    for number, made in enumerate(cases(KINDS[kind]), 1):
        name = f"topbit-boot-{number}" if len(KINDS[kind]) > 1 else "topbit-boot"
        expected.append(("TESTSET", f"START {name}"))
        expected += [
            ("TESTCASE", f"TEST_CASE_ID={case.id} RESULT={RESULTS[case.outcome]}") for case in made
        ]
        expected.append(("TESTSET", "STOP"))
    assert found == expected


def test_an_id_has_no_space_and_a_result_is_one_that_lava_knows() -> None:
    for kind, content in signals(render(KINDS["violation"])):
        if kind == "TESTCASE":
            pairs = dict(part.split("=") for part in content.split())
            assert list(pairs) == ["TEST_CASE_ID", "RESULT"]
            assert pairs["RESULT"] in {"pass", "fail", "skip", "unknown"}


def test_what_shows_a_failure_stands_before_its_signal() -> None:
    lines = render(KINDS["violation"]).splitlines()
    place = lines.index("<LAVA_SIGNAL_TESTCASE TEST_CASE_ID=F1 RESULT=fail>")
    assert lines[place - 1] == "    source    cover letter"


def test_an_error_is_no_result() -> None:
    text = render_error(InputError("is <LAVA_SIGNAL_TESTCASE x>", where="a"))
    assert signals(text) == [("TESTCASE", "TEST_CASE_ID=topbit RESULT=unknown")]
    assert text.startswith("a: is <_LAVA_SIGNAL_TESTCASE x>\n")
