"""Raw ring buffer pages tell what the kernel's own text of the same trace tells."""

from __future__ import annotations

import struct
import tarfile
from dataclasses import replace

import pytest

from paths import DATA
from topbit.events import Event
from topbit.readers.source import Source
from topbit.readers.text import read_text
from topbit.readers.trace_dat.event_format import read_formats
from topbit.readers.trace_dat.raw_event import decoders_of
from topbit.readers.trace_dat.ring_buffer import PAGE, Records, read_pages

RING_BUFFER = DATA / "ring_buffer"
FORMAT = (
    "name: swiotlb_bounced\nID: 7\nformat:\n"
    "\tfield:__data_loc char[] dev_name;\toffset:8;\tsize:4;\tsigned:0;\n"
    "\tfield:u64 dma_mask;\toffset:16;\tsize:8;\tsigned:0;\n"
    "\tfield:dma_addr_t dev_addr;\toffset:24;\tsize:8;\tsigned:0;\n"
    "\tfield:size_t size;\toffset:32;\tsize:8;\tsigned:0;\n"
    "\tfield:bool force;\toffset:40;\tsize:1;\tsigned:0;\n"
)
RECORD = struct.pack("<HBBiIIQQQB3x", 7, 0, 0, 1, 2 << 16 | 41, 0, 0xFF, 0x1000, 512, 0)
RECORD = RECORD[:41] + b"d\0" + RECORD[43:]
EVENT = Event(
    "guest", "swiotlb_bounced", device="d", mask=0xFF, phys=0x1000, size=512, status="NORMAL"
)


def recorded(kernel: str) -> dict[str, bytes]:
    """Text, formats and each CPU's pages of one boot, written by Linux itself one after another."""
    with tarfile.open(RING_BUFFER / f"linux-{kernel}.tar.xz") as archive:
        files = {m.name: archive.extractfile(m) for m in archive.getmembers()}
        return {name.removeprefix("./"): f.read() for name, f in files.items() if f}


def events_of(text: str) -> list[Event]:
    boot = read_text(Source("trace", "text", text.encode()), lambda lines: None)[0]
    assert boot.unparsed is None
    events = boot.events
    for event in events:
        event.line = None
    return events


@pytest.mark.parametrize("kernel", ["6.16", "7.2", "7.3"])
def test_pages_tell_what_the_text_tells(kernel: str) -> None:
    files = recorded(kernel)
    decoders = decoders_of(read_formats(files["formats"].decode()))
    cpus = [read_pages(data, decoders) for name, data in files.items() if name.endswith(".raw")]
    assert not any(cpu.damage or cpu.lost for cpu in cpus)
    records = sorted((r for cpu in cpus for r in cpu.records), key=lambda record: record[0])
    from_pages = [event for _, events in records for event in events]
    for event in from_pages:
        assert event.time is not None
        # The text has microseconds, rounded half up.
        event.time = (round(event.time * 1e9) + 500) // 1000 / 1e6
        event.source = "trace"
    assert len(from_pages) > 3000
    assert from_pages == events_of(files["text"].decode())


def page(*events: bytes, time: int = 1_000_000_000, flags: int = 0, after: bytes = b"") -> bytes:
    data = b"".join(events)
    return (struct.pack("<QQ", time, len(data) | flags) + data + after).ljust(PAGE, b"\0")


def event(delta: int, record: bytes = RECORD) -> bytes:
    return struct.pack("<I", len(record) // 4 | delta << 5) + record


def read(*pages: bytes) -> Records:
    return read_pages(b"".join(pages), decoders_of(read_formats(FORMAT)))


def told(records: Records) -> list[Event]:
    return [event for _, events in records.records for event in events]


def test_times_add_up() -> None:
    extend = struct.pack("<II", 30 | 5 << 5, 1)  # 2^27 + 5 ns
    absolute = struct.pack("<II", 31 | 7 << 5, 64)  # 2^33 + 7 ns
    skipped = struct.pack("<II", 29 | 100 << 5, 8) + bytes(4)
    end = struct.pack("<I", 29)
    records = read(page(event(3), extend, event(0), skipped, event(0), absolute, event(1), end))
    base = 1_000_000_000
    times = [time - base for time, _ in records.records]
    assert times == [3, 8 + (1 << 27), 108 + (1 << 27), (64 << 27) + 8 - base]
    assert told(records)[0] == replace(EVENT, time=1.000000003)


def test_long_records_and_unknown_events() -> None:
    long = struct.pack("<II", 0, len(RECORD) + 4 + 80) + RECORD + bytes(80)
    unknown = event(0, struct.pack("<HBBi", 9, 0, 0, 1))
    records = read(page(long, unknown, event(0)))
    assert (len(told(records)), len(records.records), records.damage) == (2, 3, "")


def test_what_was_lost_is_counted() -> None:
    stored = page(event(0), flags=3 << 30, after=struct.pack("<Q", 41))
    assert read(stored, page(event(0), flags=1 << 31)).lost == 42


@pytest.mark.parametrize(
    "bad",
    [
        page(flags=0x2000),
        page(event(0)[:20]),
        page(struct.pack("<II", 0, 2)),
        page(event(0, RECORD[:12])),
        page(event(0, RECORD[:41] + b"\xff\xff" + RECORD[43:])),
        b"short",
    ],
    ids=["size", "cut off", "negative", "no field", "no text", "no page"],
)
def test_a_page_that_makes_no_sense_is_named_and_others_are_read(bad: bytes) -> None:
    records = read(page(event(0)), bad.ljust(PAGE, b"\0") if bad != b"short" else bad)
    assert len(told(records)) == 1
    assert records.damage.startswith("page 1: ")
    assert records.damaged == 1


def test_a_record_that_makes_no_sense_costs_no_other() -> None:
    records = read(page(event(0), event(0, RECORD[:12]), event(0)))
    assert (len(told(records)), len(records.records), records.damaged) == (2, 3, 1)


def test_of_a_page_that_is_cut_off_the_beginning_is_read() -> None:
    records = read(page(event(0), event(0))[: 16 + 4 + len(RECORD) + 10])
    assert (len(told(records)), records.damaged) == (1, 1)


def test_random_pages_never_fail() -> None:
    import random

    noise = random.Random(1)
    good = page(*(event(n) for n in range(40)))
    for _ in range(300):
        bad = bytearray(good)
        for _ in range(20):
            bad[noise.randrange(len(bad))] = noise.randrange(256)
        read(bytes(bad), good)


def test_a_page_that_is_cut_off_between_two_records_is_named_as_well() -> None:
    whole = page(event(0), event(0))
    records = read(whole[: 16 + 4 + len(RECORD)])
    assert (len(told(records)), records.damaged) == (1, 1)
    assert records.damage == "page 0: only 0x40 of 0x70 bytes are there"


def test_fields_that_overlap_are_read_one_by_one() -> None:
    crooked = FORMAT.replace("dev_addr;\toffset:24", "dev_addr;\toffset:20")
    (found,) = told(read_pages(page(event(0)), decoders_of(read_formats(crooked))))
    assert found.phys == 0x1000 << 32
    assert (found.device, found.mask, found.size) == ("d", 0xFF, 512)
