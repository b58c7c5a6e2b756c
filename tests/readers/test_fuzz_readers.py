"""No bytes make `topbit check` fail as it should not (the long run: tools/fuzz_readers.py)."""

from __future__ import annotations

from pathlib import Path

from fuzz_readers import Fuzz


def test_mutated_files(tmp_path: Path) -> None:
    fuzz = Fuzz(seed=3, keep=tmp_path / "failures")
    fuzz.run(150)
    assert fuzz.failures == []
    assert fuzz.statuses[0] + fuzz.statuses[4] > 50
    assert fuzz.statuses[2] > 10
