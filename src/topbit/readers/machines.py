"""Which machines does one text tell of?

`trace-cmd report host.dat guest.dat` merges the traces of several machines, each line with its
file's name before it. Each is read as a file of its own.
"""

from __future__ import annotations

import dataclasses
import re

from topbit.readers.source import Source

# tracecmd/trace-read.c: the file's name, right-aligned, before the task
FILE = re.compile(r"^ {0,80}([\w.@+/-]{1,80}\.dat): +\S", re.MULTILINE)
MOST = 16
"""Machines of one text."""
LOOK = 1 << 20
"""Bytes at the beginning of a text that tell whether it is such a report."""


def apart(source: Source) -> list[Source]:
    """What tells the text of each machine? Lines keep their numbers; others' are empty.

    Returns:
        the text itself where it is of one machine.
    """
    if b".dat: " not in source.data[:LOOK]:
        return [source]
    names = list(dict.fromkeys(FILE.findall(source.text)))
    if not 2 <= len(names) <= MOST:
        return [source]
    lines = source.text.split("\n")
    owners = [match[1] if (match := FILE.match(line)) else None for line in lines]
    return [
        dataclasses.replace(
            source,
            name=f"{source.name} ({name})",
            data="\n".join(
                line if owner in (name, None) and (owner or name == names[0]) else ""
                for line, owner in zip(lines, owners, strict=True)
            ).encode(),
        )
        for name in names
    ]
