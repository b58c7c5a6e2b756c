"""In which forms can a report be shown?

The one place where a form is registered: its name for `--format`, the suffixes of files that get
it, and the module that makes it, which is imported when the form is asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from topbit.errors import TopbitError, UsageError, nearest

if TYPE_CHECKING:
    from topbit.report.boot import BootReport

Render: TypeAlias = "Callable[[Sequence[BootReport]], str]"


@dataclass(frozen=True, slots=True)
class Form:
    """Which form is it, and who makes it?

    Attributes:
        name: what `--format` calls it.
        suffixes: endings of file names that mean it, with their dot.
        module: where its `render(boots) -> str` stands, and of a form for programs
            `render_error(error) -> str`; the text ends with a line end.
    """

    name: str
    suffixes: tuple[str, ...]
    module: str

    def render(self, boots: Sequence[BootReport]) -> str:
        """What is the whole report in this form?"""
        render: Render = importlib.import_module(self.module).render
        return render(boots)

    def render_error(self, error: TopbitError) -> str:
        """What is printed instead of a report when there is none; nothing in the form for people.

        What went wrong is told on stderr besides.
        """
        told = getattr(importlib.import_module(self.module), "render_error", None)
        return "" if told is None else str(told(error))


FORMS = {
    form.name: form
    for form in (
        Form("text", (".txt",), "topbit.report.text_form"),
        Form("json", (".json",), "topbit.report.json_form"),
    )
}
"""Every form, by name; the first is the one for people."""


def form_named(name: str) -> Form:
    """Which form has this name?

    Raises:
        UsageError: none has.
    """
    if name not in FORMS:
        raise UsageError(f"no form of report is called {name!r}", hint=nearest(name, FORMS))
    return FORMS[name]


def form_for(path: Path) -> Form:
    """Which form does a file of this name get?

    Raises:
        UsageError: its suffix means none.
    """
    known = {suffix: form for form in FORMS.values() for suffix in form.suffixes}
    if path.suffix not in known:
        raise UsageError(
            f"{path.suffix or 'no suffix'!r} names no form of report",
            where=str(path),
            hint=f"end the name in {' or '.join(known)}, or name one with --format",
        )
    return known[path.suffix]
