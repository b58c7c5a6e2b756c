"""Make the manual pages and the shells' completion from the argument parser.

python tools/man_pages.py FOLDER    topbit.1, topbit-run.1, ...; topbit.bash, _topbit (zsh)
"""

from __future__ import annotations

import argparse
import copy
import re
import sys
from pathlib import Path

import shtab
from argparse_manpage.manpage import Manpage

from topbit import __version__
from topbit.cli import parser

ABOUT = {
    "project_name": "topbit",
    "version": __version__,
    "manual_title": "User Commands",
    "description": "run, check and explain device DMA in confidential virtual machines",
}
SHELLS = {"bash": "topbit.bash", "zsh": "_topbit"}


def pages() -> dict[str, str]:
    """Which pages are there, by file name? One for topbit, one for each verb."""
    whole = parser()
    (verbs,) = (a for a in whole._actions if isinstance(a, argparse._SubParsersAction))
    made = {"topbit.1": str(Manpage(copy.deepcopy(whole), _data=dict(ABOUT)))}
    for verb, below in verbs.choices.items():
        told = {**ABOUT, "description": str(below.description)}
        below = copy.deepcopy(below)
        below.prog = f"topbit-{verb}"
        made[f"topbit-{verb}.1"] = str(Manpage(below, _data=told))
    return {name: _as_text(page) for name, page in made.items()}


def _as_text(page: str) -> str:
    """Which page is it, where a line of words begins with a suffix such as ".txt,"?"""
    return re.sub(r"^\.(?=[a-z0-9]+[,)])", r"\\&.", page, flags=re.MULTILINE)


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    completions = {name: shtab.complete(parser(), shell) for shell, name in SHELLS.items()}
    for name, text in {**pages(), **completions}.items():
        (folder / name).write_text(text.rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
