"""How does an RSI call go on that leaves to the host?

The host handles the exit and enters the REC again; the entry completes the call, or the REC goes
straight back to the host, or the Realm makes the call again.
"""

from __future__ import annotations

from collections.abc import Callable

from topbit.arch.ipa import Pa
from topbit.rmm import Exit, Resume, Rmm

REGISTERS = 9  # X0 to X8 of an answer


def rsi_call(
    rmm: Rmm, rec: Pa, host: Callable[[], None], function: int, *arguments: int
) -> tuple[int, ...]:
    """What does the RMM answer? X0 to X8.

    Args:
        rec: the REC that makes the call; it is running, and is again when the call returns.
        host: handles the exit of the REC and enters it again; raises if the REC runs no more.
    """
    while True:
        result: Resume | Exit = rmm.rsi(rec, (function, *arguments))
        again = False
        while isinstance(result, Exit):
            again = result.retry
            host()
            result = rmm.rec(rec).resume
        if not again:
            return tuple(result.regs.get(i, 0) for i in range(REGISTERS))
