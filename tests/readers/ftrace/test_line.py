from __future__ import annotations

import pytest

from topbit.events import Event
from topbit.readers.ftrace.line import Unparsable, lost_events, parse
from topbit.recording.schema import DMA_MAPPING_ERROR

PREFIX = "          insmod-146     [000] d..2.     5.086159: "


def one(body: str) -> Event:
    parsed = parse(PREFIX + body)
    assert parsed is not None
    (event,) = parsed[0]
    return event


@pytest.mark.parametrize("name", ["dma_map_phys", "dma_map_page", "dma_map_resource"])
def test_streaming_maps_of_every_release(name: str) -> None:
    event = one(
        f"{name}: 0000:00:01.0 dir=TO_DEVICE dma_addr=10076b0a000 size=16 phys_addr=43d921f8 "
        "attrs=SKIP_CPU_SYNC|NO_WARN"
    )
    assert event == Event(
        "guest",
        "dma_map",
        device="0000:00:01.0",
        direction="TO_DEVICE",
        address=0x10076B0A000,
        size=16,
        phys=0x43D921F8,
        attrs="SKIP_CPU_SYNC|NO_WARN",
        time=5.086159,
    )


def test_the_common_events_read_like_the_general_ones() -> None:
    common = one("dma_unmap_phys: d dir=TO_DEVICE dma_addr=1000 size=16 attrs=")
    # A second blank before a field takes the general way.
    general = one("dma_unmap_phys: d  dir=TO_DEVICE dma_addr=1000 size=16 attrs=")
    assert common == general


def test_a_failed_map_is_told_as_error() -> None:
    event = one(
        "dma_map_phys: d dir=TO_DEVICE dma_addr=ffffffffffffffff size=16 phys_addr=44aaa910 attrs="
    )
    assert (event.address, event.status) == (DMA_MAPPING_ERROR, "error")


def test_allocations() -> None:
    event = one(
        "dma_alloc: 0000:00:01.0 dir=BIDIRECTIONAL dma_addr=1007ac64000 size=6726 "
        "virt_addr=0000000072fe36b3 flags=GFP_KERNEL|__GFP_ZERO|__GFP_NOWARN attrs=NO_WARN"
    )
    assert (event.event, event.address, event.size) == ("dma_alloc", 0x1007AC64000, 6726)
    assert event.status is None


@pytest.mark.parametrize("pointer", ["0000000000000000", "(null)", "(nil)"])
def test_a_failed_allocation(pointer: str) -> None:
    event = one(
        f"dma_alloc: d dir=NONE dma_addr=0 size=4096 virt_addr={pointer} flags=GFP_KERNEL attrs="
    )
    assert event.status == "error"


def test_scatterlists_are_one_event_per_entry() -> None:
    parsed = parse(
        PREFIX + "dma_map_sg: 0000:00:02.0 dir=FROM_DEVICE nents=2/2 ents=2/2 "
        "dma_addrs={0x100771f7000,0x100771f9000} sizes={0x1000,0x2000} "
        "phys_addrs={0x41e35000,0x41c87000} attrs=NO_WARN"
    )
    assert parsed is not None
    assert [(e.address, e.size, e.phys) for e in parsed[0]] == [
        (0x100771F7000, 0x1000, 0x41E35000),
        (0x100771F9000, 0x2000, 0x41C87000),
    ]
    parsed = parse(PREFIX + "dma_unmap_sg: d dir=NONE phys_addrs={0x41e35000,0x41c87000} attrs=")
    assert parsed is not None
    assert [(e.event, e.phys) for e in parsed[0]] == [
        ("dma_unmap_sg", 0x41E35000),
        ("dma_unmap_sg", 0x41C87000),
    ]


def test_scatterlists_as_trace_cmd_prints_them() -> None:
    parsed = parse(
        PREFIX + "dma_map_sg:           d dir=TO_DEVICE dma_addrs=1099511627776 2199023255552 "
        "sizes=512 1024 phys_addrs=1073741824 1342177280 attrs="
    )
    assert parsed is not None
    assert [(e.address, e.size, e.phys) for e in parsed[0]] == [
        (1 << 40, 512, 0x40000000),
        (1 << 41, 1024, 0x50000000),
    ]
    with pytest.raises(Unparsable):
        parse(PREFIX + "dma_unmap_sg: d dir=TO_DEVICE phys_addrs=1073741824 134217")


