"""What is there to say about one recording: its platform, what was seen, what was found?"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from topbit.recording import Platform, Recording
from topbit.report.summary import Summary, summarise
from topbit.rules import Checked, check
from topbit.rules.privacy import Answered, answered
from topbit.rules.private_dma import private_dma


@dataclass(frozen=True, slots=True)
class BootReport:
    """What is known, seen and found in one recording, which is one boot of a guest?

    Attributes:
        platform: the facts, and where they come from.
        summary: what was recorded, in numbers.
        checked: findings, and rules that could not be checked.
        recording: what it is about, for the forms that draw it.
        private_dma: of the mappings of trusted devices, which are confidential, and why not.
    """

    platform: Platform
    summary: Summary
    checked: Checked
    recording: Recording
    private_dma: tuple[Answered, ...] = ()

    @classmethod
    def of(cls, recording: Recording) -> BootReport:
        """What is there to say about this recording? Runs all rules."""
        with ThreadPoolExecutor(1) as aside:
            # Polars counts there while rules are at work here, and the other way round.
            summary = aside.submit(summarise, recording)
            private = aside.submit(lambda: answered(private_dma(recording)))
            checked = check(recording)
        return cls(recording.platform, summary.result(), checked, recording, private.result())
