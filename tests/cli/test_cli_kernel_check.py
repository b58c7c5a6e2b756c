import io
import json
import sys
from pathlib import Path

import pytest

import needs
import small_tree
from topbit.cli import main
from topbit.kernel_tree.tree import RSI
from topbit.store import sources

OLD, NEW = "BIT(config.ipa_bits - 1)", "__phys_to_pte_val(BIT(config.ipa_bits - 1))"
PATCH = (
    f"--- a/{RSI[0]}\n+++ b/{RSI[0]}\n@@ -1,4 +1,4 @@\n void init(void)\n {{\n"
    f"-\tprot_ns_shared = {OLD};\n+\tprot_ns_shared = {NEW};\n }}\n"
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    needs.program("gcc")
    return small_tree.write(tmp_path / "tree")


def test_a_tree(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["kernel", "check", str(tree)]) == 0
    assert "WARNING  page tables" in capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["--exit-for", "bisect"]])
def test_a_patch_that_brings_a_fault(
    tree: Path, tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    needs.program("git")
    (tmp_path / "x.patch").write_text(PATCH)
    command = ["kernel", "check", str(tmp_path / "x.patch"), "--tree", str(tree)]
    assert main([*command, *words]) == 1
    out = capsys.readouterr().out
    assert "brings      page-table encoding\n" in out
    assert OLD in (tree / RSI[0]).read_text()


def test_a_mail_on_standard_input_for_b4(
    tree: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    needs.program("git")
    stdin = io.TextIOWrapper(io.BytesIO(f"Subject: x\n\n{PATCH}".encode()))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert main(["kernel", "check", "-", "--tree", str(tree), "--format", "b4"]) == 1
    assert json.loads(capsys.readouterr().out)[0]["status"] == "fail"


def test_a_series_of_debians(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sources, "fetch", lambda name, note, fetched: tree)
    assert main(["kernel", "check", "7.9", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["release"] == "7.9.1"
    assert main(["kernel", "fetch", "--source", "7.9"]) == 0
    assert capsys.readouterr().out == f"{tree}\n"


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["{tmp}"], 2, "is no kernel source tree: it has no Makefile"),
        (["{tmp}/none"], 2, "is no folder"),
        (["{tmp}/x.patch"], 2, "--tree"),
        (["{tmp}", "--exit-for", "bisect"], 125, "no kernel source tree"),
    ],
)
def test_what_cannot_be_checked(
    tmp_path: Path, words: list[str], status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.patch").write_text(PATCH)
    assert main(["kernel", "check", *(word.format(tmp=tmp_path) for word in words)]) == status
    captured = capsys.readouterr()
    assert said in captured.err
    assert (captured.out, captured.err.count("\n")) == ("", 1)
