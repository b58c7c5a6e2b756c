"""Is each made-up run judged as an engineer would, and is nobody accused who did nothing?"""

from __future__ import annotations

from pathlib import Path

import pytest

from case_logs import RIGHT, UNJUDGED, WRONG, Case
from topbit.readers.read import read
from topbit.rules import check
from topbit.rules.finding import Checked, Verdict, verdict_of


def checked(folder: Path, case: Case) -> Checked:
    files, options, _ = case
    paths = []
    for name, text in files.items():
        path = folder / f"{name}.txt"
        path.write_text(str(text))
        paths.append(path)
    return check(read(paths, **options)[-1])


def told(found: Checked) -> set[str]:
    return {f"{f.severity} {f.agent} {f.rule}" for f in found.findings if f.severity != "note"}


@pytest.mark.parametrize("case", RIGHT.values(), ids=RIGHT)
def test_nobody_is_accused(tmp_path: Path, case: Case) -> None:
    found = checked(tmp_path, case)
    assert told(found) == set()
    assert found.unjudged == []


@pytest.mark.parametrize("case", WRONG.values(), ids=WRONG)
def test_who_did_it_is_named_and_nobody_else(tmp_path: Path, case: Case) -> None:
    assert told(checked(tmp_path, case)) == {case[2]}


@pytest.mark.parametrize("case", UNJUDGED.values(), ids=UNJUDGED)
def test_what_no_rule_judges_is_no_clean_verdict(tmp_path: Path, case: Case) -> None:
    found = checked(tmp_path, case)
    assert told(found) == set()
    assert [kind.kind for kind in found.unjudged] == [case[2]]
    assert verdict_of([found]) is Verdict.INCONCLUSIVE
