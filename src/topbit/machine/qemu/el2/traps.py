"""Which vCPU trapped, and who answers it? One thread serves the traps of all vCPUs."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import TypeAlias

from topbit.machine.qemu.el2.mailbox import Mailbox

Handler: TypeAlias = Callable[[Mailbox], None]


class TrapLoop:
    """Who is waiting for an answer?

    A vCPU posts its mailbox and rings; `ready` reads its number from the doorbell and calls the
    handler, which ends with `mailbox.resume`. A vCPU whose handler does not resume it stays
    stopped at EL2.

    Args:
        mailboxes: one per vCPU, in the order of their numbers.
        doorbell: the other end of the doorbell device: one byte, the vCPU's number, per post.
        handler: decides what each trap means.

    Attributes:
        traps: number of traps served.
    """

    def __init__(
        self, mailboxes: Sequence[Mailbox], doorbell: socket.socket, handler: Handler
    ) -> None:
        self.mailboxes = mailboxes
        self.traps = 0
        self._doorbell = doorbell
        self._handler = handler
        doorbell.setblocking(False)

    def fileno(self) -> int:
        """Which file descriptor becomes readable when a vCPU rings?"""
        return self._doorbell.fileno()

    def ready(self) -> bool:
        """Serve every vCPU that has rung. False: the doorbell's other end is gone."""
        try:
            rung = self._doorbell.recv(256)
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False
        for index in rung:
            # The bytes of posts that `Mailbox.do` has seen without them find nothing pending.
            if index < len(self.mailboxes) and self.mailboxes[index].pending:
                self._serve(self.mailboxes[index])
        return bool(rung)

    def _serve(self, mailbox: Mailbox) -> None:
        self.traps += 1
        mailbox.require_program()
        self._handler(mailbox)
