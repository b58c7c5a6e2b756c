"""Nothing that a guest hands out brings topbit down (the long run: tools/fuzz_outbox.py)."""

from __future__ import annotations

from pathlib import Path

import pytest

import fuzz_outbox
from fuzz_outbox import Fuzz


def test_hostile_outboxes(tmp_path: Path) -> None:
    fuzz = Fuzz(7, tmp_path)
    fuzz.run(200)
    assert fuzz.failures == []
    assert fuzz.seen["files of reports"] > 200
    assert fuzz.seen["files written"] > 50
    assert fuzz.seen["trace events"] > 50
    assert 0 < fuzz.seen["names that cannot be"] < 100
    assert 600 < fuzz.seen["streams that came whole"] < 800


def test_what_is_raised_or_written_elsewhere_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unpack(stream: bytes, wanted: object) -> list[str]:
        (tmp_path / "elsewhere").touch()
        raise ValueError("embedded null byte")

    monkeypatch.setattr(fuzz_outbox, "unpack", unpack)
    fuzz = Fuzz(7, tmp_path)
    fuzz.run(1)
    raised, elsewhere = fuzz.failures
    assert "embedded null byte" in raised
    assert "elsewhere" in elsewhere
