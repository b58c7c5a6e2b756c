"""Which tests does a command's output tell of, as the kernel's own tests do?

Source: Linux Documentation/dev-tools/ktap.rst. Results of a test's own subtests are indented and
are part of its result.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

HEADER = re.compile(r"^K?TAP version \d+\s*$", re.MULTILINE)
RESULT = re.compile(r"^(ok|not ok) \d+(?: (?:- )?([^\n#]*))?(?:# *(\w*)[^\n]*)?$", re.MULTILINE)
EXPECTED = ("SKIP", "TODO", "XFAIL")  # directives of a test that need not pass


@dataclass(frozen=True, slots=True)
class Tests:
    """How many tests ran, and which failed?"""

    count: int
    failed: tuple[str, ...]

    def __str__(self) -> str:
        names = f": {', '.join(self.failed)}" if self.failed else ""
        return f"{self.count} tests, {len(self.failed)} failed{names}"


def read_ktap(output: str) -> Tests | None:
    """Which tests does it tell of? None: it is no KTAP."""
    output = output.replace("\r\n", "\n")
    if not HEADER.search(output):
        return None
    results = [(found[1], (found[2] or "").strip(), found[3]) for found in RESULT.finditer(output)]
    failed = tuple(
        name or "a test without a name"
        for result, name, directive in results
        if result == "not ok" and (directive or "").upper() not in EXPECTED
    )
    return Tests(len(results), failed)
