"""RAM and nothing else."""

import pytest

from topbit.linux.cpu import SynchronousExternalAbort
from topbit.machine.model.flat_cpu import FlatCpu


def test_what_is_stored_is_loaded() -> None:
    cpu = FlatCpu(0x1000, 0x100)
    cpu.store(0x10FE, b"ab")
    assert cpu.load(0x10FD, 3) == b"\0ab"
    assert cpu.smc(0xC4000190) == ((1 << 64) - 1,)


@pytest.mark.parametrize(("ipa", "size"), [(0xFFF, 1), (0x10FF, 2), (0x1100, 1)])
def test_where_no_ram_is_an_access_aborts(ipa: int, size: int) -> None:
    cpu = FlatCpu(0x1000, 0x100)
    with pytest.raises(SynchronousExternalAbort):
        cpu.load(ipa, size)
    with pytest.raises(SynchronousExternalAbort):
        cpu.store(ipa, bytes(size))
