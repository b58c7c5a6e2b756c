"""How are findings shown?

Belongs here: one module per output form (text, JSON), and the summary that all forms share.
Does not belong here: verdicts, and reading or writing recordings. A new output is a new module
and a line in `FORMATS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from topbit.report import json_form, text_form
from topbit.report.report import Report

__all__ = ["FORMATS", "Report", "render"]

FORMATS: dict[str, Callable[[Sequence[Report]], str]] = {
    "text": text_form.render,
    "json": json_form.render,
}
"""Every output form, by the name that --format takes."""


def render(reports: Sequence[Report], form: str) -> str:
    """What is the whole report, in the named form, with a line end?"""
    return FORMATS[form](reports)
