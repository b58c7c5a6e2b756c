"""Which device does the guest accept, and what does it ask for that?"""

import struct

import pytest

from topbit.arch import rhi
from topbit.arch.rhi import RhiTdiState
from topbit.arch.rsi import REJECT, HostCall, Rsi, RsiStatus, VdevInfo
from topbit.linux.rsi_da import EACCES, EIO, HOST_CALL, cca_device_accept

PAGE, VDEV_ID = 0x8000_0000, 0x10
NONCES = (3, 1, 2)
DIGEST = bytes(range(64))
REGISTERS = [(0x1000_0000, 0x2000_0000, 0x2000)]
TOP = 0x1000_2000


class Cpu:
    """An RMM that knows one device, and refuses one call; a host that starts it, or not."""

    def __init__(self, refused: int | None = None, top: int = TOP, response: int = 0) -> None:
        self.refused = refused
        self.validated = (top, response)
        self.calls: list[tuple[int, ...]] = []
        self.memory: dict[int, bytes] = {}

    def smc(self, function: int, *arguments: int) -> tuple[int, ...]:
        self.calls.append((function, *arguments))
        status = RsiStatus.ERROR_INPUT if function == self.refused else RsiStatus.SUCCESS
        if function == Rsi.VDEV_GET_INFO:
            info = bytearray(VdevInfo.SIZE)
            struct.pack_into("<3Q", info, VdevInfo.LOCK_NONCE, *NONCES)
            info[VdevInfo.MEAS_DIGEST : VdevInfo.MEAS_DIGEST + 64] = DIGEST
            self.memory[arguments[1]] = bytes(info)
        if function == Rsi.HOST_CALL:
            asked = struct.unpack("<4Q", self.memory[arguments[0]][:32])
            assert asked == (0, rhi.DA_VDEV_SET_TDI_STATE, VDEV_ID, RhiTdiState.RUN)
            refused = self.refused == rhi.DA_VDEV_SET_TDI_STATE
            self.memory[arguments[0] + HostCall.GPRS] = int(refused).to_bytes(8, "little")
        if function == Rsi.VDEV_VALIDATE_MAPPING:
            return (status, *self.validated)
        return (status,)

    def load(self, ipa: int, size: int) -> bytes:
        data = self.memory[ipa]
        assert len(data) == size
        return data

    def store(self, ipa: int, data: bytes) -> None:
        assert len(data) == HostCall.SIZE
        self.memory[ipa] = data


def accept(cpu: Cpu, **options: object) -> int:
    chosen = {"registers": REGISTERS, "expected": DIGEST} | options
    return cca_device_accept(cpu, VDEV_ID, PAGE, **chosen)  # type: ignore[arg-type]


STEPS = [
    (Rsi.VDEV_GET_INFO, VDEV_ID, PAGE),
    (Rsi.VDEV_VALIDATE_MAPPING, VDEV_ID, 0x1000_0000, TOP, 0x2000_0000, 0, *NONCES),
    (Rsi.HOST_CALL, PAGE + HOST_CALL),
    (Rsi.VDEV_DMA_ENABLE, VDEV_ID, 0, 0, *NONCES),
]


def test_the_guest_enables_dma_for_the_device_that_it_was_told_of() -> None:
    cpu = Cpu()
    assert accept(cpu) == 0
    assert cpu.calls == STEPS


def test_a_device_may_be_accepted_without_dma() -> None:
    cpu = Cpu()
    assert accept(cpu, enable_dma=False) == 0
    assert cpu.calls == STEPS[:3]


def test_a_device_without_registers_or_reference_has_neither_checked() -> None:
    cpu = Cpu()
    assert accept(cpu, registers=(), expected=None) == 0
    assert cpu.calls == [STEPS[0], *STEPS[2:]]


def test_other_measurements_are_not_accepted() -> None:
    cpu = Cpu()
    assert accept(cpu, expected=b"other" + DIGEST[5:]) == -EACCES
    assert cpu.calls == STEPS[:1]


@pytest.mark.parametrize(
    ("refused", "calls"),
    [
        (Rsi.VDEV_GET_INFO, 1),
        (Rsi.VDEV_VALIDATE_MAPPING, 2),
        (Rsi.HOST_CALL, 3),
        (rhi.DA_VDEV_SET_TDI_STATE, 3),
        (Rsi.VDEV_DMA_ENABLE, 4),
    ],
)
def test_what_the_rmm_or_the_host_refuses_is_not_accepted(refused: int, calls: int) -> None:
    cpu = Cpu(refused)
    assert accept(cpu) == -EIO
    assert len(cpu.calls) == calls


@pytest.mark.parametrize("validated", [(TOP - 0x1000, 0), (TOP, REJECT)])
def test_registers_are_validated_whole_or_not_at_all(validated: tuple[int, int]) -> None:
    cpu = Cpu(None, *validated)
    assert accept(cpu) == -EIO
    assert cpu.calls == STEPS[:2]
