"""A trace.dat tells what trace-cmd's own report of it tells."""

from __future__ import annotations

import lzma
import os
import struct
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import trace_dat_files as made
from topbit.errors import TopbitError
from topbit.events import Event
from topbit.readers import unpack
from topbit.readers.boot import Boot
from topbit.readers.read import read
from topbit.readers.source import Source, open_source
from topbit.readers.text import read_text
from topbit.readers.trace_dat.reader import read_trace_dat
from topbit.store import tools
from trace_dat_bench import (
    DEVICE,
    EVERY_KIND,
    FORMS,
    SAMPLES,
    TRACE_DAT,
    TWO_CPUS,
    boot_of,
    boot_of_file,
    ignore,
    told,
)
from trace_dat_files import Buffer, TraceDat, a_map, option, page

BIG_PAGES = replace(
    TWO_CPUS,
    buffers=[
        Buffer({0: b"".join(page(*EVERY_KIND, time=n * 10**9, size=65536) for n in (1, 2, 3))})
    ],
    page_size=65536,
)


def boot_of_text(text: str) -> Boot:
    (boot,) = read_text(Source("t.txt", "text", text.encode()), ignore)
    return boot


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_tell_what_their_reports_tell(name: str) -> None:
    boot = read_trace_dat(open_source(TRACE_DAT / name), ignore)
    reports = list(TRACE_DAT.glob(name.split(".")[0] + ".report*"))
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
        return str(tools.find("trace-cmd"))
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
        [trace_cmd(), "convert", "-i", TRACE_DAT / name, "-o", path, *arguments],
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
    (tmp_path / "trace.dat").write_bytes((TRACE_DAT / "v7-zstd-mono.dat").read_bytes())
    (alone,) = read([tmp_path])
    for suffix in ("", "-R-t"):
        text = lzma.decompress((TRACE_DAT / f"v7-zstd-mono.report{suffix}.txt.xz").read_bytes())
        (tmp_path / f"report{suffix}.txt").write_bytes(text)
    (recording,) = read([tmp_path])
    assert recording.frame.height == alone.frame.height == 510


@pytest.mark.parametrize(("name", "told"), [("v7-zstd-mono.dat", True), ("v7-zlib.dat", False)])
def test_a_clock_that_is_not_the_log_s_is_told(tmp_path: Path, name: str, told: bool) -> None:
    log = tmp_path / "dmesg"
    log.write_text(
        "[    0.000000] Linux version 6.18.15 (x) #1\n[    0.1] RME: Using RSI version\n"
    )
    (recording,) = read([TRACE_DAT / name, log])
    notes = [note for note in recording.platform.notes if "cannot be compared" in note]
    assert bool(notes) == told
    assert all("the clock mono" in note for note in notes)
    assert not recording.platform.one_clock
    (alone,) = read([TRACE_DAT / name])
    assert not any("cannot be compared" in note for note in alone.platform.notes)


def test_buffers_with_different_clocks_are_not_merged() -> None:
    file = TraceDat(
        [Buffer({0: page(a_map())}), Buffer({0: page(a_map(), time=1)}, "other", clock="mono")]
    )
    boot = boot_of(file.version_7())
    assert [one.time for one in boot.events] == [5.000001, 1.001e-6]
    assert "different clocks (local, mono)" in boot.notes[0]


def test_a_latency_tracers_text_beside_the_buffers_is_told(tmp_path: Path) -> None:
    path = tmp_path / "trace.dat"
    path.write_bytes(TraceDat([Buffer({0: page(a_map())})], options=[(22, b"?")]).version_7())
    (recording,) = read([path])
    assert recording.frame.height == 1
    assert f"{path}: a latency tracer's text in it was not read" in recording.platform.notes


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
    monkeypatch.setitem(made.PACKERS, "zstd", lambda data: pack(data).removeprefix(unpack.MAGIC))
    assert len(boot_of(TWO_CPUS.version_7("zstd")).events) == 29


def test_unknown_options_are_skipped() -> None:
    assert option(77, b"?") in TWO_CPUS.version_6()
    assert boot_of(TWO_CPUS.version_6()).facts.kernel is None, "a host's trace has IOMMU events"
    assert boot_of(TWO_CPUS.version_6()).facts.architecture == ""
    assert boot_of_file("v7-zlib.dat").facts.architecture == "arm64"


class OddChunks(TraceDat):
    """Packed in chunks that end within pages."""

    def _chunks(self, pages: bytes, pack: Callable[[bytes], bytes]) -> bytes:
        parts = [pages[n : n + 300] for n in range(0, len(pages), 300)]
        made = struct.pack("<I", len(parts))
        for part in parts:
            small = pack(part)
            made += struct.pack("<II", len(small), len(part)) + small
        return made


def test_pages_may_lie_across_chunks() -> None:
    pages = page(a_map(), size=512) + page(a_map(), a_map(), size=512) + page(a_map(), size=512)
    boot = boot_of(OddChunks([Buffer({0: pages})], page_size=512).version_7("zlib"))
    assert len(boot.events) == 4
    assert boot.unparsed is None
