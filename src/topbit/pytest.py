"""What can a VMM's or a kernel's own pytest suite demand of a run: that no agent broke a rule?

    def test_the_disk_is_let_in(topbit_check):
        run_my_vmm(trace="trace.txt", console="console.log")
        topbit_check(["trace.txt", "console.log"], ipa_bits=41)

Installed with topbit, pytest finds the fixture by itself. Without a fixture:

    from topbit.pytest import assert_no_violation
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, Unpack

import pytest

if TYPE_CHECKING:
    from topbit.readers.options import ReadOptions
    from topbit.recording import Recording
    from topbit.report.report import Report

    Checked: TypeAlias = (
        Report | Recording | str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
    )

PAGE = "topbit.html"
"""The report that a failed check of the fixture leaves in the test's `tmp_path`."""


class TopbitCheck(Protocol):
    """What does the fixture take? As `assert_no_violation`."""

    def __call__(
        self, checked: Checked, *, inconclusive: bool = False, **options: Unpack[ReadOptions]
    ) -> Report:
        """Fail the test unless the convention was kept; returns the report."""


def assert_no_violation(
    checked: Checked, *, inconclusive: bool = False, **options: Unpack[ReadOptions]
) -> Report:
    """Did every agent keep the convention? If not, the test fails with the report as its message.

    Args:
        checked: files of a run, a recording, or a report.
        inconclusive: also pass if no rule was broken, but trouble was seen that no rule judges, or
            nothing could be judged.
        options: of files only, as for `topbit.read`: `ipa_bits`, `trusted`, ...

    Raises:
        InputError, UsageError: see `topbit.check`.
    """
    report = _report(checked, options)
    if not _passes(report, inconclusive):
        pytest.fail(str(report), pytrace=False)
    return report


@pytest.fixture
def topbit_check(tmp_path: Path) -> TopbitCheck:
    """Which check can a test make? As `assert_no_violation`; a failed one leaves a page to open."""

    def check(
        checked: Checked, *, inconclusive: bool = False, **options: Unpack[ReadOptions]
    ) -> Report:
        report = _report(checked, options)
        if not _passes(report, inconclusive):
            page = tmp_path / PAGE
            page.write_bytes(report.document("html"))
            pytest.fail(f"{report}\n\nthe same as a page: {page}", pytrace=False)
        return report

    return check


def _report(checked: Checked, options: ReadOptions) -> Report:
    from topbit.api import check
    from topbit.report.report import Report

    if isinstance(checked, Report):
        return checked
    given: Any = checked  # that a recording takes no options is told when they are given
    return check(given, **options)


def _passes(report: Report, inconclusive: bool) -> bool:
    return report.ok or (
        inconclusive and report.verdict == "inconclusive" and not report.unfinished
    )
