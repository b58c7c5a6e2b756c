"""The output that README and docs show is what the commands print now."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from paths import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("tool", ["tour.py", "reference.py"])
def test_what_the_documents_show_is_current(tool: str) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / tool), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_document_stands_in_the_site() -> None:
    """`make site`, whose warnings are errors, says the same, and takes a minute."""
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8").splitlines()
    files = [path for path in (ROOT / "docs").rglob("*") if path.suffix in (".md", ".ipynb")]
    names = {str(path.relative_to(ROOT / "docs").with_suffix("")) for path in files}
    assert sorted(names - {"index"} - set(index)) == []


def anchors(page: Path) -> set[str]:
    """Which anchors has a page: those of its titles, as GitHub and MyST make them, and its own?"""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    titles = (title.lower() for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE))
    made = {re.sub(r"[^\w\- ]", "", title).strip().replace(" ", "-") for title in titles}
    return made | set(re.findall(r"^\((\w+)\)=$", text, re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name) if name else page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), target
