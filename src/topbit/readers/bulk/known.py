"""What mean the texts that repeat in a trace: how its lines begin, what leads to the first number,
and how they end?

Each different text is looked at once, by what reads such texts line by line.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from topbit.readers.bulk.names import Codes, Names
from topbit.readers.bulk.trace_forms import FORMS, LEADS, TAILS
from topbit.readers.bulk.words import U64, Places, Words
from topbit.readers.columns import TASK, Columns
from topbit.readers.ftrace.events import DIRECTIONS
from topbit.readers.ftrace.line import EVENT
from topbit.readers.growing import Array
from topbit.readers.joined import BEGINS
from topbit.readers.roles import KERNEL_TASKS, VMM_TASKS

GOOD, BEGINS_A_LINE, BY_VMM, BY_KERNEL = 1, 2, 4, 8
"""What the head of a line, what stands before its time, tells: nothing in it misleads those who
look for an event; it begins a line; whose task it is."""
NO_FORM, NO_TAIL = len(FORMS), len(TAILS)
# A name may be padded, by `trace-cmd report` and `perf script`.
LEAD = re.compile(
    r": {1,25}(?:dma:|swiotlb:|iommu:)?(\w+): {1,25}"
    r"(?:(IOMMU:)|(dev_name: )?([^\s=[][^\s=]{0,79}))((?: \w+=[^\s=]{0,80})*) (\w+)"
)
"""What stands between the time and the "=" before the first number that differs from line to line.
A bounce's mask is no such number."""
TAIL = re.compile(r"( flags=[^\s=]{0,80})? attrs=([A-Z_|]*)| (FORCE|NORMAL)")
MASK = re.compile("[0-9a-f]{1,16}")


class Known:
    """Which texts does a trace use, and what does each mean? One for all chunks of a file.

    Args:
        columns: where the events go, whose vocabularies the words get their numbers from.

    Attributes:
        heads: they mean flags, as above.
        leads: form (NO_FORM: none), device, direction and mask.
        tails: kind (of TAILS, NO_TAIL: none) and attributes, or status of a bounce.
    """

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        self.heads = Meanings(_head, (0,))
        self.leads = Meanings(self._lead, (NO_FORM, 0, 0, 0))
        self.tails = Meanings(self._tail, (NO_TAIL, 0))

    def task(self, heads: Array) -> Array:
        """Whose tasks have these heads: words of the column TASK?"""
        vmm, kernel = self.number(TASK, "vmm"), self.number(TASK, "kernel")
        by_kernel = np.where((heads & BY_KERNEL) != 0, np.uint8(kernel), np.uint8(0))
        return np.where((heads & BY_VMM) != 0, np.uint8(vmm), by_kernel)

    def number(self, column: str, word: str | None) -> int:
        """Which number has a word of a column?"""
        return self.columns.words[column].number(word)

    def _lead(self, text: str) -> tuple[int, ...] | None:
        match = LEAD.fullmatch(text)
        if match is None:
            return None
        name, iommu, bounced, device, fields, key = match.groups()
        told = dict(part.split("=") for part in fields.split())
        form = LEADS.get((name, iommu or bounced or "", *told, key))
        way, mask = told.get("dir"), told.get("dma_mask", "0")
        if form is None or way not in (None, *DIRECTIONS) or not MASK.fullmatch(mask):
            return None
        direction = None if way is None else DIRECTIONS[way]
        numbers = self.number("device", device), self.number("direction", direction)
        return (form, *numbers, int(mask, 16))

    def _tail(self, text: str) -> tuple[int, ...] | None:
        match = TAIL.fullmatch(text)
        if match is None:
            return None
        flags, attributes, how = match.groups()
        if how:
            return TAILS.index("how"), self.number("status", how)
        return TAILS.index("flags" if flags else "attrs"), self.number("attrs", attributes or None)


def _head(text: str) -> tuple[int, ...] | None:
    if EVENT.search(text) or "EVENTS" in text or "entries-written" in text:
        return None
    told = GOOD
    if BEGINS.match(text):
        told |= BEGINS_A_LINE
    if VMM_TASKS.search(text):
        told |= BY_VMM
    elif KERNEL_TASKS.search(text):
        told |= BY_KERNEL
    return (told,)


class Meanings:
    """What do the texts of one kind mean?

    Args:
        tell: what a text means, in numbers; None if nothing.
        nothing: the numbers then.

    Attributes:
        names: the texts.
        table: what each means, a row for each number and a column for each text.
    """

    def __init__(
        self, tell: Callable[[str], tuple[int, ...] | None], nothing: tuple[int, ...]
    ) -> None:
        self.names, self._tell, self._nothing = Names(), tell, nothing
        self.table = np.array([nothing], np.uint64).T

    def codes(self, words: Words, starts: Places, ends: Places) -> Codes:
        """Which columns of the table tell what the texts from `starts` to `ends` mean?"""
        codes = self.names.encode(words, starts, ends)
        known = self.table.shape[1]
        if known < len(self.names.texts):
            told = [self._tell(text) or self._nothing for text in self.names.texts[known:]]
            new = np.array(told, np.uint64).T
            self.table = np.concatenate((self.table, new), axis=1)
        return codes

    def of(self, words: Words, starts: Places, ends: Places) -> list[U64]:
        """What mean the texts from `starts` to `ends`: an array for each number?"""
        codes = self.codes(words, starts, ends)
        return [numbers[codes] for numbers in self.table]
