"""A file's bytes, part by part, and large texts that are read so."""

from __future__ import annotations

from pathlib import Path

import pytest

from mixed_traces import Guest
from topbit.readers import source, stored_bytes
from topbit.readers.read import read
from topbit.readers.source import open_source
from topbit.readers.stored_bytes import StoredBytes

DATA = bytes(range(256)) * 5


@pytest.fixture
def stored(tmp_path: Path) -> StoredBytes:
    (tmp_path / "f").write_bytes(DATA)
    return StoredBytes(tmp_path / "f")


@pytest.mark.parametrize(
    "part", [slice(0, 10), slice(5, 5), slice(1270, 9999), slice(None), slice(9)]
)
def test_parts(stored: StoredBytes, part: slice) -> None:
    assert stored[part] == DATA[part]
    assert len(stored) == len(DATA)


@pytest.mark.parametrize("block", [7, 256, 4096])
def test_find(stored: StoredBytes, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_bytes, "BLOCK", block)
    for start in (0, 10, 11, 1034, 1035, 5000):
        assert stored.find(b"\n", start) == DATA.find(b"\n", start)


def test_a_file_that_is_cut_while_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(DATA)
    stored = StoredBytes(tmp_path / "f")
    (tmp_path / "f").write_bytes(DATA[:300])
    assert stored[200:400] == DATA[200:300]


def test_a_large_text_tells_what_it_tells_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "trace.txt"
    path.write_text("\n".join(Guest(seed=5).lines(2000, faults=1)))
    (whole,) = read([path])
    monkeypatch.setattr(source, "LARGE", 1000)
    assert isinstance(open_source(path).data, StoredBytes)
    (streamed,) = read([path])
    assert streamed.frame.equals(whole.frame)
    assert streamed.platform == whole.platform
