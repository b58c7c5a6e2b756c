"""How does the VMM interrupt a guest that does not trap?

By the receive interrupt of the doorbell's UART (PL011): a byte sent to it raises a level line of
the GIC from outside of the machine; reading the byte lowers it. Devices share the line, as they
may by virtio-mmio's level-triggered interrupt.

Registers: Arm DDI0183, 3.3.
"""

from __future__ import annotations

from collections.abc import Callable

from topbit.machine.qemu.el2.mailbox import Mailbox, Op, r32, w32
from topbit.machine.qemu.process.process import DOORBELL_UART

UARTDR, UARTFR, UARTCR, UARTIMSC = 0x00, 0x18, 0x30, 0x38
_FR_RXFE = 1 << 4
_CR_ON = 1 << 9 | 1 << 8 | 1 << 0  # receive, transmit, enable
_IMSC_RX = 1 << 4
_TRIES = 1000


class UartIrq:
    """Is the interrupt line up, and for whom?

    Args:
        at_resume: operations that the next vCPU to go on carries out.
        current: the mailbox of the vCPU that is at EL2 now.

    Attributes:
        send: sends a byte to the UART; to be set before the guest runs.
    """

    SPI = 8  # QEMU hw/arm/virt.c:a15irqmap, VIRT_UART1

    def __init__(self, at_resume: list[Op], current: Callable[[], Mailbox | None]) -> None:
        self.send: Callable[[bytes], object] = lambda data: None
        self._at_resume = at_resume
        self._current = current
        self._asking: set[int] = set()
        self._on = self._up = False

    def of(self, device: int) -> Callable[[bool], None]:
        """What does device number `device` call with the level of its own line?"""
        if not self._on:
            self._on = True
            self._at_resume += [
                w32(DOORBELL_UART + UARTCR, _CR_ON),
                w32(DOORBELL_UART + UARTIMSC, _IMSC_RX),
            ]

        def level(up: bool) -> None:
            (self._asking.add if up else self._asking.discard)(device)
            if bool(self._asking) == self._up:
                return
            if up:
                self._up = True
                self.send(b"\0")
            else:
                self._lower()

        return level

    def _lower(self) -> None:
        mailbox = self._current()
        if mailbox is None:
            return
        for _ in range(_TRIES):  # the byte may still be on its way
            if not mailbox.do([r32(DOORBELL_UART + UARTFR)])[0] & _FR_RXFE:
                mailbox.do([r32(DOORBELL_UART + UARTDR)])
                self._up = False
                return
