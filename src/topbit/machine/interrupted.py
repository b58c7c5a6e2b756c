"""What is left of a run that the user ended?"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from topbit.recording import Recording


class RunInterrupted(KeyboardInterrupt):
    """Which run was ended from outside (Ctrl-C, Ctrl-] at the guest's console), and how far was it?

    No error of topbit's tree, but Python's own interruption: what stops at Ctrl-C stops here too.

    Attributes:
        recording: what everyone did until then.
    """

    def __init__(self, recording: Recording) -> None:
        super().__init__("the run was interrupted")
        self.recording = recording
