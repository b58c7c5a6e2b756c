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

Render: TypeAlias = "Callable[[Sequence[BootReport]], str | bytes]"
RenderError: TypeAlias = "Callable[[TopbitError], str | bytes]"


@dataclass(frozen=True, slots=True)
class Form:
    """Which form is it, and who makes it?

    Attributes:
        name: what `--format` calls it.
        suffixes: endings of file names that mean it, with their dot.
        module: where its `render(boots)` stands: the whole document, as text that ends with a
            line end or, of a binary form, as bytes. One for programs has `render_error(error)` too.
        binary: it is no text.
    """

    name: str
    suffixes: tuple[str, ...]
    module: str
    binary: bool = False

    def document(self, boots: Sequence[BootReport]) -> bytes:
        """What is the whole report in this form, as it stands in a file?"""
        render: Render = importlib.import_module(self.module).render
        return _encoded(render(boots))

    def render(self, boots: Sequence[BootReport]) -> str:
        """What is the whole report in this form, as text?

        Raises:
            UsageError: the form is binary.
        """
        if self.binary:
            raise UsageError(f"the form {self.name} is no text", hint="write it to a file")
        return self.document(boots).decode()

    def render_error(self, error: TopbitError) -> bytes:
        """What is printed instead of a report when there is none; nothing in the form for people.

        What went wrong is told on stderr besides.
        """
        told: RenderError | None = getattr(
            importlib.import_module(self.module), "render_error", None
        )
        return b"" if told is None else _encoded(told(error))


def _encoded(document: str | bytes) -> bytes:
    return document.encode() if isinstance(document, str) else document


FORMS = {
    form.name: form
    for form in (
        Form("text", (".txt",), "topbit.report.text_form"),
        Form("json", (".json",), "topbit.report.json_form"),
        Form("html", (".html", ".htm"), "topbit.report.html_form"),
        Form("junit", (".xml",), "topbit.report.junit_form"),
        Form("ktap", (".ktap", ".tap"), "topbit.report.ktap_form"),
        Form("sarif", (".sarif",), "topbit.report.sarif_form"),
        Form("markdown", (".md",), "topbit.report.markdown_form"),
        Form("kcidb", (), "topbit.report.kcidb_form"),
        Form("lava", (), "topbit.report.lava_form"),
        Form("perfetto", (".pftrace",), "topbit.report.perfetto_form", binary=True),
    )
}
"""Every form, by name; the first is the one for people."""


def matrix_page(matrix: object) -> str:
    """What is the page of a `Matrix`, which is many runs and has no other form but its text?"""
    page: str = importlib.import_module(FORMS["html"].module).render_matrix(matrix)
    return page


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
