"""What does a CPU reach when nothing stands between it and its RAM?

For the modelled kernel outside a Realm: on other platforms, and where only its DMA layer is asked.
"""

from __future__ import annotations

from topbit.arch.ipa import Ipa
from topbit.linux.cpu import SynchronousExternalAbort


class FlatCpu:
    """A CPU with `size` bytes of RAM at `base`, and no RMM.

    Attributes:
        ram: its content.
    """

    def __init__(self, base: Ipa, size: int) -> None:
        self.base = base
        self.ram = bytearray(size)

    def smc(self, function: int, *arguments: int) -> tuple[int, ...]:
        """What is the answer to a call? Outside a Realm: NOT_SUPPORTED."""
        return (0xFFFF_FFFF_FFFF_FFFF,)

    def load(self, ipa: Ipa, size: int) -> bytes:
        """Which bytes stand at `ipa`?

        Raises:
            SynchronousExternalAbort: no RAM is there.
        """
        at = self._at(ipa, size)
        return bytes(self.ram[at : at + size])

    def store(self, ipa: Ipa, data: bytes) -> None:
        """Store bytes at `ipa`.

        Raises:
            SynchronousExternalAbort: no RAM is there.
        """
        at = self._at(ipa, len(data))
        self.ram[at : at + len(data)] = data

    def _at(self, ipa: Ipa, size: int) -> int:
        at = ipa - self.base
        if not 0 <= at <= len(self.ram) - size:
            raise SynchronousExternalAbort(ipa)
        return at
