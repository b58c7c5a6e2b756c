"""Of a damaged or hostile trace.dat what is there is told, and what is wrong is said."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import trace_dat_files as made
from topbit.errors import InputError
from topbit.readers.boot import Boot
from trace_dat_bench import DEVICE, FORMS, SAMPLES, TRACE_DAT, TWO_CPUS, boot_of, told
from trace_dat_files import Buffer, TraceDat, a_map, event, page

SMALL = TraceDat(
    [Buffer({0: page(a_map(), a_map(), size=512)}), Buffer({0: page(a_map(), size=512)}, "x")],
    page_size=512,
)


def boot_or_refusal(data: bytes) -> Boot | None:
    """What does the file tell? None if it is refused as it should be."""
    try:
        return boot_of(data)
    except InputError as error:
        if error.where == "t.dat" and error.hint:
            return None
        raise


@pytest.mark.parametrize("form", FORMS)
def test_a_truncated_file_gives_what_is_there(form: str) -> None:
    whole = FORMS[form](SMALL)
    events = boot_of(whole).events
    kept = set()
    for length in [*range(len(made.MAGIC), 64), *range(64, len(whole), 7)]:
        boot = boot_or_refusal(whole[:length])
        if boot is None:
            continue
        rest = told(events, exact=True)
        for row in told(boot.events, exact=True):
            rest.remove(row)
        assert boot.unparsed is not None
        kept.add(len(boot.events))
    # The options of version 7 stand behind the data that they tell of.
    assert kept >= ({0, 1, 2} if form == "6" else {2})


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (made.MAGIC + b"5\0" + bytes(99), "version '5'; read are 6 and 7"),
        (made.MAGIC + b"6\0\1\x08" + bytes(99), "big-endian"),
        (SMALL.version_6().replace(b"data;\toffset:16", b"data;\toffset:12"), "32-bit kernel"),
        (SMALL.version_7().replace(b"none\x00", b"lzma\x00"), "compressed with 'lzma'"),
        (SMALL.version_6().replace(b"flyrecord\0", b"latency  \0"), "latency tracer's text"),
        (SMALL.version_6().replace(b"flyrecord\0", b"something\0"), "no trace data at offset"),
        (SMALL.version_7().replace(b"none\x00", b"\xff\xff\xff\xff\x00"), "compressed with"),
    ],
)
def test_what_is_not_read_is_said(data: bytes, what: str) -> None:
    with pytest.raises(InputError, match=what) as error:
        boot_of(data)
    assert error.value.where == "t.dat"
    assert error.value.hint


def test_options_that_lead_to_themselves_end() -> None:
    data = bytearray(SMALL.version_7())
    first = struct.unpack_from("<Q", data, data.index(b"none\x001\0") + 7)[0]
    size = struct.unpack_from("<Q", data, first + 8)[0]
    struct.pack_into("<Q", data, first + 16 + size - 8, first)
    with pytest.raises(InputError, match="the options lead back"):
        boot_of(bytes(data))


@pytest.mark.parametrize("algorithm", ["zlib", "zstd"])
def test_a_bomb_is_not_unpacked(algorithm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pack = made.PACKERS[algorithm]
    nothing = pack(bytes(1 << 24))
    # Every chunk says that it holds two pages, and holds 16 MiB.
    monkeypatch.setitem(
        made.PACKERS, algorithm, lambda data: nothing if len(data) == 1024 else pack(data)
    )
    file = replace(SMALL, buffers=[Buffer({0: bytes(1024), 1: page(a_map(), size=512)})])
    boot = boot_of(file.version_7(algorithm))
    assert len(boot.events) == 1
    assert boot.unparsed is not None
    assert "more than the 0x400 bytes that it says" in boot.unparsed.text


def test_a_file_of_bombs_ends() -> None:
    chunk = zlib.compress(bytes(1 << 20), 9)
    cpu = struct.pack("<I", 5000) + (struct.pack("<II", len(chunk), 1 << 20) + chunk) * 200
    data = SMALL.version_7("zlib")
    start = struct.pack("<Q", len(data))
    at = data.index(b"\0local\0") + 7 + 8 + 4
    data = data[:at] + start + data[at + 8 :] + cpu
    boot = boot_of(data)
    assert boot.unparsed is not None
    assert "far more than it can hold" in boot.unparsed.text


MUTATED = {form: make(replace(SMALL, options=TWO_CPUS.options)) for form, make in FORMS.items()}


@settings(deadline=None, max_examples=400)
@given(
    st.sampled_from(list(MUTATED)),
    st.lists(st.tuples(st.integers(0), st.integers(0, 255)), min_size=1, max_size=8),
    st.booleans(),
)
def test_no_damage_is_a_traceback(form: str, flips: list[tuple[int, int]], tail: bool) -> None:
    data = bytearray(MUTATED[form])
    # The parts that tell of others are few bytes; aim at them as often as at the rest.
    start = data.rindex(b"flyrecord\0") if form == "6" else len(data) - 200
    for place, value in flips:
        at = start + place % (len(data) - start) if tail else place % len(data)
        data[at] = value
    data[: len(made.MAGIC)] = made.MAGIC
    boot_or_refusal(bytes(data))


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from([name for name in SAMPLES if name.endswith(".dat")]),
    st.lists(st.tuples(st.integers(0), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_no_damage_of_a_sample_is_a_traceback(name: str, flips: list[tuple[int, int]]) -> None:
    data = bytearray((TRACE_DAT / name).read_bytes())
    for place, value in flips:
        data[len(made.MAGIC) + place % (len(data) - len(made.MAGIC))] = value
    boot_or_refusal(bytes(data))


def test_a_huge_count_of_cpus_is_cut_short() -> None:
    data = SMALL.version_6()
    at = data.index(b"options  \0") - 4
    boot = boot_of(data[:at] + struct.pack("<I", 0xFFFF_FFFF) + data[at + 4 :])
    assert len(boot.events) >= 2
    assert boot.unparsed is not None


def test_a_record_that_makes_no_sense_is_counted() -> None:
    bad = event("dma_map_phys", DEVICE, 0, 0, 512, 9, 0)
    nameless = event("dma_map_phys", "", 0, 0, 512, 1, 0)
    boot = boot_of(TraceDat([Buffer({0: page(a_map(), bad, nameless, a_map())})]).version_6())
    assert len(boot.events) == 2
    assert boot.unparsed is not None
    assert (boot.unparsed.count, boot.unparsed.line) == (2, 0)
    assert boot.unparsed.text == "CPU 0, page 0: dma_map_phys: direction 9"


@pytest.mark.parametrize(
    ("was", "now"),
    [
        (b"dma_addr;\toffset:24;", b"dma_addr;\toffset:16;"),
        (b"size;\toffset:32;", b"size;\toffset:99;"),
        (b"dma_addr;\toffset:24;\tsize:8;", b"dma_addr;\toffset:24;\tsize:3;"),
        (b"char[] device;", b"char[] nobody;"),
        (b"name: dma_map_phys", b"name: dma_map_soon"),
    ],
)
def test_a_format_that_makes_no_sense_is_told(was: bytes, now: bytes) -> None:
    data = TraceDat([Buffer({0: page(a_map(), a_map())})]).version_6()
    assert was in data
    boot = boot_of(data.replace(was, now))
    # Nothing is made up: an address is read where the format says, or the record is counted.
    if boot.unparsed is None:
        assert {one.address for one in boot.events} <= {0x4000_0000, 0x4000_0000 & 0xFFFFFF}
    else:
        assert (boot.unparsed.count, boot.events) == (2, [])


def test_a_long_line_in_a_format_costs_no_time() -> None:
    data = TWO_CPUS.version_6()
    text = b"name: x\nID: 1\nformat:\n\tfield:" + b"a" * 300_000
    formats = struct.pack("<I", 1) + b"dma\0" + struct.pack("<IQ", 1, len(text)) + text
    at = data.index(b"dma\0") - 4
    with pytest.raises(InputError):
        boot_of(data[:at] + formats)
