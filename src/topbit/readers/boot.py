"""What does one file tell about one boot of one machine?"""

from __future__ import annotations

from dataclasses import dataclass, field

from topbit.events import Event
from topbit.readers.kernel_log.facts import LogFacts
from topbit.readers.roles import Signs
from topbit.recording import Unparsed

SHOWN = 160
"""How many characters of an unparsed line are shown."""


@dataclass(slots=True)
class Boot:
    """What does one file tell about one boot of one machine?

    Attributes:
        source: the file.
        facts: what its kernel log told.
        signs: what it shows of whose it is.
        events: trace events, log events and SMMU events, in the order of the lines.
        tasks: line of an IOMMU event of a trace -> whose task made it: "vmm" or "kernel".
        keys: (number that copies of a trace event share, its first event, the one after its
            last), to find copies of one trace in two files.
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
    events: list[Event] = field(default_factory=list)
    tasks: dict[int, str] = field(default_factory=dict)
    keys: list[tuple[int, int, int]] = field(default_factory=list)
    unparsed: Unparsed | None = None
    lost_events: int = 0
    clock: str = ""
    vmm_ipa_bits: tuple[int, int] | None = None
    lines: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Did the file tell nothing at all about this boot?"""
        return not (self.events or self.facts.seen_lines or self.unparsed or self.vmm_ipa_bits)

    def add_unparsed(self, number: int, line: str) -> None:
        """Count a line that looks like an event and cannot be read."""
        if self.unparsed is None:
            self.unparsed = Unparsed(self.source, 0, number, line.strip()[:SHOWN])
        self.unparsed.count += 1


def copy_key(event: Event) -> int | None:
    """Which number do copies of one event share? None if it has no time.

    A trace may be told twice: on the console and in a file, as trace.dat and as its report. Times
    are compared in microseconds, as the kernel's text rounds them.
    """
    if event.time is None:
        return None
    # The kernel rounds half up (kernel/trace/trace.c:ns2usecs).
    stamp = (round(event.time * 1e9) + 500) // 1000
    return hash((stamp, event.event, event.device, event.address, event.phys, event.size))
