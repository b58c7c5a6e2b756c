"""What the kernel traces of an address is what it did with it."""

import pytest

from topbit.addressing.dma_direct import BusDmaRegion, DmaDevice, phys_to_dma_unencrypted
from topbit.addressing.scheme import arm_cca
from topbit.events import ignore
from topbit.linux import direct
from topbit.linux.device import Device
from topbit.linux.direct import DmaDirect
from topbit.linux.pageattr import LinearMap
from topbit.linux.swiotlb import IoTlbPool

BASE, SIZE, POOL = 0x4000_0000, 4 << 20, 0x4030_0000
BUS = 0x1000_0000
S = 1 << 40
BEHIND = (BusDmaRegion(BASE, BUS, SIZE),)


class Made:
    """A kernel's dma-direct with nothing around it, and what it traced."""

    def __init__(self, *, ranges: bool, new: bool) -> None:
        memory = LinearMap(None, BASE, SIZE, None, ignore)  # type: ignore[arg-type]
        self.traced: list[tuple[str, int, int]] = []
        self.direct = DmaDirect(
            memory,
            IoTlbPool(memory, POOL, 1 << 20),
            lambda count: None,
            lambda phys, count: None,
            lambda line: None,
            lambda name, dev, phys, dma_addr: self.traced.append((name, phys, dma_addr)),
        )
        dma = DmaDevice(arm_cca(41), BEHIND if ranges else (), canonical_before_lookup=new)
        self.device = Device("nvme0", dma, (1 << 64) - 1)


U64 = (1 << 64) - 1


@pytest.mark.parametrize(
    ("ranges", "new", "traced"),
    [
        (True, True, [("translate", POOL, POOL - BASE + BUS), ("", POOL, 0)]),
        # The old order looks the address up with the bit still set, and misses.
        (True, False, [("translate", U64, POOL - BASE + BUS | S), ("", U64 ^ S, 0)]),
        (False, True, [("", POOL, 0)]),
        (False, False, [("", POOL, 0)]),
    ],
)
def test_dma_to_phys_is_computed_once_and_traced(
    ranges: bool, new: bool, traced: list[tuple[str, int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Made(ranges=ranges, new=new)
    dma_addr = phys_to_dma_unencrypted(made.device.dma, POOL)
    lookups = []
    look_up = direct.translate_dma_to_phys
    monkeypatch.setattr(
        direct, "translate_dma_to_phys", lambda *args: lookups.append(args) or look_up(*args)
    )
    found = made.direct.unmap_phys(made.device, dma_addr, "TO_DEVICE")
    names = {"translate": "translate_dma_to_phys", "": "dma_to_phys"}
    assert made.traced == [(names[n], phys, bus or dma_addr) for n, phys, bus in traced]
    assert found == made.traced[-1][1]
    assert len(lookups) == 1


def test_what_the_lookup_finds_is_what_is_unmapped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lookup that goes wrong shows in the trace and in the act alike."""
    made = Made(ranges=True, new=True)
    monkeypatch.setattr(direct, "translate_dma_to_phys", lambda regions, bus: 0x1234)
    assert made.direct.unmap_phys(made.device, BUS | S, "TO_DEVICE") == 0x1234
    assert made.traced == [
        ("translate_dma_to_phys", 0x1234, BUS),
        ("dma_to_phys", 0x1234, BUS | S),
    ]