def test_merged_and_truncated_scatterlists() -> None:
    parsed = parse(
        PREFIX + "dma_map_sg: d dir=FROM_DEVICE nents=2/200 ents=1/1 [TRUNCATED] "
        "dma_addrs={0x1000} sizes={0x3000} phys_addrs={0x41e35000,0x41c87000} attrs="
    )
    assert parsed is not None
    assert [(e.address, e.phys, e.detail) for e in parsed[0]] == [(0x1000, None, "truncated")]


def test_swiotlb_bounced() -> None:
    event = one(
        "swiotlb_bounced: dev_name: 0000:00:01.0 dma_mask=ffffffffffffffff dev_addr=43d921f8 "
        "size=16 FORCE"
    )
    assert (event.device, event.mask, event.phys, event.status) == (
        "0000:00:01.0",
        (1 << 64) - 1,
        0x43D921F8,
        "FORCE",
    )


def test_syncs() -> None:
    event = one("dma_sync_single_for_cpu: d dir=FROM_DEVICE dma_addr=1000 size=64")
    assert (event.event, event.detail) == ("dma_sync", "for_cpu")
    event = one("dma_sync_sg_for_device: d dir=FROM_DEVICE dma_addrs={0x1000} sizes={0x40}")
    assert (event.event, event.detail, event.size) == ("dma_sync", "for_device", 0x40)


def test_iommu_events() -> None:
    event = one(
        "map: IOMMU: iova=0x00000080fc200000 - 0x00000080fc201000 paddr=0x0000000884570000 "
        "size=4096"
    )
    assert (event.event, event.address, event.pa) == ("iommu_map", 0x80FC200000, 0x884570000)
    event = one(
        "unmap: IOMMU: iova=0x00000080fc200000 - 0x00000080fc201000 size=4096 unmapped_size=0"
    )
    assert (event.event, event.status) == ("iommu_unmap", "error")
    event = one("io_page_fault: IOMMU:vfio-pci 0000:01:00.0 iova=0x00000080fc200000 flags=0x0001")
    assert (event.event, event.device, event.direction) == ("smmu_event", "0000:01:00.0", "w")


@pytest.mark.parametrize(
    "line",
    [
        # trace-cmd report pads names, of any version; -t prints nanoseconds, -R raw fields.
        "  dd-193   [001] d..2.    14.118258: dma_map_phys:         0000:00:01.0 dir=TO_DEVICE "
        "dma_addr=10078d1a000 size=16 phys_addr=44c8c9f8 attrs=",
        "  dd-193   [001]    14.118258001: dma_map_phys:         0000:00:01.0 dir=TO_DEVICE "
        "dma_addr=10078d1a000 size=16 phys_addr=44c8c9f8 attrs=",
        "  dd-193   [001]-0x1    14.118258001: dma_map_phys:          device=0000:00:01.0 "
        "phys_addr=44c8c9f8 dma_addr=10078d1a000 size=16 dir=1 attrs=0x0",
        "dmabuf:     dd-419   [000] d..2.    21.699467: dma_map_phys:   0000:00:01.0 "
        "dir=TO_DEVICE dma_addr=10078d1a000 size=16 phys_addr=44c8c9f8 attrs=",
        "[   20.1] Nov 22 host kernel: x-1 [000] ..... 1.5: dma_map_phys: 0000:00:01.0 "
        "dir=TO_DEVICE dma_addr=10078d1a000 size=16 phys_addr=44c8c9f8 attrs=",
    ],
)
def test_whatever_stands_before_the_time(line: str) -> None:
    parsed = parse(line)
    assert parsed is not None
    event = parsed[0][0]
    assert (event.address, event.phys, event.direction) == (0x10078D1A000, 0x44C8C9F8, "TO_DEVICE")
    assert event.attrs is None


