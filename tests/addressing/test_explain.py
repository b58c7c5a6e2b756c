"""What one address means."""

import json

import pytest

from topbit.addressing.explain import explain
from topbit.cli import main
from topbit.errors import UsageError


def test_the_alias_of_a_shared_page() -> None:
    meaning = explain(0x100433CE000, 41)
    assert (meaning.half, meaning.canonical, meaning.alias) == (
        "unprotected",
        0x433CE000,
        0x433CE000,
    )


def test_a_protected_address() -> None:
    meaning = explain(0x433CE000, 41)
    assert (meaning.half, meaning.alias) == ("protected", 0x100433CE000)


@pytest.mark.parametrize(("address", "bits"), [(1 << 40 | 0x1000, 41), (1 << 51, 52)])
def test_outside_looks_like_an_alias_of_a_wider_realm(address: int, bits: int) -> None:
    meaning = explain(address, 33)
    assert (meaning.half, meaning.alias, meaning.looks_like) == ("outside", None, bits)


def test_text_names_the_bit_and_prints_16_digits(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "0x100433ce000", "--ipa-bits", "41"]) == 0
    out = capsys.readouterr().out
    assert "0x00000100433ce000" in out
    assert "shared bit: bit 40" in out


def test_out_of_range_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "100433ce000", "--ipa-bits", "40"]) == 0
    assert "looks like  an alias under 41 bits" in capsys.readouterr().out


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "0x100433ce000", "--ipa-bits", "41", "--format", "json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["half"] == "unprotected"
    assert data["canonical"] == "0x00000000433ce000"
    assert data["shared_bit"] == 40


@pytest.mark.parametrize(
    "argv",
    [
        ["explain", "zz", "--ipa-bits", "41"],
        ["explain", "0x1", "--ipa-bits", "53"],
        ["explain", "0x1", "--ipa-bits", "31"],
        ["explain", "0x10000000000000000", "--ipa-bits", "41"],
        ["explain", "-1", "--ipa-bits", "41"],
        ["explain", "0x1000"],
    ],
)
def test_bad_input_is_one_line_and_status_2(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = main(argv)
    except SystemExit as stop:  # argparse takes "-1" for an option
        status = int(stop.code or 0)
    captured = capsys.readouterr()
    assert status == 2
    assert captured.out == ""
    assert "Traceback" not in captured.err


def test_explain_refuses_what_is_no_address() -> None:
    with pytest.raises(UsageError):
        explain(1 << 64, 41)
