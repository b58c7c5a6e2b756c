"""A trace.dat tells what trace-cmd's own report of it tells."""

from __future__ import annotations

import lzma
import os
import struct
import subprocess
import zlib
from dataclasses import astuple, replace
from pathlib import Path

import pytest
import trace_dat_files as made
from hypothesis import given, settings
from hypothesis import strategies as st
from trace_dat_files import Buffer, TraceDat, a_map, event, option, page

from topbit.errors import InputError, TopbitError
from topbit.events import Event
from topbit.machine.qemu import debian
from topbit.readers import read, zstd
from topbit.readers.source import Source, open_source
from topbit.readers.text import Boot, read_text
from topbit.readers.trace_dat import read_trace_dat

DATA = Path(__file__).parents[1] / "data" / "trace_dat"
SAMPLES = sorted(path.name for path in DATA.iterdir() if ".dat" in path.name)
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
BIG_PAGES = replace(
    TWO_CPUS,
    buffers=[
        Buffer({0: b"".join(page(*EVERY_KIND, time=n * 10**9, size=65536) for n in (1, 2, 3))})
    ],
    page_size=65536,
)


def ignore(count: int) -> None:
    pass


def boot_of(data: bytes) -> Boot:
    return read_trace_dat(Source("t.dat", "trace.dat", data), ignore)


def boot_of_text(text: str) -> Boot:
    (boot,) = read_text(Source("t.txt", "text", text=text), ignore)
    return boot


def told(events: list[Event], *, exact: bool = False) -> list[tuple[object, ...]]:
    """What two ways of telling one trace have in common; the report rounds its times."""
    rows = []
    for one in events:
        assert one.time is not None
        time = one.time if exact else (round(one.time * 1e9) + 500) // 1000
        rows.append(astuple(replace(one, time=time, source=None, line=None)))
    return rows


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_tell_what_their_reports_tell(name: str) -> None:
    boot = read_trace_dat(open_source(DATA / name), ignore)
    reports = list(DATA.glob(name.split(".")[0] + ".report*"))
    assert reports
    for path in reports:
        report = boot_of_text(lzma.decompress(path.read_bytes()).decode())
        exact = "-R-t" in path.name
        assert len(boot.events) >= 300
        assert told(boot.events, exact=exact) == told(report.events, exact=exact)
        assert (boot.lost_events, boot.unparsed) == (report.lost_events, None)
    assert boot.facts.kernel == "6.18.15+deb13-cloud-arm64"
    assert boot.clock == ("mono" if "mono" in name else "local")


def test_the_samples_cover_versions_and_what_is_lost() -> None:
    lost = {name: boot_of_file(name).lost_events for name in SAMPLES if "lost" in name}
    assert lost == {"v6-lost.dat.xz": 57, "v7-zstd-lost.dat": 114}


def boot_of_file(name: str) -> Boot:
    return read_trace_dat(open_source(DATA / name), ignore)


