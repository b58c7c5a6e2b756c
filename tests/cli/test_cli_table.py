import dataclasses
import json

import pytest

from observed_boots import table
from topbit import api
from topbit.cli import main
from topbit.report.dma_observed_table import ObservedTable


def test_the_table_of_one_platform(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", "--kernel", "6.15", "--scheme", "arm-cca", "--ipa-bits", "36"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Linux 6.15: the address a device is given\n")
    assert "0x0000000880100000" in out


def test_what_changed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["table", "--kernel", "7.4", "--against", "7.3", "--format", "json"]
    assert main([*words, "--scheme", "none", "--scheme", "arm-cca"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["changes"] == []
    assert [d["name"] for d in document["differences"]] == [
        "pool_size_tracked",
        "restricted_pool_kib",
    ]
    assert {row["scheme"] for row in document["rows"]} == {"none", "arm-cca"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--kernel", "new"], "'new' is no kernel release"),
        (["--kernel", "proposed:new"], "nobody proposed"),
        (["--against", "x"], "'x' is no kernel release"),
        (["--scheme", "arm"], "no scheme is called 'arm'"),
        (["--ipa-bits", "53"], "53 is no width"),
        (["--kernel", "6.12", "--scheme", "arm-cca"], "cannot be a Realm"),
        (["--ipa-bits", "41", "--ipa-bits", "42"], "--observe takes several"),
        (["--flavour", "full"], "--flavour: goes with a kernel that boots (--observe)"),
        (["--modules", "lib"], "--modules: goes with a kernel that boots (--observe)"),
        (["--observe", "--prove"], "--observe: what runs is one kernel in a Realm"),
        (["--observe", "--against", "7.2"], "--observe: what runs is one kernel in a Realm"),
        (["--observe", "--scheme", "amd-sev"], "--observe: what runs is one kernel in a Realm"),
    ],
)
def test_what_it_does_not_take(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["table", *words]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert (captured.out, captured.err.count("\n")) == ("", 1)


@pytest.mark.parametrize(
    ("words", "bits", "flavour"),
    [
        ([], (41, 42, 48, 52), "cloud"),
        (["--ipa-bits", "52", "--ipa-bits", "41", "--ipa-bits", "52"], (52, 41), "cloud"),
        (["--flavour", "full", "--scheme", "arm-cca"], (41, 42, 48, 52), "full"),
    ],
)
@pytest.mark.parametrize("series", ["7.2", "7.3"])
def test_what_a_kernel_did(
    words: list[str],
    bits: tuple[int, ...],
    flavour: str,
    series: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: dict[str, object] = {}

    def observed(kernel: str, **options: object) -> ObservedTable:
        asked.update(options)
        return table((kernel, 41))

    monkeypatch.setattr(api, "observe", observed)
    assert main(["table", "--observe", "--kernel", series, *words]) == 0
    assert (asked["ipa_bits"], asked["flavour"], asked["modules"]) == (bits, flavour, None)
    assert capsys.readouterr().out == table((series, 41)).render("text")


def test_a_kernel_that_does_otherwise(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    boot = table(("7.3", 41)).boots[0]
    first = dataclasses.replace(boot.seen[0], differs="so")
    other = ObservedTable("7.3", (dataclasses.replace(boot, seen=(first, *boot.seen[1:])),))
    monkeypatch.setattr(api, "observe", lambda kernel, **options: other)
    assert main(["table", "--observe", "--format", "json"]) == 1
    assert json.loads(capsys.readouterr().out)["differences"] == 1
