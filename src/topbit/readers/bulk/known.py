"""What mean the names that a trace uses: its tasks, events, devices, directions and attributes?

Each different name is looked at once, by what reads such names line by line.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from topbit.readers.bulk.names import Codes, Names
from topbit.readers.bulk.trace_forms import FORMS
from topbit.readers.bulk.words import Mask, Places
from topbit.readers.columns import TASK, Columns
from topbit.readers.ftrace.events import DIRECTIONS
from topbit.readers.ftrace.line import EVENT
from topbit.readers.growing import Array
from topbit.readers.joined import BEGINS
from topbit.readers.roles import KERNEL_TASKS, VMM_TASKS

GOOD, BEGINS_A_LINE, BY_VMM, BY_KERNEL = 1, 2, 4, 8
"""What the head of a line, what stands before its time, tells: nothing in it misleads those who
look for an event; it begins a line; whose task it is."""
FORM_OF = {(form.name, len(form.keys)): number for number, form in enumerate(FORMS)}
_NAMES = sorted({form.name for form in FORMS})
_MOST_FIELDS = max(len(form.keys) for form in FORMS)
_SYSTEM = re.compile(r"(?:dma:|swiotlb:|iommu:)?(\w+)")
_SINGLE = re.compile(r"\S{1,80}")
_ATTRIBUTES = re.compile(r"[A-Z_|]*")
_UNKNOWN = -1


class Known:
    """Which names does a trace use, and what does each mean? One for all chunks of a file.

    Args:
        columns: where the events go, whose vocabularies the words get their numbers from.
    """

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        self.heads, self.events = Names(), Names()
        self.values = {what: Names() for what in ("device", "dir", "attrs", "other")}
        self._meanings: dict[str, Array] = {}
        self._lock = threading.Lock()
        self._forms = np.full((len(_NAMES) + 1, _MOST_FIELDS + 1), _UNKNOWN, np.int32)
        for (name, fields), number in FORM_OF.items():
            self._forms[_NAMES.index(name), fields] = number

    def forms(self, codes: Codes, fields: Places) -> Array:
        """Which forms have events of these names with so many fields? -1: none that is known."""
        names = self._meaning("event", self.events, codes, _name)
        found: Array = self._forms[names, fields]
        return found

    def head(self, codes: Codes) -> Array:
        """What tell the heads of lines with these numbers? Flags as above."""
        return np.maximum(self._meaning("head", self.heads, codes, _head), 0)

    def task(self, heads: Array) -> Array:
        """Whose tasks have these heads: words of the column TASK?"""
        vmm, kernel = self.number(TASK, "vmm"), self.number(TASK, "kernel")
        by_kernel = np.where((heads & BY_KERNEL) != 0, np.uint8(kernel), np.uint8(0))
        return np.where((heads & BY_VMM) != 0, np.uint8(vmm), by_kernel)

    def word(self, what: str, codes: Codes) -> tuple[Array, Mask]:
        """Which words of their column are these names, and which are of the usual form?"""
        found = self._meaning(what, self.values[what], codes, getattr(self, f"_{what}"))
        good = found >= 0
        numbers = np.maximum(found, 0)
        return numbers.astype(np.min_scalar_type(numbers.max(initial=0))), good

    def number(self, column: str, word: str | None) -> int:
        """Which number has a word of a column?"""
        with self._lock:
            return self.columns.words[column].number(word)

    def _device(self, name: str) -> int:
        return self.number("device", name) if _SINGLE.fullmatch(name) else _UNKNOWN

    def _dir(self, name: str) -> int:
        return self.number("direction", DIRECTIONS[name]) if name in DIRECTIONS else _UNKNOWN

    def _attrs(self, name: str) -> int:
        return self.number("attrs", name or None) if _ATTRIBUTES.fullmatch(name) else _UNKNOWN

    def _other(self, name: str) -> int:
        return 0 if not name or _SINGLE.fullmatch(name) else _UNKNOWN

    def _meaning(self, what: str, names: Names, codes: Codes, tell: Callable[[str], int]) -> Array:
        known: Any = self._meanings.get(what)
        count = len(names.texts)
        if known is None or len(known) < count:
            start = 0 if known is None else len(known)
            texts = names.texts[start:count]
            new = np.array([tell(text) for text in texts], np.int32)
            known = new if known is None else np.concatenate((known, new))
            known[0] = _UNKNOWN
            self._meanings[what] = known
        found: Array = known[codes]
        return found


def _name(text: str) -> int:
    match = _SYSTEM.fullmatch(text)
    known = match is not None and match[1] in _NAMES
    return _NAMES.index(match[1]) if match and known else len(_NAMES)


def _head(text: str) -> int:
    if EVENT.search(text) or "EVENTS" in text or "entries-written" in text:
        return 0
    told = GOOD
    if BEGINS.match(text):
        told |= BEGINS_A_LINE
    if VMM_TASKS.search(text):
        told |= BY_VMM
    elif KERNEL_TASKS.search(text):
        told |= BY_KERNEL
    return told
