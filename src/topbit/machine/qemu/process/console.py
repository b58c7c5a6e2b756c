"""What did the guest write to its serial console, and who else sees it?

A thread of its own reads the console all the time: QEMU holds its big lock while it waits for room
in the console's socket, and must never wait there for the thread that serves traps.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from pathlib import Path

MAX_KEPT = 512 << 20  # bytes; a guest that writes more is only read from then on
_GATHER = 0.004  # seconds between two reads: QEMU writes byte by byte
_HURRY = 0.0005  # the same while the guest writes much: the socket holds only some hundred writes
_MUCH = 128
_PASSED = 1 << 16


class Console:
    """The output of one serial console, and its input.

    - The reading thread starts at once and ends with the other end of the channel.
    - `output` is what came until now; `saw(marker)` tells whether a line stands in it.

    Args:
        channel: a connected socket whose other end is the console.
        log: file that gets a copy.
        terminal: file descriptor of a terminal that gets a copy.
        hidden_from: the copies end behind the first byte of this, a line end.

    Attributes:
        arrivals: (seconds of `time.monotonic`, length of the output by then), one per read.
        error: why the copy in `log` is incomplete; empty if it is not.
    """

    def __init__(
        self,
        channel: socket.socket,
        log: Path | None = None,
        terminal: int | None = None,
        hidden_from: bytes = b"",
    ) -> None:
        self.arrivals: list[tuple[float, int]] = []
        self.error = ""
        self._channel = channel
        self._terminal = terminal
        self._hidden_from = hidden_from
        self._hidden = False
        self._output = bytearray()
        self._path = log
        self._log: int | None = None
        if log is not None:
            try:
                self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
            except OSError as failure:
                self.error = f"{log}: {failure.strerror}"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._read, name="topbit-console", daemon=True)
        self._thread.start()

    @property
    def output(self) -> bytes:
        """What came until now?"""
        return bytes(self._output)

    def saw(self, marker: bytes, start: int = 0) -> bool:
        """Does `marker` stand in the output, from byte `start` on?"""
        return self._output.find(marker, start) >= 0

    def __len__(self) -> int:
        return len(self._output)

    def tail(self, size: int) -> bytes:
        """What are the last `size` bytes of the output?"""
        return bytes(self._output[-size:])

    def type(self, data: bytes) -> None:
        """Send input to the guest."""
        with contextlib.suppress(OSError):  # QEMU has gone
            self._channel.sendall(data)

    def finish(self, patience: float = 1.0) -> None:
        """Wait until all that was written has come in; what is written from now on is lost."""
        with contextlib.suppress(OSError):
            self._channel.shutdown(socket.SHUT_RD)  # behind what is in it already
        self._over.set()
        self._thread.join(patience)
        if self._log is not None:
            os.close(self._log)
            self._log = None

    def _read(self) -> None:
        while True:
            try:
                data = self._channel.recv(_PASSED)
            except OSError:
                return
            if not data:
                return
            before = len(self._output)
            if before < MAX_KEPT:
                self._output += data
                self.arrivals.append((time.monotonic(), len(self._output)))
            if not self._hidden:
                self._copy(data, before)
            self._over.wait(_HURRY if len(data) > _MUCH else _GATHER)

    def _copy(self, data: bytes, before: int) -> None:
        """Hand on what came behind the first `before` bytes, up to the end of the copies."""
        if self._hidden_from:
            start = max(0, before - len(self._hidden_from) + 1)  # it may come in two pieces
            end = self._output.find(self._hidden_from, start)
            if end >= 0:
                self._hidden = True
                data = data[: max(0, end + 1 - before)]
        if self._terminal is not None:
            with contextlib.suppress(OSError):
                os.write(self._terminal, data)
        if self._log is not None and not self.error:
            try:
                while data:
                    data = data[os.write(self._log, data) :]
            except OSError as failure:  # a full disk ends the copy, not the run
                self.error = f"{self._path}: {failure.strerror}"
