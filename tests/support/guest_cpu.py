"""A vCPU for the modelled kernel without RMM and host: RAM in two halves, and answers to order."""

from __future__ import annotations

from topbit.arch.ipa import IpaSpace
from topbit.arch.rmi import Ripas
from topbit.arch.rsi import VERSION_1_0, HostCall, Rsi
from topbit.linux.cpu import SynchronousExternalAbort

PAGE = 4096
RAM, RAM_SIZE = 0x4000_0000, 4 << 20
IPA_BITS = 41
SPACE = IpaSpace(IPA_BITS)
S = SPACE.shared_bit


class GuestCpu:
    """A Realm's vCPU.

    A page is private until RSI_IPA_STATE_SET says otherwise; the other half of it aborts.

    Attributes:
        calls: the RSI calls made.
        answers: what the next RSI_IPA_STATE_SET calls answer (X0, X1, X2), before all succeed.
        config: status of RSI_REALM_CONFIG; version: answer to RSI_VERSION.
        vdev: statuses of RSI_VDEV_GET_INFO and RSI_VDEV_DMA_ENABLE.
        host: what the host answers to what it is asked (X0 of a host call).
    """

    def __init__(self) -> None:
        self.private, self.shared = bytearray(RAM_SIZE), bytearray(RAM_SIZE)
        self.is_shared = [False] * (RAM_SIZE // PAGE)
        self.calls: list[tuple[int, ...]] = []
        self.answers: list[tuple[int, int, int]] = []
        self.config = 0
        self.version = (0, VERSION_1_0, VERSION_1_0)
        self.vdev = (0, 0)
        self.host = 0

    def smc(self, function: int, *arguments: int) -> tuple[int, ...]:
        self.calls.append((function, *arguments))
        match function:
            case Rsi.VERSION:
                return self.version
            case Rsi.REALM_CONFIG:
                self.store(arguments[0], IPA_BITS.to_bytes(8, "little"))
                return (self.config,)
            case Rsi.IPA_STATE_SET:
                return self._state_set(*arguments)
            case Rsi.VDEV_GET_INFO:
                return (self.vdev[0],)
            case Rsi.HOST_CALL:
                self.store(arguments[0] + HostCall.GPRS, self.host.to_bytes(8, "little"))
                return (0,)
            case Rsi.VDEV_DMA_ENABLE:
                return (self.vdev[1],)
        raise AssertionError(f"an unexpected call {function:#x}")

    def _state_set(self, base: int, top: int, ripas: int, flags: int) -> tuple[int, int, int]:
        status, reached, response = self.answers.pop(0) if self.answers else (0, top, 0)
        for page in range((base - RAM) // PAGE, (reached - RAM) // PAGE):
            if 0 <= page < len(self.is_shared):
                self.is_shared[page] = ripas == Ripas.EMPTY
        return status, reached, response

    def load(self, ipa: int, size: int) -> bytes:
        memory, at = self._reach(ipa, size)
        return bytes(memory[at : at + size])

    def store(self, ipa: int, data: bytes) -> None:
        memory, at = self._reach(ipa, len(data))
        memory[at : at + len(data)] = data

    def _reach(self, ipa: int, size: int) -> tuple[bytearray, int]:
        at = (ipa & ~S) - RAM
        assert at // PAGE == (at + size - 1) // PAGE, "never across a page"
        if not 0 <= at < RAM_SIZE or self.is_shared[at // PAGE] != bool(ipa & S):
            raise SynchronousExternalAbort(ipa)
        return (self.shared if ipa & S else self.private), at
