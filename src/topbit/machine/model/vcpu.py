"""The modelled guest's CPU: each access and call meets the RMM, and exits go to the host."""

from __future__ import annotations

from topbit.arch.gpt import PAS
from topbit.arch.ipa import Ipa, Pa
from topbit.errors import PlatformFault
from topbit.linux.cpu import SynchronousExternalAbort
from topbit.machine.rsi_call import rsi_call
from topbit.memory import PhysicalMemory
from topbit.rmm import Granules, Resume, Rmm, Sea, Translated
from topbit.rmm.exit import Kind
from topbit.vmm.vmm import Vmm


class StoppedError(PlatformFault):
    """Why does the vCPU never run again?"""


class ModelCpu:
    """The guest's vCPU: every access and call goes through the RMM, exits to the VMM.

    Args:
        rmm, vmm: who answers.
        rec: the REC it runs on; entered.
        memory, granules: what its accesses reach.
    """

    def __init__(
        self, rmm: Rmm, vmm: Vmm, rec: Pa, memory: PhysicalMemory, granules: Granules
    ) -> None:
        self.rmm = rmm
        self.vmm = vmm
        self.rec = rec
        self.memory = memory
        self.granules = granules

    def smc(self, function: int, *arguments: int) -> tuple[int, ...]:
        """What does the RMM answer? X0 to X8."""
        return rsi_call(self.rmm, self.rec, self._to_the_host, function, *arguments)

    def load(self, ipa: Ipa, size: int) -> bytes:
        """Which bytes does the CPU read? Never across a page."""
        return self.memory.read(self._translate(ipa, "r", size), size)

    def store(self, ipa: Ipa, data: bytes) -> None:
        """Store bytes, never across a page."""
        self.memory.write(self._translate(ipa, "w", len(data)), data)

    def _translate(self, ipa: Ipa, kind: Kind, size: int) -> Pa:
        for _ in range(4):
            found = self.rmm.access(self.rec, ipa, kind, size)
            if isinstance(found, Translated):
                pas = PAS.NS if found.ns else PAS.REALM
                # The host chooses what stands at an unprotected address: maybe nothing.
                there = self.memory.contains(found.pa, size)
                if not there or self.granules.check("guest", found.pa, size, pas) is not None:
                    raise SynchronousExternalAbort(ipa)
                return found.pa
            if isinstance(found, Sea):
                raise SynchronousExternalAbort(ipa)
            self._to_the_host()
            resumed = self.rmm.rec(self.rec).resume
            if isinstance(resumed, Resume) and resumed.sea:
                raise SynchronousExternalAbort(ipa)
        raise SynchronousExternalAbort(ipa)

    def _to_the_host(self) -> None:
        self.vmm.handle_exit(self.rec)
        if self.vmm.stopped is not None:
            raise StoppedError(self.vmm.stopped)
