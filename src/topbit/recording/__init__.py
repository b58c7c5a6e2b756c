"""What did every agent do, on which platform? The event table, and its one-file form.

Belongs here: the schema of the event table, the platform facts that go with it, and reading and
writing both as one Parquet file. Does not belong here: parsing logs (`readers/`), making events
(the rooms of the platform), verdicts (`rules/`).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__all__ = ["DeviceFacts", "FileFacts", "Platform", "Reading", "Recording", "Unparsed"]

if TYPE_CHECKING:
    from topbit.recording.platform import DeviceFacts, FileFacts, Platform, Reading, Unparsed
    from topbit.recording.recording import Recording
else:

    def __getattr__(name):
        """Load a name when it is first asked for (PEP 562): a machine needs none until its end."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        home = "recording" if name == "Recording" else "platform"
        value = globals()[name] = getattr(importlib.import_module(f"{__name__}.{home}"), name)
        return value
