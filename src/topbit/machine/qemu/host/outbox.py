"""What does the guest hand out, whatever becomes of its devices, and until its last moment?

Some megabytes of the host's memory which stage 2 maps like the registers of a device, at an IPA
where the guest has nothing. A program in the guest (``guest/outbox.S``, which holds the same
numbers) maps them from /dev/mem and writes; no driver, no DMA and no trap stands between. What a
guest has written is here, also when it hangs or dies afterwards.

There are several streams, one writer each at a time. A stream is a ring, with two counters of bytes
that only grow: what the guest has written, and what the host has taken out. The guest's counter is
not trusted: what cannot be is the end of that stream.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from enum import IntEnum

from topbit.arch.ipa import Ipa, Pa
from topbit.memory import PhysicalMemory

ADDRESS = Ipa(0x0B00_0000)  # a hole of QEMU's virt machine
STREAM_BYTES = 2 << 20
RING_OFFSET = 1 << 20
RING_BYTES = 1 << 20
WRITTEN, TAKEN = 0, 8
BEAT = 24  # of the trace's stream: the program that hands it out counts its rounds
MAX_KEPT = 512 << 20  # bytes of one stream; a guest that writes more is only read from then on
_OFTEN = 0.005  # seconds between two looks while something comes: 200 MiB/s
_SELDOM = 0.02


class Stream(IntEnum):
    """Which streams are there, in the order in which they stand in memory?"""

    TRACE = 0
    REPORT = 1
    OUTPUT = 2
    FILES = 3


BYTES = len(Stream) * STREAM_BYTES


class Outbox:
    """What has the guest handed out until now?

    - The thread that takes it out starts with `start()`; `finish()` ends it, after a last look.
    - `taken()` is what came in a stream; `listen` is called with each piece of it.
    - `beaten` is when the guest's program was last seen to look for new trace (time.monotonic),
      None if never.

    Args:
        memory: the machine's.
        pa: where the outbox stands in it, `BYTES` of zeros.
    """

    def __init__(self, memory: PhysicalMemory, pa: Pa) -> None:
        self.listen: dict[Stream, Callable[[bytes], None]] = {}
        self.beaten: float | None = None
        self._beats = 0
        self._memory = memory
        self._pa = pa
        self._taken = {stream: bytearray() for stream in Stream}
        self._counts = dict.fromkeys(Stream, 0)
        self._wrong: set[Stream] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="topbit-outbox", daemon=True)

    def start(self) -> None:
        """Take out what comes from now on."""
        self._thread.start()

    def finish(self) -> None:
        """Take out the last: the guest writes no more."""
        if self._thread.is_alive():
            self._over.set()
            self._thread.join()
        self.collect()

    def taken(self, stream: Stream) -> bytes:
        """What came in the stream until now?"""
        return bytes(self._taken[stream])

    def __len__(self) -> int:
        """How many bytes came in all streams?"""
        return sum(self._counts.values())

    def collect(self) -> bool:
        """Take out what is there; was there anything?"""
        found = False
        beats = self._memory.read_u64(self._pa + Stream.TRACE * STREAM_BYTES + BEAT)
        if beats != self._beats:
            self._beats, self.beaten = beats, time.monotonic()
        for stream in Stream:
            for _ in range(2):  # up to the ring's end, and from its start
                if not (piece := self._piece(stream)):
                    break
                found = True
                if len(self._taken[stream]) < MAX_KEPT:
                    self._taken[stream] += piece
                if stream in self.listen:
                    self.listen[stream](piece)
        return found

    def _piece(self, stream: Stream) -> bytes:
        """What is next in the ring, up to its end?"""
        start, taken = self._pa + stream * STREAM_BYTES, self._counts[stream]
        count = self._memory.read_u64(start + WRITTEN) - taken
        if not 0 <= count <= RING_BYTES:
            self._wrong.add(stream)
        if stream in self._wrong or not count:
            return b""
        at = taken % RING_BYTES
        piece = self._memory.read(start + RING_OFFSET + at, min(count, RING_BYTES - at))
        self._counts[stream] = taken + len(piece)
        self._memory.write_u64(start + TAKEN, self._counts[stream])
        return piece

    def _watch(self) -> None:
        while not self._over.wait(_OFTEN if self.collect() else _SELDOM):
            pass


def address_of(stream: Stream) -> Ipa:
    """At which IPA does the stream stand? (shared bit clear)"""
    return ADDRESS + stream * STREAM_BYTES
