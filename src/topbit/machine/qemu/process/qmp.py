"""How is QEMU asked and told things while the guest runs? QMP, without ever waiting for it.

The thread that serves traps must not wait for a QMP reply: QEMU's main loop may itself be waiting
for that thread (for room in the console's socket, say). So the monitor lives in a thread of its
own, and `execute` returns a future.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from qemu.qmp import QMPClient


class Monitor:
    """What does QEMU answer to a QMP command?

    Args:
        channel: a connected socket whose other end is QEMU's monitor.
    """

    def __init__(self, channel: socket.socket) -> None:
        # What it would log reaches the user as an error of ours, if it matters.
        logging.getLogger("qemu.qmp").addHandler(logging.NullHandler())
        self._client = QMPClient("topbit")
        self._loop = asyncio.new_event_loop()
        self.connected: Future[None] = Future()
        self._thread = threading.Thread(
            target=self._run, args=(channel,), name="topbit-qmp", daemon=True
        )
        self._thread.start()

    def execute(self, command: str, arguments: Mapping[str, Any] | None = None) -> Future[Any]:
        """What does QEMU return for `command`? (a future; its exception is the QMP error)"""

        async def call() -> Any:
            await asyncio.wrap_future(self.connected)
            return await self._client.execute(command, arguments)

        return asyncio.run_coroutine_threadsafe(call(), self._loop)

    def close(self) -> None:
        """End the monitor's thread; commands that are under way fail."""
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._leave(), self._loop)
            self._thread.join(5)

    def _run(self, channel: socket.socket) -> None:
        asyncio.set_event_loop(self._loop)
        connecting = self._loop.create_task(self._connect(channel))
        self._loop.run_forever()
        connecting.cancel()
        self._loop.run_until_complete(asyncio.gather(connecting, return_exceptions=True))
        self._loop.close()

    async def _connect(self, channel: socket.socket) -> None:
        try:
            await self._client.connect(channel)
        except Exception as error:  # whatever it is, the caller of a command shall see it
            self.connected.set_exception(error)
        else:
            self.connected.set_result(None)

    async def _leave(self) -> None:
        with contextlib.suppress(Exception):  # QEMU has gone already, or never greeted
            await self._client.disconnect()
        self._loop.stop()
