"""The interrupt line from outside: up once for all devices, down when none asks any more."""

from __future__ import annotations

from typing import cast

from topbit.machine.qemu.el2.mailbox import Code, Mailbox, Op
from topbit.machine.qemu.host.uart_irq import UARTCR, UARTDR, UARTFR, UARTIMSC, UartIrq
from topbit.machine.qemu.process.process import DOORBELL_UART


class Uart:
    """A UART whose receiver gets a byte only some looks after it was sent."""

    def __init__(self, delay: int) -> None:
        self.sent = self.read = 0
        self.delay = delay

    def send(self, data: bytes) -> None:
        self.sent += len(data)

    def do(self, ops: list[Op]) -> list[int]:
        (op,) = ops
        assert op.code == Code.R32
        if op.a == DOORBELL_UART + UARTFR:
            self.delay -= 1
            return [0 if self.delay < 0 else 1 << 4]
        assert op.a == DOORBELL_UART + UARTDR
        self.read += 1
        return [0]


def test_the_line_of_two_devices() -> None:
    ops: list[Op] = []
    uart = Uart(delay=3)
    line = UartIrq(ops, lambda: cast(Mailbox, uart))
    line.send = uart.send
    one, two = line.of(1), line.of(2)
    assert [op.a - DOORBELL_UART for op in ops] == [UARTCR, UARTIMSC]
    one(False)
    assert (uart.sent, uart.read) == (0, 0)
    one(True)
    one(True)
    two(True)
    assert (uart.sent, uart.read) == (1, 0)
    one(False)
    assert uart.read == 0
    two(False)
    assert (uart.sent, uart.read) == (1, 1)
    two(True)
    assert uart.sent == 2


def test_a_byte_that_never_comes_does_not_stop_the_host() -> None:
    uart = Uart(delay=10**9)
    line = UartIrq([], lambda: cast(Mailbox, uart))
    line.send = uart.send
    level = line.of(0)
    level(True)
    level(False)
    assert uart.read == 0