def test_raw_fields_of_trace_cmd() -> None:
    event = one("dma_unmap_phys:   device=0000:00:01.0 addr=10078d2b800 size=288 dir=1 attrs=0x420")
    assert (event.event, event.address) == ("dma_unmap", 0x10078D2B800)
    assert event.attrs == "SKIP_CPU_SYNC|MMIO"
    event = one(
        "swiotlb_bounced:  dev_name=0000:00:01.0 dma_mask=ffffffff dev_addr=50a71000 size=16 "
        "force=1"
    )
    assert (event.device, event.status) == ("0000:00:01.0", "FORCE")


WHOLE = (
    PREFIX + "dma_map_phys: 0000:00:01.0 dir=TO_DEVICE dma_addr=10076b0a000 size=16 "
    "phys_addr=43d921f8 attrs="
)


@pytest.mark.parametrize("length", range(len(PREFIX) + len("dma_"), len(WHOLE)))
def test_no_truncation_gives_a_wrong_address(length: int) -> None:
    with pytest.raises(Unparsable):
        parse(WHOLE[:length])


@pytest.mark.parametrize(
    "line",
    [
        PREFIX + "dma_map_phys: 0000:00:01.0 dir=TO_DEVICE dma_addr=1007[ 5.1] virtio x",
        PREFIX + "dma_map_phys: d dir=TO_DEVICE dma_addr=xyz size=16 phys_addr=1 attrs=",
        PREFIX + "dma_map_phys: d dir=SIDEWAYS dma_addr=1 size=16 phys_addr=1 attrs=",
        PREFIX + "dma_map_phys: d dir=NONE dma_addr=11112222333344445 size=1 phys_addr=1 attrs=",
        PREFIX + "dma_map_phys: d dir=NONE dma_addr=1 size=-1 phys_addr=1 attrs=",
        PREFIX + "dma_frobnicate: d dir=NONE dma_addr=1",
        PREFIX + "dma_map_sg: d dir=NONE nents=1/1 ents=1/1 dma_addrs={0x1,0x2} sizes={0x1} "
        "phys_addrs={} attrs=",
        "dma_addr=10076b0a000 size=16 phys_addr=43d921f8 attrs=",
        PREFIX + "swiotlb_bounced: dev_name: d dma_mask=ff dev_addr=44aaa910 size=16 NO",
    ],
)
def test_damaged_lines_are_told_not_dropped(line: str) -> None:
    with pytest.raises(Unparsable):
        parse(line)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[    0.000000] Linux version 6.18.15",
        "/sys/kernel/tracing/events/dma: dma_alloc dma_alloc_pages dma_map_phys",
        "=> swiotlb_map (ffffa555e6dcdc7c)",
        "  sh-382  [000] d.h..    20.267693: irq_handler_entry:    irq=11 name=arch_timer",
        "  x-1 [000] .....  1.0: map: something else",
        "  x-1 [000] .....  1.0: dma_fence_emit: driver=virtio_gpu timeline=x context=1 seqno=7",
        "  DMA      [mem 0x0000000040000000-0x000000007fffffff]",
    ],
)
def test_other_lines_are_not_ours(line: str) -> None:
    assert parse(line) is None


def test_a_kernel_message_behind_an_event_is_handed_on() -> None:
    parsed = parse(WHOLE + " [   36.284650] swiotlb_tbl_map_single: 608 callbacks suppressed")
    assert parsed is not None
    events, _, rest = parsed
    assert len(events) == 1
    assert rest.startswith("[   36.284650] swiotlb_tbl_map_single")


@pytest.mark.parametrize(
    ("line", "lost"),
    [
        ("# entries-in-buffer/entries-written: 7673/7673   #P:1", 0),
        ("# entries-in-buffer/entries-written: 100/7673   #P:1", 7573),
        ("CPU:0 [LOST 114 EVENTS]", 114),
        ("CPU:0 [114 EVENTS DROPPED]", 114),
        ("CPU:1 [EVENTS DROPPED]", 1),
        ("nothing", 0),
    ],
)
def test_lost_events(line: str, lost: int) -> None:
    assert lost_events(line) == lost
