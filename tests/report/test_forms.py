"""The registry of forms."""

import importlib
import pkgutil
from pathlib import Path

import pytest

import topbit.report
from report_made import boot, finding
from topbit.errors import InputError, UsageError
from topbit.report.forms import FORMS, Form, form_for, form_named


def test_every_module_that_renders_a_report_is_registered() -> None:
    registered = {form.module for form in FORMS.values()}
    modules = {f"topbit.report.{m.name}" for m in pkgutil.iter_modules(topbit.report.__path__)}
    forms = {name for name in modules if name.endswith("_form")} - {"topbit.report.explain_form"}
    assert registered == forms
    for name in registered:
        assert callable(importlib.import_module(name).render)


def test_no_suffix_means_two_forms() -> None:
    suffixes = [suffix for form in FORMS.values() for suffix in form.suffixes]
    assert len(suffixes) == len(set(suffixes))


@pytest.mark.parametrize(
    ("path", "name"),
    [("a/b.txt", "text"), ("run.parquet.json", "json"), ("a.sarif", "sarif"), ("a.tap", "ktap")],
)
def test_the_suffix_names_the_form(path: str, name: str) -> None:
    assert form_for(Path(path)) is form_named(name)


@pytest.mark.parametrize("path", ["report.doc", "report", ".json"])
def test_other_suffixes_name_none(path: str) -> None:
    with pytest.raises(UsageError, match=r"names no form.*\.txt or .*\.json.*--format"):
        form_for(Path(path))


def test_an_unknown_form_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'json'"):
        form_named("jsn")


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_document_is_what_the_module_renders(form: Form) -> None:
    boots = [boot(findings=[finding()])]
    made = importlib.import_module(form.module).render(boots)
    assert form.document(boots) == (made if form.binary else made.encode())
    assert isinstance(made, bytes) is form.binary
    if form.binary:
        with pytest.raises(UsageError, match="is no text"):
            form.render(boots)
    else:
        assert form.render(boots) == made


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_form_for_programs_has_a_document_for_an_error(form: Form) -> None:
    document = form.render_error(InputError("is empty", where="a"))
    assert (b"is empty" in document) is (form.name != "text")
