"""The output that README and docs show is what the commands print now."""

import subprocess
import sys

import pytest

from paths import ROOT


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


def test_links_between_documents_lead_somewhere() -> None:
    import re

    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.name}: {target}"
