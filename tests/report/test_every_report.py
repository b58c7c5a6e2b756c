"""Every recording and every scenario in every form: the form's own reader takes the document."""

from __future__ import annotations

from functools import cache

import pytest

import topbit
from paths import DATA
from report_kinds import KINDS
from report_readers import read
from topbit.errors import InputError
from topbit.report.forms import FORMS

RECORDINGS = sorted(path.name for path in (DATA / "recordings").iterdir())
FILES = ["logs/messages.txt", "trace_dat/v6-trixie.dat.xz", "trace_dat/v7-zstd-lost.dat"]


@cache
def recorded(place: str) -> topbit.Report:
    return topbit.check(DATA / place)


@cache
def ran(scenario: str) -> topbit.Report:
    return topbit.check(topbit.run(scenario))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", RECORDINGS)
def test_each_recording(name: str, form: str) -> None:
    read(form, recorded(f"recordings/{name}").document(form))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("place", FILES)
def test_a_log_of_all_messages_and_traces(place: str, form: str) -> None:
    read(form, recorded(place).document(form))


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", [scenario.name for scenario in topbit.scenarios()])
def test_each_scenario(name: str, form: str) -> None:
    read(form, ran(name).document(form))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_report(kind: str, form: str) -> None:
    read(form, FORMS[form].document(KINDS[kind]))


@pytest.mark.parametrize("form", [form for form in FORMS if form != "text"])
@pytest.mark.parametrize("what", ["is empty", "\x1b[2J</script> ]]> <LAVA_SIGNAL_x> # ok\n\u202e"])
def test_each_error(what: str, form: str) -> None:
    read(form, FORMS[form].render_error(InputError(what, where=what, hint=what)))
