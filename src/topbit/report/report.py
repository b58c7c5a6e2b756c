"""What is there to say about a run: its verdict, what was found, and how it is shown?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from topbit.recording import Recording
from topbit.report.boot import BootReport
from topbit.report.forms import form_named
from topbit.report.frame import framed
from topbit.rules.finding import Finding, Unjudged, Verdict, verdict_of
from topbit.rules.privacy import Answered

UNFINISHED = 3
"""Exit status of a run that broke no rule and did not come to the end of its work."""


@dataclass(frozen=True, slots=True, repr=False)
class Report:
    """Did every agent keep the convention, and what shows it?

    A report is neither true nor false, lest `assert check(recording)` pass: ask for `ok` or for
    `verdict`. `str(report)` is its text, `repr` one line.

    Attributes:
        boots: what is known, seen and found, boot by boot; a recording is one boot, the files of
            a run tell of each boot that stands in them. The last one comes last.
    """

    boots: tuple[BootReport, ...]

    @classmethod
    def of(cls, *recordings: Recording) -> Report:
        """What is there to say about these boots of one run? Runs all rules on each."""
        return cls(tuple(map(BootReport.of, recordings)))

    @property
    def findings(self) -> list[Finding]:
        """What was found? Boot by boot, in each the worst first."""
        return [finding for boot in self.boots for finding in boot.checked.findings]

    @property
    def unjudged(self) -> list[Unjudged]:
        """Which trouble does no finding judge? Boot by boot, in each by kind."""
        return [kind for boot in self.boots for kind in boot.checked.unjudged]

    @property
    def private_dma(self) -> list[Answered]:
        """Which mappings of trusted devices are confidential, which are not, and why?"""
        return [answer for boot in self.boots for answer in boot.private_dma]

    @property
    def verdict(self) -> Verdict:
        """Was any rule violated, in any boot; if not, is anything left open?"""
        return verdict_of(boot.checked for boot in self.boots)

    @property
    def unfinished(self) -> str:
        """Why did the run not come to the end of its work? Empty if it did, or nothing tells."""
        return self.boots[-1].platform.unfinished

    @property
    def ok(self) -> bool:
        """Was no rule violated, nothing left open, and did the run come to the end of its work?"""
        return self.exit_status == 0

    @property
    def exit_status(self) -> int:
        """Which exit status tells it?

        1 for a violation, else 3 for a run that did not end its work, else that of the command
        that ran in the guest if it failed, else the verdict's.
        """
        if self.verdict is Verdict.VIOLATION:
            return self.verdict.exit_status
        if self.unfinished:
            return UNFINISHED
        return self.command_status or self.verdict.exit_status

    @property
    def command_status(self) -> int | None:
        """How did the command end that the user had run in the guest? None without one."""
        return self.boots[-1].platform.command_status

    def render(self, form: str = "text") -> str:
        """What is the whole report in this form, with line ends?

        Args:
            form: "text" for people, "json" for programs; `topbit.report.forms.FORMS` has all.

        Raises:
            UsageError: there is no such form, or it is binary.
        """
        return form_named(form).render(self.boots)

    def document(self, form: str) -> bytes:
        """What is the whole report in this form, as it stands in a file?

        Raises:
            UsageError: there is no such form.
        """
        return form_named(form).document(self.boots)

    def _repr_html_(self) -> str:
        """What does a notebook show: the page, in a frame of its own?"""
        return framed(self.render("html"), "topbit report")

    def __str__(self) -> str:
        return self.render().rstrip("\n")

    def __repr__(self) -> str:
        return f"<Report: {self.verdict}, {len(self.findings)} findings>"

    def __bool__(self) -> NoReturn:
        raise TypeError("a report is neither true nor false: ask for its .ok or its .verdict")
