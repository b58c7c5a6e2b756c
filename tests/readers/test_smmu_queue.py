from __future__ import annotations

import struct

import pytest

from topbit.arch.smmuv3 import EventType
from topbit.errors import InputError
from topbit.readers.smmu_queue import parse

# Records 0 and 19 of tests/data/recordings/vmm-maps-protected-half/smmu-eventq.bin.
READ = struct.pack("<4Q", 0x10_00000010, 0x288_00000000, 0x100433CE000, 0x100433CE000)
WRITE = struct.pack("<4Q", 0x08_00000010, 0x280_00000000, 0x1007AC61A44, 0x1007AC61A44)


def test_records_of_a_queue() -> None:
    first, second = parse("q.bin", READ + bytes(32) + WRITE + bytes(64))
    assert (first.sid, first.address, first.direction) == (0x10, 0x100433CE000, "r")
    assert (first.status, first.attrs, first.line) == ("F_TRANSLATION", "s2|IN", 0)
    assert (second.sid, second.address, second.direction, second.line) == (
        0x8,
        0x1007AC61A44,
        "w",
        2,
    )
    assert second.phys == 0x1007AC61000


def test_an_unused_queue_holds_no_event() -> None:
    assert parse("q.bin", bytes(4096)) == []


@pytest.mark.parametrize("size", [1, 31, 33, 4095])
def test_a_truncated_queue_is_an_error(size: int) -> None:
    with pytest.raises(InputError, match="multiple of 32-byte records"):
        parse("q.bin", (READ + bytes(4096))[:size])


def test_something_else_is_an_error() -> None:
    with pytest.raises(InputError, match="record 1 has type 0xff"):
        parse("q.bin", READ + b"\xff" + bytes(31))


def record(kind: int) -> bytes:
    return struct.pack("<4Q", 0x10 << 32 | kind, 0, 0, 0)


@pytest.mark.parametrize("kind", [*EventType, 0xE0, 0xEF])
def test_types_that_are_defined_or_left_to_the_implementation(kind: int) -> None:
    (event,) = parse("q.bin", bytes(32) + record(kind))
    assert (event.sid, event.source, event.line) == (0x10, "q.bin", 1)
    assert event.status == (EventType(kind).name if kind < 0xE0 else f"0x{kind:02x}")


@pytest.mark.parametrize("kind", [0x0C, 0x7F, 0xDF, 0xF0])
def test_other_types_are_no_queue(kind: int) -> None:
    with pytest.raises(InputError, match=f"record 1 has type 0x{kind:02x}") as error:
        parse("q.bin", record(0x10) + record(kind))
    assert error.value.where == "q.bin"
