"""What is the report in the lines that a LAVA lab reads from a job's output?

A test set for each boot, a test case for each rule. An id holds no space, so the words stand in
lines of their own before it, which LAVA keeps in the log.

Source: lava-dispatcher 2023.01, lava_dispatcher/actions/test/shell.py (`signal`:
`<LAVA_SIGNAL_(\\S+) ([^>]+)>`) and its SignalMatch; results are pass, fail, skip or unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from topbit.errors import TopbitError
from topbit.report.boot import BootReport
from topbit.report.cases import Outcome, boot_name, cases

RESULTS = {
    Outcome.PASSED: "pass",
    Outcome.FAILED: "fail",
    Outcome.SKIPPED: "skip",
    Outcome.OPEN: "unknown",
}


def render(boots: Sequence[BootReport]) -> str:
    """What are the lines, with their line ends?"""
    return "".join(line + "\n" for line in _lines(boots))


def render_error(error: TopbitError) -> str:
    """What are the lines where there is no report?"""
    return f"{_words(str(error))}\n{_signal('topbit', 'unknown')}\n"


def _lines(boots: Sequence[BootReport]) -> Iterator[str]:
    for number, made in enumerate(cases(boots), 1):
        yield f"<LAVA_SIGNAL_TESTSET START topbit-{boot_name(boots, number)}>"
        for case in made:
            yield f"{case.id}: {case.statement}"
            yield from (f"  {_words(line)}" for line in case.lines)
            yield _signal(case.id, RESULTS[case.outcome])
        yield "<LAVA_SIGNAL_TESTSET STOP>"


def _signal(case: str, result: str) -> str:
    return f"<LAVA_SIGNAL_TESTCASE TEST_CASE_ID={case} RESULT={result}>"


def _words(line: str) -> str:
    # A log line of somebody else must not pass for a signal.
    return line.replace("<LAVA_", "<_LAVA_")
