"""`topbit --help` and `topbit explain` stay instant: they import nothing heavy."""

import subprocess
import sys
from pathlib import Path

import pytest

from topbit.cli import VERBS, main

HEAVY = {"numpy", "polars", "numba", "rich", "jinja2", "asyncio", "qemu", "zstandard"}


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["--help"], "usage: topbit"),
        (["run", "--help"], "usage: topbit run"),
        (["explain", "0x100433ce000"], "0x00000100433ce000 in an IPA space of 41 bits"),
        (["explain", "0x100433ce000", "--ipa-bits", "52", "--format", "json"], '"ipa_bits": 52'),
    ],
)
def test_only_the_standard_library_and_topbit_are_imported(words: list[str], answer: str) -> None:
    code = (
        "import sys, topbit.cli\n"
        f"try:\n topbit.cli.main({words})\nexcept SystemExit: pass\n"
        "print('\\n'.join(sys.modules), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-X", "frozen_modules=on", "-c", code],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {name.split(".")[0] for name in done.stderr.splitlines()}
    assert not loaded & HEAVY
    third_party = loaded - sys.stdlib_module_names - {"topbit", "__main__"}
    assert {n for n in third_party if not n.startswith(("_", "sitecustomize"))} <= {
        "distutils-precedence",
        "__editable___topbit_0_1_0_finder",
    }
    assert answer in done.stdout


def test_only_what_reads_the_file_is_loaded() -> None:
    sample = Path(__file__).parents[1] / "data" / "trace_dat" / "v7-zlib.dat"
    code = (
        f"import sys, topbit.cli\ntopbit.cli.main(['check', {str(sample)!r}])\n"
        "print('\\n'.join(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.splitlines())
    assert "topbit.readers.trace_dat.reader" in loaded
    assert loaded.isdisjoint(("topbit.readers.text", "topbit.cli.run", "topbit.scenario"))


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([verb, "--help"])
    assert stop.value.code == 0
    assert "usage" in capsys.readouterr().out


def test_output_that_finds_no_room_is_one_line_and_status_2() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "topbit", "run", "seed"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 2
    assert done.stderr == "topbit: the output is incomplete: No space left on device\n"
