"""Which guest memory does an emulated device reach with an address from the guest?"""

import pytest

from topbit.arch.gpt import PAS
from topbit.arch.ipa import IpaSpace
from topbit.events import Event
from topbit.memory import PhysicalMemory
from topbit.rmm import Granules, State
from topbit.vmm.dma import DmaError, EmulatedDma
from topbit.vmm.policy import Masking, VmmPolicy
from topbit.vmm.slots import MemorySlot

SPACE = IpaSpace(41)
PAGE, S = 0x1000, SPACE.shared_bit
RAM, SIZE = 0x4000_0000, 4 * PAGE
HIGH = RAM + SIZE  # a second slot, right behind the first
PA, HIGH_PA = 0x8000_0000, 0x8000_8000
NOWHERE = RAM + 2 * SIZE  # a slot whose backing is in no memory
PRIVATE, DELEGATED = RAM + 2 * PAGE, RAM + 3 * PAGE


class Bench:
    def __init__(self, masking: Masking = Masking.MASK, *, only_shared: bool = True) -> None:
        self.memory = PhysicalMemory(PA, 16 * PAGE)
        self.granules = Granules(self.memory)
        self.slots = [
            MemorySlot(RAM, SIZE, PA, PA),
            MemorySlot(HIGH, SIZE, HIGH_PA, HIGH_PA),
            MemorySlot(NOWHERE, SIZE, PA + 14 * PAGE, PA + 14 * PAGE),
        ]
        for slot in self.slots:
            slot.shared[:] = True
        self.slots[0].shared[2] = False
        self.granules.set(PA + 3 * PAGE, State.DELEGATED)
        self.events: list[Event] = []
        self.dma = EmulatedDma(
            "virtio0",
            self.memory,
            self.slots,
            SPACE,
            VmmPolicy(masking=masking, only_shared=only_shared),
            self.granules.check,
            self.events.append,
        )


REACHED = [
    (RAM, 1, PA),
    (RAM, 2 * PAGE, PA),
    (PRIVATE - 1, 1, PA + 2 * PAGE - 1),
    (HIGH, SIZE, HIGH_PA),
    (HIGH + SIZE - 8, 8, HIGH_PA + SIZE - 8),
    (NOWHERE + PAGE, PAGE, PA + 15 * PAGE),
]
REFUSED = [
    (RAM, 0, "unmapped"),
    (RAM - 1, 1, "unmapped"),
    (RAM - 1, 2, "unmapped"),
    (0, 1, "unmapped"),
    (RAM + 2 * SIZE - 1, 2, "unmapped"),  # ends in another slot
    (HIGH - PAGE, 2 * PAGE, "unmapped"),
    (HIGH + SIZE - 1, 2, "unmapped"),
    (NOWHERE + SIZE, 1, "unmapped"),
    (NOWHERE + 2 * PAGE, 1, "unmapped"),  # its backing is missing
    (NOWHERE + 2 * PAGE - 1, 2, "unmapped"),
    (PRIVATE, 1, "private"),
    (PRIVATE - 1, 2, "private"),
    (PRIVATE + PAGE - 1, 2, "private"),
    (DELEGATED, 1, "GPF"),
    (DELEGATED + PAGE - 1, 1, "GPF"),
]


@pytest.mark.parametrize(("ipa", "size", "pa"), REACHED)
@pytest.mark.parametrize("bit", [0, S], ids=["plain", "alias"])
def test_shared_memory_is_reached(ipa: int, size: int, pa: int, bit: int) -> None:
    bench = Bench()
    content = bytes(1 + i % 250 for i in range(size))
    bench.memory.write(pa, content)
    assert bench.dma.read(ipa | bit, size) == content
    assert bench.events == [
        Event(
            "vmm", "vmm_dma", device="virtio0", address=ipa | bit, phys=ipa, pa=pa, size=size,
            direction="r", status="ok", attrs="shared",
        )
    ]  # fmt: skip
    bench.dma.write(ipa | bit, content[::-1])
    assert bench.memory.read(pa, size) == content[::-1]
    assert bench.events[1].direction == "w"


@pytest.mark.parametrize(("ipa", "size", "reason"), REFUSED)
def test_all_else_is_refused_and_recorded(ipa: int, size: int, reason: str) -> None:
    bench = Bench()
    for again in (False, True):
        with pytest.raises(DmaError) as refused:
            bench.dma.window(ipa | S, size, "r", again=again)
        assert (refused.value.reason, refused.value.address) == (reason, ipa | S)
    assert [event.status for event in bench.events] == [reason, reason]
    assert all(event.attrs is None for event in bench.events)
    assert str(refused.value) == f"{reason}: 0x{ipa | S:016x}"


def test_a_refused_write_changes_nothing() -> None:
    bench = Bench()
    with pytest.raises(DmaError):
        bench.dma.write(PRIVATE - 1, b"xy")
    assert not bench.memory.bytes.any()


@pytest.mark.parametrize(
    ("masking", "address", "reason"),
    [
        (Masking.MASK, RAM, None),
        (Masking.MASK, RAM | S, None),
        (Masking.MASK, RAM | S << 1, "unmapped"),  # of all bits only the shared one is masked
        (Masking.KEEP, RAM, None),
        (Masking.KEEP, RAM | S, "unmapped"),
        (Masking.REQUIRE, RAM, "protected"),
        (Masking.REQUIRE, RAM | S, None),
    ],
)
def test_what_a_vmm_does_with_the_shared_bit(
    masking: Masking, address: int, reason: str | None
) -> None:
    bench = Bench(masking)
    if reason is None:
        assert bench.dma.read(address, 4) == bytes(4)
    else:
        with pytest.raises(DmaError, match=reason):
            bench.dma.read(address, 4)


@pytest.mark.parametrize(
    ("ipa", "size", "reached"),
    [(PRIVATE, 8, "private"), (PRIVATE - 8, 16, "private"), (RAM, 8, "shared")],
)
def test_a_vmm_that_does_not_ask_reaches_what_stands_for_private_pages(
    ipa: int, size: int, reached: str
) -> None:
    bench = Bench(only_shared=False)
    bench.memory.write(PA + ipa - RAM, b"x" * size)
    assert bench.dma.read(ipa | S, size) == b"x" * size
    (event,) = bench.events
    assert (event.status, event.attrs) == ("ok", reached)
    with pytest.raises(DmaError, match="GPF"):
        bench.dma.read(DELEGATED, 1)


def test_what_was_recorded_is_not_recorded_again() -> None:
    bench = Bench()
    bench.dma.window(RAM | S, 4, "w", again=True)[:] = b"data"
    assert bench.events == []
    assert bench.memory.read(PA, 4) == b"data"


def test_granule_protection_is_asked_for_the_hosts_own_address_space() -> None:
    bench = Bench()
    asked: list[tuple[str, int, int, PAS]] = []
    bench.dma.check = lambda *access: asked.append(access)
    bench.dma.read(RAM + 8, 16)
    assert asked == [("vmm", PA + 8, 16, PAS.NS)]
