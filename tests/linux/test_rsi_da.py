"""Which lock of a device does the guest accept?"""

import pytest

from topbit.arch.rsi import Rsi, RsiStatus
from topbit.linux.rsi_da import cca_device_accept

PAGE, VDEV_ID, NONCE = 0x8000_0000, 0x10, 3
EIO = 5


class Cpu:
    """An RMM that knows one device, locked NONCE times, and refuses one call."""

    def __init__(self, refused: Rsi | None = None) -> None:
        self.refused = refused
        self.calls: list[tuple[int, ...]] = []

    def smc(self, function: int, *arguments: int) -> tuple[int, ...]:
        self.calls.append((function, *arguments))
        status = RsiStatus.ERROR_INPUT if function == self.refused else RsiStatus.SUCCESS
        return (status,)

    def load(self, ipa: int, size: int) -> bytes:
        assert ipa == PAGE + 0x10
        return NONCE.to_bytes(size, "little")

    def store(self, ipa: int, data: bytes) -> None:
        raise AssertionError("nothing to store")


def test_the_guest_enables_dma_for_the_lock_that_it_was_told_of() -> None:
    cpu = Cpu()
    assert cca_device_accept(cpu, VDEV_ID, PAGE) == 0
    assert cpu.calls == [
        (Rsi.VDEV_GET_INFO, VDEV_ID, PAGE),
        (Rsi.VDEV_DMA_ENABLE, VDEV_ID, 0, 0, NONCE),
    ]


@pytest.mark.parametrize(("refused", "calls"), [(Rsi.VDEV_GET_INFO, 1), (Rsi.VDEV_DMA_ENABLE, 2)])
def test_what_the_rmm_refuses_is_not_accepted(refused: Rsi, calls: int) -> None:
    cpu = Cpu(refused)
    assert cca_device_accept(cpu, VDEV_ID, PAGE) == -EIO
    assert len(cpu.calls) == calls
