"""What the tests of trace.dat read: recorded samples, and made files with every kind of event."""

from __future__ import annotations

import struct
from dataclasses import astuple, replace

from paths import DATA
from topbit.events import Event
from topbit.readers.boot import Boot
from topbit.readers.source import Source, open_source
from topbit.readers.trace_dat.reader import read_trace_dat
from trace_dat_files import Buffer, TraceDat, a_map, event, page

TRACE_DAT = DATA / "trace_dat"
SAMPLES = sorted(path.name for path in TRACE_DAT.iterdir() if ".dat" in path.name)
DEVICE = "0000:00:01.0"
EVERY_KIND = [
    a_map(),
    a_map((1 << 64) - 1),
    event("dma_unmap_phys", DEVICE, 0x1000, 16, 2, 1 << 5 | 1 << 8 | 1 << 20),
    event("dma_map_page", DEVICE, 1, 2, 3, 0, 1 << 20),
    event("dma_map_resource", DEVICE, 1, 2, 3, 0, 0),
    event("dma_unmap_page", DEVICE, 2, 3, 3, 0),
    event("dma_unmap_resource", DEVICE, 2, 3, 3, 0),
    event("dma_sync_single_for_cpu", DEVICE, 2, 3, 0),
    event("dma_sync_single_for_device", DEVICE, 2, 3, 1),
    event("dma_alloc", DEVICE, 0, 0, 4096, 0, 0),
    event("dma_alloc_pages", DEVICE, 0xFFFF_0000_1234_5678, 0x10000, 4096, 0, 2),
    event("dma_free", DEVICE, 0xFFFF_0000_1234_5678, 0x10000, 4096, 0, 2),
    event("dma_map_sg", DEVICE, [0x40000000, 0x50000000], [1 << 40, 1 << 41], [512, 1024], 1, 0),
    event("dma_map_sg", DEVICE, [0x40000000, 0x50000000], [1 << 40], [1024], 1, 0),
    event("dma_map_sg_err", DEVICE, [0x40000000, 0x50000000], -5, 1, 0),
    event("dma_unmap_sg", DEVICE, [0x40000000, 0x50000000], 1, 0),
    event("dma_sync_sg_for_cpu", DEVICE, [1 << 40], [512], 2),
    event("swiotlb_bounced", DEVICE, (1 << 64) - 1, 0x40000000, 512, 1),
    event("swiotlb_bounced", DEVICE, (1 << 32) - 1, 0x40000000, 512, 0),
    event("map", 1 << 39, 0x40000000, 4096),
    event("unmap", 1 << 39, 4096, 0),
    event("io_page_fault", DEVICE, "vfio-pci", 1 << 39, 1),
    event("dma_fence_emit", 7),
]
TWO_CPUS = TraceDat(
    [
        Buffer({0: page(*EVERY_KIND) + page(a_map(), time=8 * 10**9), 1: page(a_map(), a_map())}),
        Buffer({0: b"", 1: page(a_map(delta=1500))}, name="instance"),
    ],
    options=[(5, b"Linux host 7.3.4 aarch64\0"), (77, b"?"), (8, struct.pack("<I", 2))],
)
FORMS = {
    "6": lambda file: file.version_6(),
    "7 none": lambda file: file.version_7(),
    "7 zlib": lambda file: file.version_7("zlib"),
    "7 zstd": lambda file: file.version_7("zstd"),
}


def ignore(count: int) -> None:
    pass


def boot_of(data: bytes) -> Boot:
    return read_trace_dat(Source("t.dat", "trace.dat", data), ignore)


def boot_of_file(name: str) -> Boot:
    return read_trace_dat(open_source(TRACE_DAT / name), ignore)


def told(events: list[Event], *, exact: bool = False) -> list[tuple[object, ...]]:
    """What two ways of telling one trace have in common; the report rounds its times."""
    rows = []
    for one in events:
        assert one.time is not None
        time = one.time if exact else (round(one.time * 1e9) + 500) // 1000
        rows.append(astuple(replace(one, time=time, source=None, line=None)))
    return rows
