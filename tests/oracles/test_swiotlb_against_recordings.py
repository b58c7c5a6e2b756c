"""The modelled swiotlb gives the bounce addresses that real kernels gave, one for one.

The recordings are traces of Debian's kernels with one CPU, from the drivers' first mapping on: told
the same maps and unmaps, the model must choose the same slot each time. Only where the search began
is taken from the first mapping: what came before it was not traced.
"""

import pytest

import topbit
from paths import DATA
from topbit.addressing.dma_direct import DmaDevice
from topbit.arch.ipa import IpaSpace
from topbit.events import ignore
from topbit.linux.device import Device
from topbit.linux.swiotlb import IoTlbMem
from topbit.linux.swiotlb_pool import IO_TLB_SHIFT

ALL = (1 << 64) - 1
NVME_MASK = 4095  # drivers/nvme/host/pci.c: dma_set_min_align_mask(NVME_CTRL_PAGE_SIZE - 1)


class NoMemory:
    """Only where the data goes is looked at."""

    def read(self, phys: int, size: int) -> bytes:
        return b""

    def write(self, phys: int, data: bytes) -> None: ...


def bounces(name: str) -> tuple[list[int], list[int]]:
    """At which addresses did the kernel bounce each mapping, and the model?"""
    (recording,) = topbit.read(DATA / "recordings" / name)
    space = recording.platform.space
    assert isinstance(space, IpaSpace)
    ((start, size),) = recording.platform.pools
    pool = IoTlbMem(NoMemory(), start, size, ignore)  # type: ignore[arg-type]
    live: dict[tuple[str, int], tuple[int, int]] = {}
    by_buffer: dict[tuple[str, int], int] = {}
    theirs: list[int] = []
    ours: list[int] = []
    for row in recording.of_kind("dma_map", "dma_unmap", "dma_unmap_sg").iter_rows(named=True):
        mask = NVME_MASK if row["device"] == "0000:00:02.0" else 0
        device = Device(row["device"], DmaDevice(), ALL, min_align_mask=mask)
        if row["event"] == "dma_map":
            tlb = space.protected(row["address"])
            if not theirs:
                pool.pools[0].areas[0].index = (tlb - start) >> IO_TLB_SHIFT
            got = pool.tbl_map_single(device, row["phys"], row["size"], space.unprotected)
            assert got is not None
            theirs.append(tlb)
            ours.append(got)
            live[device.name, tlb] = (got, row["size"])
            by_buffer[device.name, row["phys"]] = tlb
            continue
        if row["event"] == "dma_unmap_sg":  # the trace names the buffer, not the address
            tlb = by_buffer[device.name, row["phys"]]
        else:
            tlb = space.protected(row["address"])
        if (device.name, tlb) in live:
            got, length = live.pop((device.name, tlb))
            pool.tbl_unmap_single(device, got, length, "TO_DEVICE")
    return theirs, ours


@pytest.mark.parametrize(
    ("name", "mappings"),
    [
        ("realm-6.18-ok", 2559),
        ("realm-6.16-ok", 2207),
        ("vmm-maps-protected-half", 22),
        ("nvme-sgl-unmap-6.18", 621),
    ],
)
def test_every_bounce_address_is_foretold(name: str, mappings: int) -> None:
    theirs, ours = bounces(name)
    assert len(theirs) == mappings
    assert ours == theirs
