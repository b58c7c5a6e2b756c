"""Which parts are found in a trace.dat, and what is said of a part that is damaged?"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace

import pytest

from topbit.readers.trace_dat.cursor import RATIO, SLACK, DamagedError
from topbit.readers.trace_dat.file import Cpu, File
from trace_dat_bench import FORMS
from trace_dat_files import MAGIC, NUMBERS, Buffer, TraceDat, a_map, page

BLOCK = 1 << 20
PAGES = page(a_map(), size=512) + page(a_map(), a_map(), size=512)
TWO = TraceDat(
    [Buffer({0: PAGES, 1: PAGES[:512]}, clock="mono"), Buffer({0: PAGES[512:]}, "side", "boot")],
    page_size=512,
)


def data_of(file: File) -> dict[str, list[bytes]]:
    return {
        buffer.name: [b"".join(file.trace_data(buffer, cpu, BLOCK)) for cpu in buffer.cpus]
        for buffer in file.told.buffers
    }


@pytest.fixture(params=FORMS)
def make(request: pytest.FixtureRequest) -> Callable[[TraceDat], bytes]:
    return FORMS[request.param]


def test_buffers_with_their_clocks_and_cpus(make: Callable[[TraceDat], bytes]) -> None:
    file = File(make(TWO))
    assert [(b.name, b.page_size) for b in file.told.buffers] == [("", 512), ("side", 512)]
    assert file.told.buffers[0].clock == "mono"
    found = data_of(file)
    assert found[""] == [PAGES, PAGES[:512]]
    assert found["side"][0] == PAGES[512:]
    assert file.told.damage == []


def test_only_events_that_tell_of_dma_are_known(make: Callable[[TraceDat], bytes]) -> None:
    formats = File(make(TWO)).told.formats
    assert formats[NUMBERS["dma_map_phys"]].name == "dma_map_phys"
    assert NUMBERS["dma_fence_emit"] not in formats
    assert next(iter(formats[NUMBERS["swiotlb_bounced"]].fields)) == "dev_name"


@pytest.mark.parametrize(
    ("options", "fact", "value"),
    [
        ([(5, b"Linux host 7.3.4 aarch64 \0")], "uname", "Linux host 7.3.4 aarch64"),
        ([(1, b"0x10\0")], "offset", 16_000),
        ([(1, b"-16\0")], "offset", -16_000),
        ([(7, b"16\0")], "offset", 16),
        ([(7, b"-0x10\0"), (1, b"1\0")], "offset", 984),
        ([(7, b"soon\0")], "offset", 0),
        ([(2, b"CPU: 1\nentries: 5\noverrun: 3\ndropped events: 4\n\0")],
         "overwritten", {("", 1): 7}),
        ([(2, b"Buffer: side\nCPU: 0\noverrun: 3\n\0"), (2, b"CPU: 1\noverrun: 1\n\0")],
         "overwritten", {("side", 0): 3, ("side", 1): 1}),
        ([(2, b"overrun: 3\n\0")], "overwritten", {}),
        ([(77, b"?")], "damage", []),
    ],
)  # fmt: skip
def test_options_tell_facts(
    make: Callable[[TraceDat], bytes],
    options: list[tuple[int, bytes]],
    fact: str,
    value: object,
) -> None:
    assert getattr(File(make(replace(TWO, options=options))).told, fact) == value


def test_pages_are_handed_out_some_at_a_time() -> None:
    many = PAGES[:512] * 5000
    file = File(TraceDat([Buffer({0: many})], page_size=512).version_6())
    (buffer,) = file.told.buffers
    parts = list(file.trace_data(buffer, buffer.cpus[0], BLOCK))
    assert [len(part) for part in parts] == [1 << 20, 1 << 20, 5000 * 512 - (2 << 20)]
    assert b"".join(parts) == many


@pytest.mark.parametrize("offset", [None, 1 << 40])
def test_a_cpu_without_data_has_no_pages(offset: int | None) -> None:
    file = File(TraceDat([Buffer({0: b""})], page_size=512).version_7("zlib"))
    (buffer,) = file.told.buffers
    (cpu,) = buffer.cpus
    assert list(file.trace_data(buffer, cpu if offset is None else Cpu(0, offset, 0), BLOCK)) == []


def test_cpus_that_share_their_data_end() -> None:
    file = File(TraceDat([Buffer({0: PAGES * 1024})], page_size=512).version_6())
    (buffer,) = file.told.buffers
    (cpu,) = buffer.cpus
    most = RATIO + 2 + SLACK // cpu.size
    parts = (part for _ in range(most) for part in file.trace_data(buffer, cpu, BLOCK))
    with pytest.raises(DamagedError, match="far more than it can hold"):
        list(parts)


def test_of_data_that_is_cut_off_what_is_there_is_given_first() -> None:
    whole = TraceDat([Buffer({0: PAGES})], page_size=512).version_6()
    file = File(whole[:-512])
    (buffer,) = file.told.buffers
    parts = file.trace_data(buffer, buffer.cpus[0], BLOCK)
    assert next(parts) == PAGES[:512]
    with pytest.raises(DamagedError, match="CPU 0: 0x200 of 0x400 bytes are there"):
        next(parts)


def test_a_table_of_cpus_that_is_cut_off_is_told_as_that() -> None:
    whole = TraceDat([Buffer({0: PAGES, 1: PAGES})], page_size=512).version_6()
    at = whole.index(b"flyrecord\0") + 10
    file = File(whole[: at + 24])
    assert len(file.told.buffers[0].cpus) == 1
    (damage,) = file.told.damage
    assert damage.startswith("the table of CPUs: 0x8 bytes at offset")


def test_a_header_that_is_cut_off_is_told_as_that() -> None:
    whole = TWO.version_6()
    with pytest.raises(DamagedError, match=r"^the header info: "):
        File(whole[: whole.index(b"header_event") + 4])


def first_option(data: bytes, number: int) -> int:
    """Where does the first option of this number stand in a file of version 7?"""
    return data.index(struct.pack("<HI", number, 8), len(MAGIC))


def test_without_formats_nothing_can_be_read() -> None:
    data = bytearray(TWO.version_7())
    struct.pack_into("<H", data, first_option(bytes(data), 18), 99)
    with pytest.raises(DamagedError, match="it has no event formats"):
        File(bytes(data))


def test_without_a_header_the_page_size_is_the_buffers_own() -> None:
    data = bytearray(TWO.version_7())
    struct.pack_into("<H", data, first_option(bytes(data), 16), 99)
    assert [buffer.page_size for buffer in File(bytes(data)).told.buffers] == [512, 512]


@pytest.mark.parametrize(("size", "good"), [(511, False), (512, True), (64 << 20, True)])
def test_a_page_has_a_size_that_can_be(size: int, good: bool) -> None:
    data = bytearray(TWO.version_7())
    struct.pack_into("<H", data, first_option(bytes(data), 16), 99)
    at = bytes(data).index(b"\0boot\0") + 6
    struct.pack_into("<I", data, at, size)
    told = File(bytes(data)).told
    assert [buffer.name for buffer in told.buffers] == (["", "side"] if good else [""])
    assert told.damage == ([] if good else [f"a page size of {size} bytes"])
