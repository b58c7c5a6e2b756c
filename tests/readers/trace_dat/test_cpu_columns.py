"""Pages that are read in bulk tell what they tell record by record, and only that."""

from __future__ import annotations

import dataclasses
import lzma
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topbit.errors import InputError
from topbit.readers.trace_dat import cpu_columns
from topbit.readers.trace_dat.bulk_pages import PageRecords, walk
from trace_dat_bench import EVERY_KIND, FORMS, SAMPLES, TRACE_DAT, TWO_CPUS, a_map, boot_of
from trace_dat_files import Buffer, TraceDat, page

LONG = TraceDat(
    [
        Buffer(
            {
                cpu: b"".join(
                    page(
                        *[a_map(delta=cpu + 1), *EVERY_KIND[:-1]] * 2,
                        time=(cpu + 1) * 10**9 + at,
                    )
                    for at in range(4)
                )
                for cpu in range(3)
            }
        )
    ]
)
FILES = {name: TRACE_DAT / name for name in SAMPLES}


def data_of(path: Path) -> bytes:
    data = path.read_bytes()
    return lzma.decompress(data) if path.suffix == ".xz" else data


def told(data: bytes) -> Any:
    """All that a trace.dat tells."""
    try:
        boot = boot_of(data)
    except InputError as error:
        return str(error)
    return boot.table.rows(), boot.unparsed, boot.lost_events, boot.facts, boot.notes, boot.lines


def record_by_record(data: bytes) -> Any:
    def none(pages: bytes, size: int) -> PageRecords:
        found = walk(b"", size)
        count = len(pages) // size
        return dataclasses.replace(found, whole=np.zeros(count, np.bool_))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cpu_columns, "walk", none)
        return told(data)


@pytest.mark.parametrize("path", FILES.values(), ids=FILES.keys())
def test_recorded_files(path: Path) -> None:
    data = data_of(path)
    assert told(data) == record_by_record(data)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize("file", [TWO_CPUS, LONG], ids=["every kind", "long"])
def test_made_files(file: TraceDat, form: Callable[[TraceDat], bytes]) -> None:
    data = form(file)
    assert told(data) == record_by_record(data)


def test_nearly_all_is_read_in_bulk(monkeypatch: pytest.MonkeyPatch) -> None:
    pages: list[int] = []
    singly = cpu_columns.CpuColumns._page_by_page

    def count(self: Any, data: bytes, numbers: list[int]) -> Any:
        pages.extend(numbers)
        return singly(self, data, numbers)

    monkeypatch.setattr(cpu_columns.CpuColumns, "_page_by_page", count)
    boot = boot_of(LONG.version_6())
    assert len(boot.table) > 300
    assert pages == []


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 1 << 32))
def test_changed_files(seed: int) -> None:
    rng = random.Random(seed)
    data = bytearray(LONG.version_6() if rng.random() < 0.7 else TWO_CPUS.version_7())
    first = len(data) - 12 * 4096 if rng.random() < 0.8 else 0
    for _ in range(rng.choice((1, 2, 8, 60))):
        at = rng.randrange(max(first, 0), len(data))
        data[at] = rng.choice((0, 1, 29, 30, 31, 0xFF, rng.randrange(256)))
    assert told(bytes(data)) == record_by_record(bytes(data))
