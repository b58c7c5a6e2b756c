"""Which event does one line tell, or one raw record?"""

from __future__ import annotations

import struct

import pytest

from log_wrappings import GUEST, HOST, WRAPPINGS
from topbit.errors import InputError
from topbit.readers.one_line import FACTS, LONGEST, events_of, fact_of, record_of
from trace_wrappings import DIALECTS, ENTRIES

RECORD = (0x10_0000_0010, 0x288_0000_0000, 0x100_433C_E03C, 0x100_433C_E000)
HALVES = [half for word in RECORD for half in (word & 0xFFFF_FFFF, word >> 32)]
BYTES = struct.pack("<4Q", *RECORD)


@pytest.mark.parametrize("name", DIALECTS)
def test_a_trace_line_in_any_dialect_is_an_event(name: str) -> None:
    events = events_of(DIALECTS[name](ENTRIES))
    assert {event.event for event in events} >= {"dma_map"}


@pytest.mark.parametrize("name", WRAPPINGS)
def test_the_lines_of_a_raw_record_in_any_wrapping_are_an_event(name: str) -> None:
    assert "smmu_event" in {event.event for event in events_of(WRAPPINGS[name](HOST))}


@pytest.mark.parametrize("text", ["", "hello world", "0x1", "dma_map_phys", "a \udce9 b"])
def test_other_text_tells_nothing(text: str) -> None:
    assert events_of(text) == []


def test_of_a_long_text_only_the_beginning_is_read() -> None:
    line = "a: dma_map_phys: b dir=TO_DEVICE dma_addr=1000 size=1 phys_addr=1 attrs=\n"
    assert len(events_of(line * (3 * LONGEST // len(line)))) <= LONGEST // len(line) + 1


@pytest.mark.parametrize(
    "words",
    [
        [f"0x{word:016x}" for word in RECORD],
        [f"{word:x}" for word in RECORD],
        [f"0x{word:08x}," for word in HALVES],
        [f"{byte:02x}" for byte in BYTES],
    ],
)
def test_a_record_in_words_of_any_size(words: list[str]) -> None:
    event = record_of(words)
    assert event is not None
    assert (event.event, event.status, event.sid, event.direction) == (
        "smmu_event", "F_TRANSLATION", 16, "r",
    )  # fmt: skip
    assert (event.address, event.phys) == (RECORD[2], RECORD[3])


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["0x10"],
        ["0x10"] * 5,
        ["0x1", "0x2", "0x3", "four"],
        ["0x1"] * 7 + ["0x100000000"],
        ["1"] * 31 + ["100"],
        ["0"] * 4,
    ],
)
def test_other_words_are_no_record(words: list[str]) -> None:
    assert record_of(words) is None


def test_a_record_of_no_type_is_refused() -> None:
    with pytest.raises(InputError, match="record 0 has type 0x7f"):
        record_of(["0x7f", "0", "0", "0"])


@pytest.mark.parametrize("name", WRAPPINGS)
def test_a_fact_is_told_in_every_wrapping(name: str) -> None:
    pool = [line for line in GUEST if "software IO TLB: mapped" in line[2]]
    assert fact_of(WRAPPINGS[name](pool)) == (FACTS["pools"], 0x97000000)


def test_a_line_that_is_cut_off_tells_no_fact() -> None:
    assert fact_of("software IO TLB: mapped [mem 0x0000") is None
