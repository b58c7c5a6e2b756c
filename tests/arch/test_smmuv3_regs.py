"""Registers of an SMMUv3 against words that other programs wrote."""

from topbit.arch.smmuv3_regs import IDR0, RootGpfFar


def test_idr0_of_qemu() -> None:
    idr0 = IDR0.of(0x0D44_101B)
    assert (idr0.S1P, idr0.S2P, idr0.TTF, idr0.HTTU) == (1, 1, 2, 0)
    assert (idr0.TTENDIAN, idr0.STALL_MODEL, idr0.ST_LEVEL) == (2, 1, 1)


def test_gpf_far_fields() -> None:
    far = RootGpfFar(FAULT=1, REASON=3, FPAS=1, FADDR=0x8000_2000)
    assert far.words == [1 << 62 | 0x8000_2000 | 3 << 1 | 1]
