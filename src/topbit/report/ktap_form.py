"""What is the report in the Kernel Test Anything Protocol: a subtest for each boot and its rules?

Source: Linux Documentation/dev-tools/ktap.rst, version 1. What else there is to say about a case
stands in diagnostic lines before its result. A `#` would begin a directive, so no name has one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from topbit.errors import TopbitError, printable
from topbit.report.boot import BootReport
from topbit.report.cases import Case, Outcome, boot_name, cases, good

VERSION = "KTAP version 1"
INDENT = "  "


def render(boots: Sequence[BootReport]) -> str:
    """What are the lines, with their line ends?"""
    return "".join(line + "\n" for line in _lines(boots))


def render_error(error: TopbitError) -> str:
    """What are the lines where there is no report?"""
    return f"{VERSION}\n1..1\n# {error}\nnot ok 1 topbit # ERROR {_plain(error.what)}\n"


def _lines(boots: Sequence[BootReport]) -> Iterator[str]:
    yield VERSION
    yield f"1..{len(boots)}"
    for number, made in enumerate(cases(boots), 1):
        yield INDENT + VERSION
        yield f"{INDENT}1..{len(made)}"
        for place, case in enumerate(made, 1):
            yield from (INDENT + line for line in _case(case, place))
        yield f"{_result(good(made))} {number} topbit {boot_name(boots, number)}"


def _case(case: Case, number: int) -> Iterator[str]:
    skipped = case.outcome is Outcome.SKIPPED
    if not skipped:
        yield from (f"# {case.id}: {line.strip()}" for line in case.lines)
    result = _result(good([case]))
    directive = f" # SKIP {case.message}" if skipped else ""
    yield f"{result} {number} {case.id} {_plain(case.statement)}{directive}"


def _result(fine: bool) -> str:
    return "ok" if fine else "not ok"


def _plain(text: str) -> str:
    return printable(text).replace("#", "")
