"""Which loops of numba's look at the events of a long recording, if any?"""

from __future__ import annotations

import sys
from typing import Any

from topbit.recording import Recording

MANY = 1 << 20
"""Events from which on numba, where it is loaded, saves more time than is lost by loading loops."""


def loops_for(recording: Recording) -> Any:
    """The module `compiled`, if it is worth to be loaded; else None."""
    if len(recording.frame) < MANY or sys.modules.get("numba") is None:
        return None
    from topbit.replay import compiled

    return compiled
