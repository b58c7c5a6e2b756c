"""Pages that are read in bulk tell what they tell record by record, and only that."""

from __future__ import annotations

import dataclasses
import lzma
import random
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topbit.errors import InputError
from topbit.readers.columns import Columns
from topbit.readers.trace_dat import cpu_columns
from topbit.readers.trace_dat.bulk_pages import PageRecords, walk
from topbit.readers.trace_dat.bulk_records import BulkDecoder
from topbit.readers.trace_dat.event_format import Field, Format
from topbit.readers.trace_dat.ring_buffer import PADDING
from trace_dat_bench import EVERY_KIND, FORMS, SAMPLES, TRACE_DAT, TWO_CPUS, a_map, boot_of
from trace_dat_files import Buffer, TraceDat, as_the_kernel, event, page


def three_cpus(records: Callable[[int, int], Iterable[bytes]]) -> TraceDat:
    """Which file has four pages of each of three CPUs? `records`: by CPU and page."""
    pages = {
        cpu: b"".join(page(*records(cpu, at), time=(cpu + 1) * 10**9 + at) for at in range(4))
        for cpu in range(3)
    }
    return TraceDat([Buffer(pages)])


LONG = three_cpus(lambda cpu, _: [a_map(delta=cpu + 1), *EVERY_KIND[:-1]] * 2)
COMPACT = three_cpus(
    lambda cpu, at: map(as_the_kernel, [a_map(delta=cpu + 1), *EVERY_KIND[: 3 + at]] * 2)
)
"""As LONG, each record in the form that the kernel gives it, and each page with another number."""
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
@pytest.mark.parametrize(
    "file", [TWO_CPUS, LONG, COMPACT], ids=["every kind", "long", "as the kernel"]
)
def test_made_files(file: TraceDat, form: Callable[[TraceDat], bytes]) -> None:
    data = form(file)
    assert told(data) == record_by_record(data)


@pytest.mark.parametrize("file", [LONG, COMPACT], ids=["long", "as the kernel"])
def test_nearly_all_is_read_in_bulk(file: TraceDat, monkeypatch: pytest.MonkeyPatch) -> None:
    pages: list[int] = []
    singly = cpu_columns.CpuColumns._page_by_page

    def count(self: Any, data: bytes, numbers: list[int]) -> Any:
        pages.extend(numbers)
        return singly(self, data, numbers)

    monkeypatch.setattr(cpu_columns.CpuColumns, "_page_by_page", count)
    boot = boot_of(file.version_6())
    assert len(boot.table) > 100
    assert pages == []


def a_sync(device: str, address: int) -> bytes:
    return as_the_kernel(event("dma_sync_single_for_cpu", device, address, 512, 1))


@pytest.mark.parametrize(
    "devices",
    [["0000:00:01.0"], ["0000:00:01.0", "0000:00:01.1"], ["eth0", "a-much-longer-name.of.one"]],
    ids=["one", "alike", "of other lengths"],
)
def test_names_of_devices(devices: list[str]) -> None:
    told_of = [a_sync(device, at << 12) for at in range(1, 9) for device in devices]
    data = TraceDat([Buffer({0: page(*told_of) * 3})]).version_6()
    boot = boot_of(data)
    assert boot.table["device"].to_list() == devices * 24
    assert told(data) == record_by_record(data)


@pytest.mark.parametrize("offset", [12, 13, 15])
def test_fields_at_odd_places(offset: int) -> None:
    usual = TraceDat([Buffer({0: page(*[a_sync("0000:00:01.0", at << 12) for at in range(9)])})])
    data = usual.version_6()
    changed = data.replace(b"dma_addr;\toffset:16;", b"dma_addr;\toffset:%d;" % offset)
    assert changed != data
    assert told(changed) == record_by_record(changed)
    assert told(changed) != told(data)


def test_wide_records_are_read_one_by_one() -> None:
    names = ("device", "dma_addr", "size", "dir")
    sizes = dict(zip(names, (4, 8, 8, 4), strict=True))

    def bulk(step: int) -> BulkDecoder:
        fields = {
            name: Field(name, 8 + at * step, sizes[name], int(name == "device"))
            for at, name in enumerate(names)
        }
        form = Format("dma_sync_single_for_cpu", fields)
        return BulkDecoder({7: form}, Columns("trace.dat"))

    assert bulk(8).numbers == {7}
    assert bulk(20_000).numbers == frozenset()


@pytest.mark.parametrize("length", [4, 6, 7, 8, 9])
def test_padding_between_records(length: int) -> None:
    padding = struct.pack("<II", 7 << 5 | PADDING, length) + bytes(length - 4)
    some = [a_sync("0000:00:01.0", at << 12) for at in range(1, 9)]
    data = TraceDat([Buffer({0: page(*some, padding, *some)})]).version_6()
    assert told(data) == record_by_record(data)
    assert len(boot_of(data).table) == 16


def test_too_short_for_its_name() -> None:
    short = bytearray(a_sync("0000:00:01.0", 1 << 12))
    short[0] -= 2  # words
    some = [a_sync("0000:00:01.0", at << 12) for at in range(1, 9)]
    for events in ([*some, bytes(short[:-8])], [bytes(short[:-8]), *some]):
        data = TraceDat([Buffer({0: page(*events)})]).version_6()
        assert told(data) == record_by_record(data)
        assert boot_of(data).unparsed is not None


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 1 << 32))
def test_changed_files(seed: int) -> None:
    rng = random.Random(seed)
    whole = rng.choice((LONG, COMPACT)).version_6() if rng.random() < 0.7 else TWO_CPUS.version_7()
    data = bytearray(whole)
    first = len(data) - 12 * 4096 if rng.random() < 0.8 else 0
    for _ in range(rng.choice((1, 2, 8, 60))):
        at = rng.randrange(max(first, 0), len(data))
        data[at] = rng.choice((0, 1, 29, 30, 31, 0xFF, rng.randrange(256)))
    assert told(bytes(data)) == record_by_record(bytes(data))