FORMS = {
    "6": lambda file: file.version_6(),
    "7 none": lambda file: file.version_7(),
    "7 zlib": lambda file: file.version_7("zlib"),
    "7 zstd": lambda file: file.version_7("zstd"),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("file", [TWO_CPUS, BIG_PAGES], ids=["two CPUs", "64 KiB pages"])
def test_all_forms_tell_every_kind(form: str, file: TraceDat) -> None:
    boot = boot_of(FORMS[form](file))
    assert boot.unparsed is None
    kinds = {one.event for one in boot.events}
    assert kinds >= {"dma_map", "dma_alloc", "dma_sync", "iommu_map", "smmu_event", "dma_unmap_sg"}
    if file is BIG_PAGES:
        assert len(boot.events) == 3 * 25
        return
    assert len(boot.events) == 25 + 1 + 2 + 1
    # CPUs and instances in the order of their times; the number counts every record.
    times = [one.time for one in boot.events]
    assert times == sorted(times)
    assert boot.events[0].line == 0
    assert boot.events[-1].line == len(EVERY_KIND) + 3
    assert boot.events[-1] == Event(
        "guest",
        "dma_map",
        device=DEVICE,
        address=0x100_4000_0000,
        phys=0x4000_0000,
        size=512,
        direction="TO_DEVICE",
        time=8.000001,
        source="t.dat",
        line=len(EVERY_KIND) + 3,
    )


def test_sub_buffers_larger_than_a_page() -> None:
    # As a recorder writes the file that knows of the machine's page size only.
    data = BIG_PAGES.version_7().replace(
        b"\0local\0" + struct.pack("<I", 65536), b"\0local\0" + struct.pack("<I", 4096)
    )
    assert data != BIG_PAGES.version_7()
    assert boot_of(data).events == boot_of(BIG_PAGES.version_7()).events


def test_attributes_are_named_as_the_file_names_them() -> None:
    events = boot_of(TWO_CPUS.version_6()).events
    assert {one.attrs for one in events if one.event == "dma_unmap"} == {
        "SKIP_CPU_SYNC|NO_WARN|0x100000",
        None,
    }


def trace_cmd() -> str:
    """Where is trace-cmd? Missing: skipped, and failed in CI."""
    try:
        return str(debian.find("trace-cmd"))
    except TopbitError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must have it: {error}")
        pytest.skip(str(error))


def report_of(path: Path) -> Boot:
    done = subprocess.run([trace_cmd(), "report", "-i", path], capture_output=True, check=True)
    return boot_of_text(done.stdout.decode())


MOVED = replace(TWO_CPUS, options=[*TWO_CPUS.options, (1, b"0x18bcfe5687\0"), (7, b"-2500\0")])


@pytest.mark.parametrize("form", ["6", "7 none", "7 zstd"])
@pytest.mark.parametrize(
    "file", [TWO_CPUS, BIG_PAGES, MOVED], ids=["two CPUs", "64 KiB pages", "offsets"]
)
def test_trace_cmd_tells_the_same(tmp_path: Path, form: str, file: TraceDat) -> None:
    path = tmp_path / "trace.dat"
    path.write_bytes(FORMS[form](file))
    report = report_of(path)
    boot = boot_of(path.read_bytes())
    assert len(boot.events) > 28
    assert told(boot.events) == told(report.events)
    assert (report.unparsed, report.lost_events) == (None, boot.lost_events)


@pytest.mark.parametrize("version", ["6", "7"])
@pytest.mark.parametrize("name", ["v7-zstd-inst.dat", "v7-zstd-lost.dat", "v7-bookworm-any.dat"])
def test_what_trace_cmd_converts_is_read_alike(tmp_path: Path, name: str, version: str) -> None:
    path = tmp_path / "converted.dat"
    arguments = ["--file-version", version]
    arguments += ["--compression", "none"] if version == "7" else []
    subprocess.run(
        [trace_cmd(), "convert", "-i", DATA / name, "-o", path, *arguments],
        capture_output=True,
        check=True,
    )
    boot, original = boot_of(path.read_bytes()), boot_of_file(name)
    assert told(boot.events, exact=True) == told(original.events, exact=True)
    assert (boot.lost_events, boot.unparsed) == (original.lost_events, None)


def test_lost_events_reach_the_platform(tmp_path: Path) -> None:
    stats = b"CPU: 1\nentries: 9\noverrun: 40\ndropped events: 2\n\0"
    file = TraceDat(
        [
            Buffer(
                {
                    0: page(a_map()) + page(a_map(), time=6 * 10**9, flags=1 << 31),
                    1: page(a_map(), time=6 * 10**9, flags=1 << 31),
                }
            )
        ],
        options=[(2, b"CPU: 0\noverrun: 0\n\0"), (2, stats), (2, b"\nBuffer: x\n\n\0"), (2, stats)],
    )
    path = tmp_path / "trace.dat"
    path.write_bytes(file.version_7("zstd"))
    (recording,) = read([path])
    assert recording.platform.lost_events == 1 + 42


def test_the_report_beside_its_trace_adds_nothing(tmp_path: Path) -> None:
    (tmp_path / "trace.dat").write_bytes((DATA / "v7-zstd-mono.dat").read_bytes())
    (alone,) = read([tmp_path])
    for suffix in ("", "-R-t"):
        text = lzma.decompress((DATA / f"v7-zstd-mono.report{suffix}.txt.xz").read_bytes())
        (tmp_path / f"report{suffix}.txt").write_bytes(text)
    (recording,) = read([tmp_path])
    assert recording.frame.height == alone.frame.height == 510


@pytest.mark.parametrize(("name", "told"), [("v7-zstd-mono.dat", True), ("v7-zlib.dat", False)])
def test_a_clock_that_is_not_the_log_s_is_told(tmp_path: Path, name: str, told: bool) -> None:
    log = tmp_path / "dmesg"
    log.write_text(
        "[    0.000000] Linux version 6.18.15 (x) #1\n[    0.1] RME: Using RSI version\n"
    )
    (recording,) = read([DATA / name, log])
    notes = [note for note in recording.platform.notes if "cannot be compared" in note]
    assert bool(notes) == told
    assert all("the clock mono" in note for note in notes)
    assert not recording.platform.one_clock
    (alone,) = read([DATA / name])
    assert not any("cannot be compared" in note for note in alone.platform.notes)


def test_buffers_with_different_clocks_are_not_merged() -> None:
    file = TraceDat(
        [Buffer({0: page(a_map())}), Buffer({0: page(a_map(), time=1)}, "other", clock="mono")]
    )
    boot = boot_of(file.version_7())
    assert [one.time for one in boot.events] == [5.000001, 1.001e-6]
    assert "different clocks (local, mono)" in boot.notes[0]


def test_a_clock_that_counts_no_time_gives_none() -> None:
    boot = boot_of(TraceDat([Buffer({0: page(a_map(), a_map())}, clock="counter")]).version_6())
    assert [one.time for one in boot.events] == [None, None]
    assert "the clock counter does not count time" in boot.notes[0]


@pytest.mark.parametrize(
    ("number", "value", "time"),
    [(1, b"0x10\0", 5.000017), (7, b"-1000\0", 5.0), (1, b"junk\0", 5.000001)],
)
def test_an_offset_of_the_times_is_added(number: int, value: bytes, time: float) -> None:
    boot = boot_of(TraceDat([Buffer({0: page(a_map())})], options=[(number, value)]).version_7())
    assert boot.events[0].time == time
    assert bool(boot.notes) == (time != 5.000001)


def test_without_its_magic_number_zstandard_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    pack = made.PACKERS["zstd"]
    monkeypatch.setitem(made.PACKERS, "zstd", lambda data: pack(data).removeprefix(zstd.MAGIC))
    assert len(boot_of(TWO_CPUS.version_7("zstd")).events) == 29


# Damaged and hostile files.

SMALL = TraceDat(
    [Buffer({0: page(a_map(), a_map(), size=512)}), Buffer({0: page(a_map(), size=512)}, "x")],
    page_size=512,
)


def boot_or_refusal(data: bytes) -> Boot | None:
    """What does the file tell? None if it is refused as it should be."""
    try:
        return boot_of(data)
    except InputError as error:
        if error.where == "t.dat" and error.mend:
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
    assert error.value.mend


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
    data = bytearray((DATA / name).read_bytes())
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


def test_unknown_options_are_skipped() -> None:
    assert option(77, b"?") in TWO_CPUS.version_6()
    assert boot_of(TWO_CPUS.version_6()).facts.kernel is None, "a host's trace has IOMMU events"
    assert boot_of(TWO_CPUS.version_6()).facts.architecture == ""
    assert boot_of_file("v7-zlib.dat").facts.architecture == "arm64"
