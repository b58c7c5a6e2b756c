"""Renew the real output that README.md and docs/ show: run every documented command.

A block that begins with a comment `<!-- output of: COMMAND -->` is followed by a fenced block;
its content is replaced by what COMMAND prints (stdout, first lines if `| head -N` is given), a
report as it stands on a terminal of 80 columns.

    python tools/tour.py           renew the files in place
    python tools/tour.py --check   exit 1 if a file would change
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from topbit.report.text_form import wrapped  # noqa: E402

WIDTH = 80
BLOCK = re.compile(
    r"(?P<head><!-- output of: (?P<command>.+?) -->\n```[a-z]*\n)(?P<body>.*?)(?P<tail>```\n)",
    re.DOTALL,
)


def output(command: str) -> str:
    """What does the command print? `| head -N` is done here, so that no shell is needed."""
    command, _, limit = command.partition(" | head -")
    program, *rest = command.split()
    if program != "topbit":
        raise SystemExit(f"only topbit commands are documented this way: {command}")
    done = subprocess.run(
        [sys.executable, "-m", "topbit", *rest],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1, 4) or not done.stdout or done.stderr:
        raise SystemExit(f"{command}: exit status {done.returncode}\n{done.stderr}")
    lines = done.stdout.splitlines()
    if lines[0].startswith("verdict "):
        lines = [part for line in lines for part in wrapped(line, WIDTH)]
    if limit and len(lines) > int(limit):
        lines = [*lines[: int(limit)], "..."]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def renewed(text: str) -> str:
    """Which text has all its outputs renewed?"""
    return BLOCK.sub(lambda m: m["head"] + output(m["command"]) + m["tail"], text)


def main() -> int:
    check = "--check" in sys.argv[1:]
    stale = []
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        text = path.read_text(encoding="utf-8")
        new = renewed(text)
        if new != text:
            stale.append(path.relative_to(ROOT))
            if not check:
                path.write_text(new, encoding="utf-8")
    for path in stale:
        print(f"{path}: {'out of date; run make docs' if check else 'renewed'}")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
