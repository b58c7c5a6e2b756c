"""Manual pages and completion: groff reads the one, bash the other."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import needs
from paths import ROOT
from topbit.cli import VERBS

PAGES = ["topbit", *(f"topbit-{verb}" for verb in VERBS)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("man")
    python = ROOT / ".venv-docs" / "bin" / "python"
    if not python.exists():
        needs.lacking("`make man` installs what makes the pages")
    subprocess.run([python, ROOT / "tools" / "man_pages.py", made], check=True)
    return made


@pytest.mark.parametrize("name", PAGES)
def test_groff_reads_every_page_without_a_warning(name: str, folder: Path) -> None:
    groff = needs.program("groff")
    page = folder / f"{name}.1"
    done = subprocess.run(
        [groff, "-man", "-ww", "-Tutf8", "-P-cbou", str(page)], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "NAME" in done.stdout
    assert name in done.stdout
    assert str(ROOT) not in page.read_text()


def test_there_is_a_page_for_each_verb_and_no_other(folder: Path) -> None:
    assert {path.stem for path in folder.glob("*.1")} == set(PAGES)
    text = (folder / "topbit-check.1").read_text().replace("\\-", "-")
    assert "--ipa-bits" in text
    assert "inferred from the" in " ".join(text.split())


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["topbit", "ch"], {"check"}),
        (["topbit", "check", "--ipa"], {"--ipa-bits"}),
        (["topbit", "check", "--format", "s"], {"sarif"}),
    ],
)
def test_bash_completes(words: list[str], offered: set[str], folder: Path) -> None:
    script = (
        f"source {folder}/topbit.bash\n"
        f"COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}\n"
        '_shtab_topbit; printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert set(done.stdout.split()) == offered, done.stderr


def test_zsh_gets_a_function_of_its_own(folder: Path) -> None:
    assert (folder / "_topbit").read_text().startswith("#compdef topbit\n")
