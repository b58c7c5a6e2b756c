import json

import pytest

from topbit.cli import main


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
    ],
)
def test_what_it_does_not_take(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["table", *words]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert (captured.out, captured.err.count("\n")) == ("", 1)
