"""Does the guest hang, beyond doubt and for a reason that is known?

Two ways are: Linux asks again and again for a conversion that the host refuses, and before init has
begun a driver waits for a device whose accesses fault. Everything else has its limits of its own
(each step of init, the run's timeout).
"""

from __future__ import annotations

from topbit.events import Event
from topbit.recording.schema import ERROR

REFUSALS = 200
"""After how many refusals of one conversion in a row does nobody expect another answer?"""
SILENCE = 30.0
"""Seconds without a sign of life after which a driver that waits for a faulting device is lost."""


class HangWatch:
    """What has happened that tells of a hang?

    - `see` takes each event of the host.
    - `hung` is asked now and then: empty while there is hope.
    """

    def __init__(self) -> None:
        self._refused: tuple[int | None, str | None] | None = None
        self._refusals = 0
        self._faults = 0
        self._life: tuple[int, ...] = ()
        self._since = 0.0

    def see(self, event: Event) -> None:
        """Take an event of RMM, VMM or SMMU."""
        if event.event == "smmu_event":
            self._faults += 1
        elif event.event == "convert":
            asked = (event.phys, event.attrs) if event.status == ERROR else None
            self._refusals = self._refusals + 1 if asked and asked == self._refused else 1
            self._refused = asked

    def hung(self, now: float, life: tuple[int, ...], *, limited: bool) -> str:
        """Why is there no hope any more? Empty: there is.

        Args:
            now: seconds.
            life: counts of what only a living guest adds to.
            limited: what the guest does now has limits of its own.
        """
        if self._refused and self._refusals >= REFUSALS:
            phys, to = self._refused
            return (
                f"hung: the host refused {self._refusals} times in a row to make IPA "
                f"0x{phys or 0:016x} {to}, and Linux asks for ever"
            )
        if life != self._life or limited or not self._faults:
            self._life, self._since = life, now
        elif now - self._since > SILENCE:
            return f"hung: no sign of life for {SILENCE:.0f} s after {self._faults} SMMU events"
        return ""
