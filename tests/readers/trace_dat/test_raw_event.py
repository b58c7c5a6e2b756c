"""Is a record read within its bytes only?"""

from __future__ import annotations

import struct

import pytest

from topbit.events import Event
from topbit.readers.trace_dat.event_format import read_formats
from topbit.readers.trace_dat.raw_event import Decoder, RecordError, decoders_of
from trace_dat_files import KINDS

DEVICE, NUMBER = "nvme0", 7
VALUES: dict[str, tuple[int | str | list[int], ...]] = {
    "dma_map_phys": (DEVICE, 0x4000_0000, 0x100_4000_0000, 512, 1, 0),
    "dma_unmap_page": (DEVICE, 0x100_4000_0000, 512, 1, 0),
    "dma_sync_single_for_cpu": (DEVICE, 0x100_4000_0000, 512, 2),
    "dma_alloc": (DEVICE, 0x1000, 0x100_4000_0000, 4096, 0, 0),
    "dma_map_sg": (DEVICE, [0x4000_0000], [0x100_4000_0000], [512], 1, 0),
    "swiotlb_bounced": (DEVICE, (1 << 64) - 1, 0x4000_0000, 512, 1),
    "map": (0x100_4000_0000, 0x4000_0000, 4096),
}


def decoder(name: str) -> Decoder:
    return decoders_of(read_formats(KINDS[name].format(NUMBER).decode()))[NUMBER]


def record(name: str) -> bytes:
    return KINDS[name].record(NUMBER, *VALUES[name])


@pytest.mark.parametrize("name", VALUES)
def test_a_record_is_read_where_it_stands(name: str) -> None:
    data = record(name)
    page = b"\xff" * 16 + data + b"\xff" * 64
    events = decoder(name)(page, 16, len(data), 1.5)
    assert events == decoder(name)(data, 0, len(data), 1.5)
    assert [event.time for event in events] == [1.5]
    assert [event.device for event in events] == [None if name == "map" else DEVICE]


@pytest.mark.parametrize("name", VALUES)
def test_a_record_that_is_cut_off_is_none_though_more_follows_in_the_page(name: str) -> None:
    data = record(name)
    decode = decoder(name)
    for size in range(8, len(data) - 1):
        with pytest.raises(RecordError):
            decode(data + bytes(64), 0, size, None)


@pytest.mark.parametrize("name", ["dma_map_phys", "swiotlb_bounced"])
@pytest.mark.parametrize(("length", "good"), [(6, True), (7, True), (8, False), (0x100, False)])
def test_a_name_ends_with_its_record(name: str, length: int, good: bool) -> None:
    data = bytearray(record(name)) + b"\0abcdef"
    size = len(data) - 6
    where, _ = struct.unpack_from("<HH", data, 8)
    struct.pack_into("<HH", data, 8, where, length)
    if good:
        (event,) = decoder(name)(bytes(data), 0, size, None)
        assert event.device == DEVICE
    else:
        with pytest.raises(RecordError, match=f"a record of {size} bytes with text at {where}"):
            decoder(name)(bytes(data), 0, size, None)


@pytest.mark.parametrize("name", ["dma_map_phys", "dma_map_sg"])
@pytest.mark.parametrize(
    ("attrs", "shown"),
    [(0, None), (1, None), (1 << 5, "SKIP_CPU_SYNC"), (1 << 5 | 1, "SKIP_CPU_SYNC|0x1")],
)
def test_attributes_are_told_as_the_text_tells_them(
    name: str, attrs: int, shown: str | None
) -> None:
    data = KINDS[name].record(NUMBER, *VALUES[name][:-1], attrs)
    (event,) = decoder(name)(data, 0, len(data), None)
    assert (event.attrs or None) == shown


def test_what_is_bounced() -> None:
    data = record("swiotlb_bounced")
    (event,) = decoder("swiotlb_bounced")(data, 0, len(data), 2.0)
    assert event == Event(
        "guest",
        "swiotlb_bounced",
        device=DEVICE,
        mask=(1 << 64) - 1,
        phys=0x4000_0000,
        size=512,
        status="FORCE",
        time=2.0,
    )
