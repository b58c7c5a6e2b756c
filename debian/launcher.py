#!/usr/bin/python3
"""How does Debian's python3 find topbit? In ../lib/topbit, before all else."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lib" / "topbit"))

from topbit.cli import command

sys.exit(command())
