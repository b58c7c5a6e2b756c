"""What can the guest do with its CPU? Calls to the RMM, and loads and stores through stage 2.

A machine provides the CPU; the modelled kernel runs on it. An address here is a full IPA: the
kernel's stage 1 has already put the shared bit on it or not.
"""

from __future__ import annotations

from typing import Protocol

from topbit.arch.ipa import Ipa
from topbit.errors import PlatformFault


class SynchronousExternalAbort(PlatformFault):
    """Which access of the guest's CPU hit nothing it may touch?

    Attributes:
        ipa: the full IPA of the access, shared bit included.
    """

    def __init__(self, ipa: Ipa) -> None:
        super().__init__(f"synchronous external abort at IPA 0x{ipa:016x}")
        self.ipa = ipa


class RealmCpu(Protocol):
    """One vCPU as its guest sees it."""

    def smc(self, function: int, *arguments: int) -> tuple[int, ...]:
        """What does the RMM answer to this RSI (or PSCI) call? X0, X1, ... of the answer."""
        ...

    def load(self, ipa: Ipa, size: int) -> bytes:
        """Which bytes does the CPU read at `ipa`?

        Raises:
            SynchronousExternalAbort: stage 2 gives the Realm nothing there.
        """
        ...

    def store(self, ipa: Ipa, data: bytes) -> None:
        """Store bytes at `ipa`.

        Raises:
            SynchronousExternalAbort: stage 2 gives the Realm nothing there.
        """
        ...
