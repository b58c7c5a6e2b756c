"""What does one file tell about one boot of one machine?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from topbit.events import Event
from topbit.readers.columns import EXACT, Columns
from topbit.readers.kernel_log.facts import LogFacts
from topbit.readers.roles import Signs
from topbit.recording import Unparsed
from topbit.recording.schema import COLUMNS

if TYPE_CHECKING:
    import polars

SHOWN = 160
"""How many characters of an unparsed line are shown."""
PRINTK_CLOCKS = {"local", "global", "perf"}
"""The clocks of a trace that the kernel log's time stamps come from too.

Source: Linux 7.2 kernel/sched/clock.c:local_clock.
"""


@dataclass(slots=True)
class Boot:
    """What does one file tell about one boot of one machine?

    Attributes:
        source: the file.
        facts: what its kernel log told.
        signs: what it shows of whose it is.
        table: trace events, log events and SMMU events, in the order of the lines: the columns of
            the event table, and those of `readers.columns`.
        unparsed: lines that looked like events, if any.
        lost_events: trace events that were lost.
        clock: what the times of its trace are taken from; empty if it does not say.
        vmm_ipa_bits: width of the IPA space and the line, where a VMM says it.
        lines: how many lines or records were read.
        notes: what a reader of the report must know about it.
    """

    source: str
    facts: LogFacts = field(default_factory=LogFacts)
    signs: Signs = field(default_factory=Signs)
    table: polars.DataFrame = field(default_factory=lambda: Columns("").frame())
    unparsed: Unparsed | None = None
    lost_events: int = 0
    clock: str = ""
    vmm_ipa_bits: tuple[int, int] | None = None
    lines: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Did the file tell nothing at all about this boot?"""
        return not (len(self.table) or self.facts.seen_lines or self.unparsed or self.vmm_ipa_bits)

    def exact_lines(self) -> int:
        """How many lines of a trace are told so exactly that their copies are known?"""
        import polars

        exact = polars.col(EXACT).is_not_null()
        lines = self.table.lazy().filter(exact).select(polars.col("line").rle_id().max())
        found = lines.collect().item()
        return 0 if found is None else int(found) + 1

    @property
    def events(self) -> list[Event]:
        """Which events are they, one by one?"""
        return [Event(**row) for row in self.table.select(COLUMNS).iter_rows(named=True)]

    def add_unparsed(self, number: int, line: str) -> None:
        """Count a line that looks like an event and cannot be read."""
        if self.unparsed is None:
            self.unparsed = Unparsed(self.source, 0, number, line.strip()[:SHOWN])
        self.unparsed.count += 1
