"""What is missing of a guest's trace is said."""

from __future__ import annotations

import struct

import pytest

from guest_trace import FORMATS, RECORD
from topbit.machine.qemu.guest.evidence import read_evidence
from topbit.machine.qemu.guest.report import GuestReport

HEADER_PAGE = b"\tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;\n" + (
    b"\tfield: char data;\toffset:16;\tsize:%d;\tsigned:1;\n"
)


def pages(time: int, size: int = 4096) -> bytes:
    data = struct.pack("<II", 0, len(RECORD) + 4) + RECORD
    return (struct.pack("<QQ", time, len(data)) + data).ljust(size, b"\0")


def report(stats: bytes, first: bytes) -> GuestReport:
    files = {"formats": FORMATS, "cpu0.raw": first, "cpu0.stats": stats, "cpu1.raw": pages(5000)}
    return GuestReport(files=files)


def test_the_traces_of_all_cpus_are_one() -> None:
    found = read_evidence(report(b"entries: 0\noverrun: 0\nread events: 1\n", pages(9000)), b"")
    assert [(e.event, e.address, e.time) for e in found.events] == [
        ("dma_free", 0x100_4000_0000, 5e-6),
        ("dma_free", 0x100_4000_0000, 9e-6),
    ]
    assert (found.lost_events, found.unparsed) == (0, [])


@pytest.mark.parametrize(("told", "size"), [(16384 - 16, 16384), (9, 4096), (1 << 24, 4096)])
def test_pages_are_as_large_as_the_kernel_says_if_that_makes_sense(told: int, size: int) -> None:
    raw = pages(5000, size) + pages(7000, size)
    files = {"formats": FORMATS, "header_page": HEADER_PAGE % told, "cpu0.raw": raw}
    found = read_evidence(GuestReport(files=files), b"")
    assert [event.time for event in found.events] == [5e-6, 7e-6]
    assert (found.lost_events, found.unparsed) == (0, [])


def test_what_the_ring_buffer_lost_is_counted() -> None:
    stats = b"entries: 2\noverrun: 30\nbytes: 9\ndropped events: 4\nread events: 1\n"
    assert read_evidence(report(stats, pages(9000)), b"").lost_events == 36


def test_a_damaged_page_is_named() -> None:
    (damaged,) = read_evidence(report(b"", b"\xff" * 4096), b"").unparsed
    assert (damaged.source, damaged.count) == ("cpu0.raw", 1)
    assert damaged.text.startswith("page 0: ")
