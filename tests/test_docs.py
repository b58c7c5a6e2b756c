"""The output that README and docs show is what the commands print now."""

import subprocess
import sys

from paths import ROOT


def test_documented_output_is_current() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools/tour.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_links_between_documents_lead_somewhere() -> None:
    import re

    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.name}: {target}"
