"""Which physical accesses does granule protection let the SMMU make?

Every access of the SMMU, its own fetches and its clients' alike, is checked against the granule
protection table. A refused one is latched in SMMU_ROOT_GPF_FAR (IHI0070 3.25, 6.3.116), which
Non-secure software cannot see.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from topbit.arch.gpt import PAS
from topbit.arch.ipa import Pa
from topbit.arch.smmuv3_regs import GpfReason, RootGpfFar
from topbit.errors import PlatformFault
from topbit.memory import BusError, PhysicalMemory

Gpc: TypeAlias = Callable[[Pa, int, bool, PAS], object | None]
"""(pa, size, write, address space) -> None, or what granule protection has against it."""


class FetchAbort(PlatformFault):
    """Which of the SMMU's own accesses failed, and was it granule protection?"""

    def __init__(self, pa: Pa, *, gpf: bool) -> None:
        super().__init__(f"SMMU access to 0x{pa:016x} aborted")
        self.pa = pa
        self.gpf = gpf


class Bus:
    """How does the SMMU reach memory?

    Args:
        memory: what stands at the physical addresses.
        gpc: the granule protection check; None lets everything pass.
    """

    def __init__(self, memory: PhysicalMemory, gpc: Gpc | None) -> None:
        self.memory = memory
        self.gpc = gpc
        self.gpf_far = RootGpfFar()

    def granted(
        self, pa: Pa, size: int, write: bool, pas: PAS, reason: GpfReason, code: int = 0
    ) -> bool:
        """May the access be made? A refusal is latched if none is latched yet."""
        if self.gpc is None or self.gpc(pa, size, write, pas) is None:
            return True
        if not self.gpf_far.FAULT:
            self.gpf_far = RootGpfFar(
                FAULT=1,
                REASON=reason,
                FAULTCODE=code,
                FPAS=pas,
                FADDR=pa & RootGpfFar.FADDR.mask,
            )
        return False

    def fetch_u64(self, pa: Pa, pas: PAS, code: int) -> int:
        """Which doubleword does the SMMU fetch for a translation? `code`: event type if it fails.

        Raises:
            FetchAbort: no memory there, or granule protection refused.
        """
        if self.gpc is not None and not self.granted(
            pa, 8, False, pas, GpfReason.TRANSLATION, code
        ):
            raise FetchAbort(pa, gpf=True)
        try:
            return self.memory.read_u64(pa)
        except BusError:
            raise FetchAbort(pa, gpf=False) from None

    def fetch(self, pa: Pa, size: int, pas: PAS, reason: GpfReason, code: int) -> bytes:
        """Which bytes does the SMMU fetch?

        Raises:
            FetchAbort: no memory there, or granule protection refused.
        """
        if not self.granted(pa, size, False, pas, reason, code):
            raise FetchAbort(pa, gpf=True)
        try:
            return self.memory.read(pa, size)
        except BusError:
            raise FetchAbort(pa, gpf=False) from None

    def store(self, pa: Pa, data: bytes, pas: PAS, reason: GpfReason, code: int) -> None:
        """Write what the SMMU itself has to write.

        Raises:
            FetchAbort: no memory there, or granule protection refused.
        """
        if not self.granted(pa, len(data), True, pas, reason, code):
            raise FetchAbort(pa, gpf=True)
        try:
            self.memory.write(pa, data)
        except BusError:
            raise FetchAbort(pa, gpf=False) from None
