"""Which recording does a file hold?"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import polars
import pytest

from rule_events import REALM, dma_map, dma_unmap
from topbit.errors import InputError
from topbit.events import Event
from topbit.recording import Recording

PLATFORM, EVENTS = REALM, [dma_map(), dma_unmap()]
WORDY = ("agent", "device", "source")
"""Columns that are the same in all rows of one test."""


@pytest.mark.parametrize("kept", [0, 3, 4, 11, 100, -1, -4, -40])
def test_truncated_files_are_clear_errors(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "run.parquet"
    Recording.of_events(PLATFORM, EVENTS).write(path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match=r"run\.parquet"):
        Recording.read(path)


def test_damaged_in_the_middle(tmp_path: Path) -> None:
    path = tmp_path / "run.parquet"
    Recording.of_events(PLATFORM, EVENTS).write(path)
    data = bytearray(path.read_bytes())
    data[-200:-8] = bytes(192)
    path.write_bytes(data)
    with pytest.raises(InputError, match="damaged"):
        Recording.read(path)


def test_a_foreign_parquet_file_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "other.parquet"
    polars.DataFrame({"a": [1]}).write_parquet(path)
    with pytest.raises(InputError, match="not a recording of topbit"):
        Recording.read(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        Recording.read(tmp_path / "none.parquet")


def test_what_is_the_same_in_all_rows_is_read_as_it_was(tmp_path: Path) -> None:
    event = Event("guest", "dma_map", "disk", size=4, time=float("nan"), source="a")
    other = dataclasses.replace(event, address=5, size=None)
    recording = Recording.of_events(PLATFORM, [event, other])
    words = [polars.col(name).cast(polars.Enum(["disk", "guest", "a"])) for name in WORDY]
    path = tmp_path / "run.parquet"
    for frame in (recording.frame, recording.frame.with_columns(words)):
        Recording(PLATFORM, frame).write(path)
        read = Recording.read(path).frame
        assert read.equals(frame.with_columns(time=polars.lit(None, polars.Float64)))
        assert read.schema == frame.schema
