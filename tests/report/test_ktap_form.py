"""KTAP, as the kernel's own parser reads it (tools/testing/kunit/kunit_parser.py)."""

from __future__ import annotations

import importlib
import io
from typing import Any

import pytest

import needs
from report_kinds import KINDS
from topbit.errors import InputError
from topbit.report.cases import Outcome, cases, good
from topbit.report.ktap_form import render, render_error

STATUS = {
    Outcome.PASSED: "SUCCESS", Outcome.FAILED: "FAILURE", Outcome.OPEN: "FAILURE",
    Outcome.SKIPPED: "SKIPPED",
}  # fmt: skip


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What does the kernel's parser make of a text?"""
    monkeypatch.syspath_prepend(str(needs.oracle("kunit/kunit_parser.py").parent))
    parser: Any = importlib.import_module("kunit_parser")
    printer: Any = importlib.import_module("kunit_printer")
    monkeypatch.setattr(printer.stdout, "_output", io.StringIO())
    # Since Linux 6.15 it takes whom to print to.
    to = [printer.null_printer] if hasattr(printer, "null_printer") else []

    def parse(text: str) -> Any:
        return parser.parse_run_tests(iter(text.splitlines(keepends=True)), *to)

    return parse


@pytest.mark.parametrize("kind", KINDS)
def test_the_kernels_parser_reads_every_case(kind: str, parsed: Any) -> None:
    whole = parsed(render(KINDS[kind]))
    assert whole.counts.errors == 0
    assert len(whole.subtests) == len(KINDS[kind])
    for test, made in zip(whole.subtests, cases(KINDS[kind]), strict=True):
        assert [each.status.name for each in test.subtests] == [STATUS[c.outcome] for c in made]
        assert [each.name.split()[0] for each in test.subtests] == [case.id for case in made]
        assert (test.status.name == "SUCCESS") is good(made)


def test_an_error_is_a_failed_test(parsed: Any) -> None:
    text = render_error(InputError("is empty", where="a#b"))
    (test,) = parsed(text).subtests
    assert test.status.name == "FAILURE"
    assert text == "KTAP version 1\n1..1\n# a#b: is empty\nnot ok 1 topbit # ERROR is empty\n"


def test_what_shows_a_failure_stands_before_its_result() -> None:
    lines = render(KINDS["violation"]).splitlines()
    place = next(n for n, line in enumerate(lines) if line.startswith("  not ok "))
    assert lines[place].split()[3] == "F1"
    assert lines[place - 1] == "  # F1: source    cover letter"
    assert "  # F1: guest     dma_map nvme0 ...   logs/trace one.txt:812" in lines
    assert lines[-1] == "not ok 1 topbit boot"


def test_a_skipped_case_says_why_after_the_directive() -> None:
    text = render(KINDS["not checked"])
    assert text.count(" # SKIP no event # of it\n") > 20
    for line in text.splitlines():
        if line.strip().startswith(("ok", "not ok")):
            assert "#" not in line.replace(" # SKIP no event # of it", "")
