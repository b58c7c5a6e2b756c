"""What did every agent do, on which platform? The event table, and its one-file form.

Belongs here: the schema of the event table, the platform facts that go with it, and reading and
writing both as one Parquet file. Does not belong here: parsing logs (`readers/`), making events
(the rooms of the platform), verdicts (`rules/`).
"""

from __future__ import annotations

from topbit.recording.platform import DeviceFacts, FileFacts, Platform, Reading, Unparsed
from topbit.recording.recording import Recording

__all__ = ["DeviceFacts", "FileFacts", "Platform", "Reading", "Recording", "Unparsed"]
