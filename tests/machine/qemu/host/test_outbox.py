"""What the guest hands out comes whole and in order, and only what it can have written."""

from __future__ import annotations

import re
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paths import ROOT
from topbit.arch.ipa import Pa
from topbit.machine.qemu.host import outbox
from topbit.machine.qemu.host.outbox import BYTES, RING_BYTES, STREAM_BYTES, Outbox, Stream
from topbit.memory import PhysicalMemory

BASE = Pa(0x4000_0000)
MASK = (1 << 64) - 1
SOURCE = ROOT / "src/topbit/machine/qemu/guest/outbox.S"


class Guest:
    """Stands for the program in the guest: writes as it does."""

    def __init__(self) -> None:
        self.memory = PhysicalMemory(BASE, BYTES)
        self.outbox = Outbox(self.memory, BASE)

    def room(self, stream: Stream) -> int:
        start = BASE + stream * STREAM_BYTES
        taken = self.memory.read_u64(start + outbox.TAKEN)
        return RING_BYTES - self.memory.read_u64(start + outbox.WRITTEN) + taken

    def write(self, stream: Stream, data: bytes) -> None:
        start = BASE + stream * STREAM_BYTES
        while data:
            written = self.memory.read_u64(start + outbox.WRITTEN)
            at = written % RING_BYTES
            piece = data[: min(self.room(stream), RING_BYTES - at)]
            if not piece:
                time.sleep(0.001)
            self.memory.write(start + outbox.RING_OFFSET + at, piece)
            self.memory.write_u64(start + outbox.WRITTEN, written + len(piece))
            data = data[len(piece) :]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.sampled_from(Stream), st.integers(0, 700_000)), max_size=8))
def test_each_stream_comes_whole_and_in_order(pieces: list[tuple[Stream, int]]) -> None:
    guest = Guest()
    sent = dict.fromkeys(Stream, b"")
    for number, (stream, size) in enumerate(pieces):
        data = bytes([number + 1]) * size
        if guest.room(stream) < size:
            guest.outbox.collect()
        guest.write(stream, data)
        sent[stream] += data
    guest.outbox.finish()
    assert {stream: guest.outbox.taken(stream) for stream in Stream} == sent
    assert len(guest.outbox) == sum(map(len, sent.values()))


def test_more_than_the_ring_holds_passes_while_it_is_watched() -> None:
    guest = Guest()
    heard: list[bytes] = []
    guest.outbox.listen[Stream.OUTPUT] = heard.append
    guest.outbox.start()
    data = bytes(range(256)) * (3 * RING_BYTES // 256) + b"end"
    writer = threading.Thread(target=guest.write, args=[Stream.OUTPUT, data])
    writer.start()
    writer.join(30)
    guest.outbox.finish()
    assert guest.outbox.taken(Stream.OUTPUT) == data == b"".join(heard)


@pytest.mark.parametrize("written", [RING_BYTES + 1, 1 << 63, (1 << 64) - 1])
def test_a_counter_that_cannot_be_ends_the_stream(written: int) -> None:
    guest = Guest()
    guest.write(Stream.REPORT, b"before")
    guest.outbox.collect()
    guest.memory.write_u64(BASE + STREAM_BYTES + outbox.WRITTEN, (written + 6) & MASK)
    guest.write(Stream.TRACE, b"another")
    guest.outbox.collect()
    guest.memory.write_u64(BASE + STREAM_BYTES + outbox.WRITTEN, 12)
    guest.outbox.finish()
    assert guest.outbox.taken(Stream.REPORT) == b"before"
    assert guest.outbox.taken(Stream.TRACE) == b"another"


def test_a_guest_that_writes_for_ever_does_not_fill_the_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outbox, "MAX_KEPT", 100)
    guest = Guest()
    for _ in range(5):
        guest.write(Stream.FILES, bytes(60))
        guest.outbox.collect()
    assert len(guest.outbox.taken(Stream.FILES)) == 120
    assert guest.room(Stream.FILES) == RING_BYTES


def test_when_the_trace_was_last_handed_out_is_known() -> None:
    guest = Guest()
    guest.outbox.collect()
    assert guest.outbox.beaten is None
    before = time.monotonic()
    guest.memory.write_u64(BASE + outbox.BEAT, 1)
    guest.outbox.collect()
    first = guest.outbox.beaten
    assert first is not None
    assert before <= first <= time.monotonic()
    guest.outbox.collect()
    assert guest.outbox.beaten == first
    guest.memory.write_u64(BASE + outbox.BEAT, 2)
    guest.outbox.finish()
    assert guest.outbox.beaten > first


def test_program_and_host_have_the_same_numbers() -> None:
    said = dict(re.findall(r"\.set\s+(\w+),\s*(\w+)", SOURCE.read_text()))
    numbers = {name: int(said[name], 0) for name in ("WRITTEN", "TAKEN", "BEAT", "RING", "STREAM")}
    assert numbers == {
        "WRITTEN": outbox.WRITTEN,
        "TAKEN": outbox.TAKEN,
        "BEAT": outbox.BEAT,
        "RING": outbox.RING_OFFSET,
        "STREAM": STREAM_BYTES,
    }
    assert outbox.RING_OFFSET == RING_BYTES == 1 << int(said["RING_SHIFT"])
    assert RING_BYTES + outbox.RING_OFFSET == STREAM_BYTES
