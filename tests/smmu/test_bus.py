"""Which of the SMMU's accesses are granted, and what is latched of one that is not?"""

import pytest

from topbit.arch.gpt import PAS
from topbit.arch.smmuv3_regs import GpfReason, RootGpfFar
from topbit.memory import PhysicalMemory
from topbit.smmu.bus import Bus, FetchAbort

RAM, SIZE = 0x4000_0000, 0x4000
PRIVATE = RAM + 0x1000
WORD = 0x1122_3344_5566_7788


class Protected:
    """A bus in front of memory whose second page is private, and what it was asked."""

    def __init__(self) -> None:
        self.memory = PhysicalMemory(RAM, SIZE)
        for page in range(RAM, RAM + SIZE, 0x1000):
            self.memory.write_u64(page + 8, WORD)
        self.asked: list[tuple[int, int, bool, PAS]] = []
        self.bus = Bus(self.memory, self.check)

    def check(self, pa: int, size: int, write: bool, pas: PAS) -> str | None:
        self.asked.append((pa, size, write, pas))
        return "private" if pa >> 12 == PRIVATE >> 12 else None


def test_without_granule_protection_everything_is_granted() -> None:
    bus = Bus(PhysicalMemory(RAM, SIZE), None)
    assert bus.granted(0, 1, True, PAS.NS, GpfReason.TRANSACTION)
    assert not bus.gpf_far.FAULT


def test_each_access_is_asked_for_as_it_is() -> None:
    made = Protected()
    assert made.bus.fetch_u64(RAM + 8, PAS.REALM, 11) == WORD
    assert made.bus.fetch(RAM + 8, 4, PAS.NS, GpfReason.GERROR, 0) == bytes.fromhex("88776655")
    made.bus.store(RAM, b"abc", PAS.NS, GpfReason.GERROR, 2)
    assert made.memory.read(RAM, 3) == b"abc"
    assert made.asked == [
        (RAM + 8, 8, False, PAS.REALM),
        (RAM + 8, 4, False, PAS.NS),
        (RAM, 3, True, PAS.NS),
    ]
    assert not made.bus.gpf_far.FAULT


def test_a_refused_fetch_is_latched_with_its_reason() -> None:
    made = Protected()
    with pytest.raises(FetchAbort) as aborted:
        made.bus.fetch_u64(PRIVATE + 8, PAS.NS, 0x0B)
    assert (aborted.value.pa, aborted.value.gpf) == (PRIVATE + 8, True)
    assert made.bus.gpf_far == RootGpfFar(
        FAULT=1, REASON=1, FAULTCODE=0x0B, FPAS=PAS.NS, FADDR=PRIVATE
    )


def test_a_refused_queue_access_is_a_gerror_and_changes_nothing() -> None:
    for access in ("fetch", "store"):
        made = Protected()
        what = 3 if access == "fetch" else b"abc"
        with pytest.raises(FetchAbort) as aborted:
            getattr(made.bus, access)(PRIVATE, what, PAS.NS, GpfReason.GERROR, 2)
        assert aborted.value.gpf
        assert (made.bus.gpf_far.REASON, made.bus.gpf_far.FAULTCODE) == (2, 2)
        assert made.memory.read(PRIVATE, 3) == bytes(3)


def test_the_first_refusal_stays_latched() -> None:
    made = Protected()
    assert not made.bus.granted(PRIVATE, 4, True, PAS.NS, GpfReason.TRANSACTION)
    assert not made.bus.granted(PRIVATE + 4, 4, False, PAS.REALM, GpfReason.TRANSLATION, 3)
    first = made.bus.gpf_far
    assert (first.REASON, first.FAULTCODE, first.FPAS) == (3, 0, PAS.NS)


@pytest.mark.parametrize("pa", [RAM - 8, RAM + SIZE])
def test_where_no_memory_is_the_access_aborts_without_a_granule_fault(pa: int) -> None:
    made = Protected()
    for access in (
        lambda: made.bus.fetch_u64(pa, PAS.NS, 0),
        lambda: made.bus.fetch(pa, 8, PAS.NS, GpfReason.GERROR, 0),
        lambda: made.bus.store(pa, bytes(8), PAS.NS, GpfReason.GERROR, 0),
    ):
        with pytest.raises(FetchAbort, match=f"0x{pa:016x} aborted") as aborted:
            access()
        assert (aborted.value.pa, aborted.value.gpf) == (pa, False)
    assert not made.bus.gpf_far.FAULT
