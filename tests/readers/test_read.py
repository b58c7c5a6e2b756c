"""The recorded runs of real kernels, whole and mangled."""

from __future__ import annotations

import gzip
import lzma
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from paths import DATA
from topbit.errors import InputError, UsageError
from topbit.readers.read import read
from topbit.recording import Platform, Recording
from topbit.report.boot import BootReport

RECORDINGS = DATA / "recordings"
DEVICES = {0x08: "0000:00:01.0", 0x10: "0000:00:02.0", 0x18: "0000:00:03.0", 0x20: "0000:00:04.0"}


def report(*paths: Path, ipa_bits: int | None = None) -> BootReport:
    (recording,) = read(list(paths), ipa_bits=ipa_bits)
    return BootReport.of(recording)


def unpacked(folder: str, name: str) -> str:
    return lzma.decompress((RECORDINGS / folder / f"{name}.xz").read_bytes()).decode()


@pytest.mark.parametrize(
    ("folder", "kernel", "addresses", "maps"),
    [
        ("realm-6.18-ok", "6.18.15+deb13-cloud-arm64", 5114, 2559),
        ("realm-6.16-ok", "6.16.12+deb13-cloud-arm64", 2986, 2207),
    ],
)
def test_good_realms(folder: str, kernel: str, addresses: int, maps: int) -> None:
    told = report(RECORDINGS / folder)
    assert told.checked.verdict == "ok"
    assert told.checked.findings == []
    platform = told.platform
    assert (platform.realm, platform.kernel) == (True, kernel)
    assert (platform.ipa_bits, platform.inferred("ipa_bits")) == (41, True)
    assert platform.ram == [(0x40000000, 1 << 30)]
    assert platform.pools == [(0x76B00000, 64 << 20)]
    assert {facts.sid: name for name, facts in platform.devices.items()}[0x10] == DEVICES[0x10]
    assert platform.devices[DEVICES[0x10]].driver == "nvme"
    assert platform.unparsed == []
    summary = told.summary
    assert summary.dma_addresses == summary.with_shared_bit == addresses
    assert summary.streaming_maps == summary.bounced == maps


def test_the_vmm_that_maps_the_protected_half() -> None:
    told = report(RECORDINGS / "vmm-maps-protected-half")
    assert told.checked.verdict == "violation"
    assert {(f.rule, f.agent) for f in told.checked.findings} == {("F1", "vmm")}
    counts = {f.device: f.count for f in told.checked.findings}
    assert counts == {DEVICES[0x08]: 10, DEVICES[0x10]: 16, DEVICES[0x18]: 7, DEVICES[0x20]: 3}
    assert told.summary.smmu_events == 36


@pytest.mark.parametrize("ipa_bits", [52, None], ids=["given", "from the early console"])
def test_the_wide_ipa_fault_of_the_guest_kernel(ipa_bits: int | None) -> None:
    told = report(RECORDINGS / "wide-ipa-7.3", ipa_bits=ipa_bits)
    violations = [f for f in told.checked.findings if f.severity == "violation"]
    assert {(f.rule, f.agent, f.device) for f in violations} == {
        ("H7", "guest", "a800000.virtio_mmio"),
        ("H7", "guest", "a801000.virtio_mmio"),
    }
    assert "bit 9 (0x200) instead of bit 51" in violations[0].message
    assert "0x000000007bc20200" in violations[0].seen
    # 3004 maps were traced; the console cut one of the lines in two.
    assert told.summary.failed_maps == 3003
    assert sum(entry.count for entry in told.platform.unparsed) == 7
    full = [f for f in told.checked.findings if f.rule == "S1"]
    assert {f.severity for f in full} == {"note"}
    assert all("while it is empty" in f.message for f in full)


def test_the_small_pool_accuses_nobody_of_addressing() -> None:
    told = report(RECORDINGS / "swiotlb-too-small-7.3")
    assert told.checked.verdict == "ok"
    assert {(f.rule, f.severity, f.agent) for f in told.checked.findings} == {
        ("S1", "warning", "guest")
    }
    assert "1 MiB is too small" in told.checked.findings[0].message
    # The messages that the console repeats at its end count once.
    assert sum(f.count for f in told.checked.findings) == 150


def test_the_driver_that_never_unmaps() -> None:
    told = report(RECORDINGS / "nvme-sgl-unmap-6.18")
    assert [(f.rule, f.device, f.count) for f in told.checked.findings] == [
        ("M7", DEVICES[0x10], 64)
    ]
    # The console holds a copy of the trace; each event counts once.
    assert told.summary.streaming_maps == told.summary.bounced == 621


def test_console_and_trace_can_be_one_file(tmp_path: Path) -> None:
    whole = unpacked("realm-6.18-ok", "console.log") + unpacked("realm-6.18-ok", "trace.txt")
    (tmp_path / "all.log").write_text(whole)
    told = report(tmp_path / "all.log")
    assert told.summary.dma_addresses == 5114
    assert told.checked.verdict == "ok"


def mangled(text: str, how: Callable[[str], str]) -> str:
    return "\n".join(how(line) for line in text.split("\n"))


MANGLINGS: dict[str, Callable[[str], str]] = {
    "carriage returns": lambda line: line + "\r",
    "colours": lambda line: line.replace("[  ", "\x1b[32m[  ", 1).replace("] ", "]\x1b[0m ", 1),
    "caller ids": lambda line: (
        line.replace("] ", "][    T1] ", 1) if line.startswith("[  ") else line
    ),
    "journal": lambda line: "Nov 22 14:02:51 realm kernel: " + line,
    "rsyslog": lambda line: "2026-11-22T14:02:51.123456+00:00 realm kernel: " + line,
    "dmesg -x": lambda line: "kern  :info  : " + line,
    "priority": lambda line: "<6>" + line,
    "noise between": lambda line: line + "\n@@NOISE dd if=/dev/vda",
}


@pytest.mark.parametrize("how", MANGLINGS.values(), ids=MANGLINGS.keys())
def test_logs_as_people_mail_them(tmp_path: Path, how: Callable[[str], str]) -> None:
    for name in ("console.log", "trace.txt"):
        text = mangled(unpacked("vmm-maps-protected-half", name), how)
        (tmp_path / name).write_text(text, newline="")
    shutil.copy(RECORDINGS / "vmm-maps-protected-half" / "smmu-eventq.bin", tmp_path)
    told = report(tmp_path)
    assert (told.platform.realm, told.platform.ipa_bits) == (True, 41)
    assert told.platform.ram == [(0x40000000, 1 << 30)]
    assert len(told.checked.findings) == 4
    assert told.summary.streaming_maps == 22
    assert told.platform.unparsed == []


def test_a_log_without_printk_times(tmp_path: Path) -> None:
    text = unpacked("realm-6.18-ok", "console.log")
    stripped = "\n".join(
        "Nov 22 14:02:51 realm kernel: " + line.partition("] ")[2]
        for line in text.split("\n")
        if line.startswith("[  ")
    )
    (tmp_path / "messages").write_text(stripped)
    told = report(tmp_path / "messages", RECORDINGS / "realm-6.18-ok" / "trace.txt.xz")
    assert (told.platform.realm, told.platform.ipa_bits) == (True, 41)
    assert told.checked.verdict == "ok"


def test_a_line_cut_in_two_is_counted(tmp_path: Path) -> None:
    lines = unpacked("realm-6.18-ok", "trace.txt").split("\n")
    cut = lines[20]
    lines[20] = cut[: cut.index("dma_addr=") + 14] + "[    5.100000] virtio_blk: hello"
    (tmp_path / "trace.txt").write_text("\n".join(lines))
    told = report(tmp_path / "trace.txt")
    (entry,) = told.platform.unparsed
    assert (entry.count, entry.line) == (1, 21)
    assert told.checked.verdict == "ok"


def test_a_trace_alone_tells_realm_and_width() -> None:
    told = report(RECORDINGS / "realm-6.18-ok" / "trace.txt.xz")
    assert (told.platform.realm, told.platform.ipa_bits) == (True, 41)
    assert any("taken for a Realm" in note for note in told.platform.notes)
    assert set(told.platform.devices) == set(DEVICES.values())
    assert told.checked.verdict == "ok"


def test_a_queue_alone_needs_the_width() -> None:
    queue = RECORDINGS / "vmm-maps-protected-half" / "smmu-eventq.bin"
    told = report(queue)
    assert told.checked.findings == []
    assert any("Realm" in entry.reason for entry in told.checked.not_checked)
    told = report(queue, ipa_bits=41)
    assert {f.rule for f in told.checked.findings} == {"F1"}
    assert {f.device for f in told.checked.findings} == {f"StreamID 0x{sid:x}" for sid in DEVICES}


def test_a_guest_that_is_no_realm(tmp_path: Path) -> None:
    for name in ("console.log", "trace.txt"):
        text = unpacked("realm-6.18-ok", name).replace("dma_addr=100", "dma_addr=")
        kept = [
            line for line in text.split("\n") if "RME:" not in line and "Memory enc" not in line
        ]
        (tmp_path / name).write_text("\n".join(kept))
    told = report(tmp_path)
    assert told.platform.realm is False
    assert told.checked.verdict == "ok"


def test_a_realm_with_plain_addresses(tmp_path: Path) -> None:
    for name in ("console.log", "trace.txt"):
        text = unpacked("realm-6.18-ok", name).replace("dma_addr=100", "dma_addr=")
        (tmp_path / name).write_text(text.replace("6.18.15+deb13", "6.14.1"))
    told = report(tmp_path)
    assert told.platform.ipa_bits is None
    found = {(f.rule, f.agent) for f in told.checked.findings}
    assert found == {("M1", "guest")}
    assert all("6.15, 6.14.2 or 6.13.11" in f.hint for f in told.checked.findings)
    assert sum(f.count for f in told.checked.findings) == 2559 + 6


def test_two_boots_in_one_log(tmp_path: Path) -> None:
    first = unpacked("wide-ipa-7.3", "console.log")
    second = unpacked("realm-6.18-ok", "console.log")
    (tmp_path / "console.log").write_text(first + second)
    shutil.copy(RECORDINGS / "realm-6.18-ok" / "trace.txt.xz", tmp_path)
    earlier, last = read([tmp_path])
    assert (earlier.platform.kernel or "").startswith("7.3.4")
    assert (last.platform.kernel or "").startswith("6.18.15")
    assert BootReport.of(earlier).checked.verdict == "violation"
    assert BootReport.of(last).checked.verdict == "ok"
    assert BootReport.of(last).summary.dma_addresses == 5114


def test_a_log_of_very_many_boots(tmp_path: Path) -> None:
    boot = (
        "[    0.000000] Linux version 6.18.{} (b@h) (aarch64-linux-gnu-gcc) #1 aarch64\n"
        "[    {}.000001] RME: Using RSI version 1.0\n"
    )
    path = tmp_path / "console.log"
    path.write_text("".join(boot.format(n, 200 - n) for n in range(103)))
    recordings = read([path])
    assert [r.platform.kernel for r in recordings] == [f"6.18.{n}" for n in range(3, 103)]
    assert any("the first 3 were left out" in note for note in recordings[-1].platform.notes)


def test_a_log_printed_into_itself_is_one_boot(tmp_path: Path) -> None:
    text = unpacked("realm-6.18-ok", "console.log")
    kernel = "\n".join(line for line in text.split("\n") if line.startswith("["))
    (tmp_path / "console.log").write_text(text + "\n$ dmesg\n" + kernel)
    (recording,) = read([tmp_path / "console.log"])
    assert recording.platform.realm


def test_the_same_boot_in_two_files_is_one_run(tmp_path: Path) -> None:
    text = unpacked("swiotlb-too-small-7.3", "console.log")
    (tmp_path / "console.log").write_text(text)
    (tmp_path / "dmesg.txt").write_text(
        "\n".join(line for line in text.split("\n") if line.startswith("["))
    )
    told = report(tmp_path)
    assert sum(f.count for f in told.checked.findings) == 150


def test_host_log_and_guest_log_together(tmp_path: Path) -> None:
    host = [
        "[    0.000000] Booting Linux on physical CPU 0x0000000000 [0x000f0510]",
        "[    0.000000] Linux version 7.2.13 (host) (aarch64-linux-gnu-gcc) #1 SMP",
        "[    0.000000] percpu: Embedded 34 pages/cpu",
        "[  900.1] arm-smmu-v3 arm-smmu-v3.0.auto: event: F_TRANSLATION client: 0000:01:00.0 "
        "sid: 0x100 ssid: 0x0 iova: 0x10076b0a000 ipa: 0x0",
    ]
    (tmp_path / "host.log").write_text("\n".join(host))
    (tmp_path / "guest.log").write_text(unpacked("realm-6.18-ok", "console.log"))
    shutil.copy(RECORDINGS / "realm-6.18-ok" / "trace.txt.xz", tmp_path)
    told = report(tmp_path)
    assert (told.platform.kernel or "").startswith("6.18.15")
    assert [(f.rule, f.agent, f.device) for f in told.checked.findings] == [
        ("F1", "vmm", "0000:01:00.0")
    ]


@pytest.mark.parametrize("pack", [lzma.compress, gzip.compress], ids=["xz", "gz"])
def test_compressed_text(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "console"
    path.write_bytes(pack(unpacked("realm-6.18-ok", "console.log").encode()))
    assert report(path).platform.realm
    assert report(path).platform.files[0].damage == []
    path.write_bytes(path.read_bytes()[:-20])
    (file,) = report(path).platform.files
    assert (file.role, len(file.damage)) == ("guest", 1)
    assert "cut off after" in file.damage[0]
    path.write_bytes(path.read_bytes()[:12])
    with pytest.raises(InputError, match="cut off after 0"):
        read([path])


def test_a_recording_is_read_back(tmp_path: Path) -> None:
    (recording,) = read([RECORDINGS / "vmm-maps-protected-half"])
    path = tmp_path / "run.parquet"
    recording.write(path)
    told = report(path)
    assert len(told.checked.findings) == 4
    with pytest.raises(UsageError, match="contradicts the recording, which has 41") as error:
        read([path], ipa_bits=42)
    assert error.value.where == "--ipa-bits"
    with pytest.raises(UsageError, match="alone"):
        read([path, RECORDINGS / "realm-6.18-ok"])


def test_which_settings_an_older_recording_changed_is_worked_out() -> None:
    (recording,) = read([RECORDINGS / "qemu-concatenated-root"])
    devices = ["device.nvme0", "device.accel0", "device.virtio0", "device.net0"]
    assert recording.platform.changed == ["realm.ram_mib", *devices]


@pytest.mark.parametrize("ipa_bits", [31, 53, 0, -1])
def test_widths_that_no_realm_has(ipa_bits: int) -> None:
    with pytest.raises(UsageError, match="--ipa-bits"):
        read([RECORDINGS / "realm-6.18-ok"], ipa_bits=ipa_bits)


def test_a_contradiction_between_option_and_addresses_is_told() -> None:
    told = report(RECORDINGS / "realm-6.18-ok", ipa_bits=42)
    assert any("--ipa-bits 42 was given, but ipa_bits 41" in n for n in told.platform.notes)
    told = report(RECORDINGS / "realm-6.18-ok", ipa_bits=41)
    assert not any("--ipa-bits" in note for note in told.platform.notes)


def test_only_a_device_that_maps_is_one(tmp_path: Path) -> None:
    trace = tmp_path / "trace.txt"
    trace.write_text(
        "dd-1 [000] d..2. 5.000001: dma_map_phys: maps dir=TO_DEVICE dma_addr=10040000000 size=16 "
        "phys_addr=40000000 attrs=\n"
        "dd-1 [000] d..2. 5.000002: dma_unmap_phys: unmaps dir=TO_DEVICE dma_addr=10040000000 "
        "size=16 attrs=\n"
    )
    assert set(report(trace).platform.devices) == {"maps"}


def test_of_two_copies_the_fuller_one_is_read(tmp_path: Path) -> None:
    lines = unpacked("realm-6.18-ok", "trace.txt").split("\n")
    (tmp_path / "a.txt").write_text("\n".join(lines[:500]))
    (tmp_path / "b.txt").write_text("\n".join(lines))
    (recording,) = read([tmp_path])
    assert set(recording.frame["source"]) == {str(tmp_path / "b.txt")}
    (alone,) = read([tmp_path / "b.txt"])
    assert recording.frame.equals(alone.frame)


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read([tmp_path / "none.log"])
    with pytest.raises(InputError, match="folder without files"):
        read([tmp_path])
    log = tmp_path / "console.log"
    log.write_bytes(b"")
    with pytest.raises(InputError, match="is empty"):
        read([log])
    log.write_bytes(b"hello\nworld\n")
    with pytest.raises(InputError, match="no DMA trace event, no kernel log and no SMMU event"):
        read([log])
    log.write_bytes(b"\x17\x08\x44tracing6\x00" + bytes(100))
    with pytest.raises(InputError, match="damaged or truncated"):
        read([log])


def test_a_truncated_queue_names_the_file(tmp_path: Path) -> None:
    queue = (RECORDINGS / "vmm-maps-protected-half" / "smmu-eventq.bin").read_bytes()
    path = tmp_path / "smmu-eventq.bin"
    path.write_bytes(queue[:-7])
    with pytest.raises(InputError, match=r"smmu-eventq\.bin.*4089 bytes"):
        read([path])


def test_lost_trace_events_are_told(tmp_path: Path) -> None:
    text = unpacked("nvme-sgl-unmap-6.18", "trace.txt")
    (tmp_path / "trace.txt").write_text(text.replace("written: 1798/1798", "written: 1798/9000"))
    told = report(tmp_path / "trace.txt")
    assert told.platform.lost_events == 7202
    # Unmaps may be among the lost events.
    assert told.checked.findings == []


def test_the_recording_keeps_where_each_event_stands() -> None:
    (recording,) = read([RECORDINGS / "realm-6.18-ok" / "trace.txt.xz"])
    assert isinstance(recording, Recording)
    assert isinstance(recording.platform, Platform)
    first = recording.frame.row(0, named=True)
    assert first["line"] == 13
    assert first["source"].endswith("trace.txt.xz")


def test_a_recording_with_other_files_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    Recording.of_events(Platform(), []).write(path)
    with pytest.raises(UsageError, match="a recording is checked alone") as error:
        read([path, RECORDINGS / "realm-6.18-ok"])
    assert (error.value.where, error.value.hint) == (str(path), "give one .parquet file")


def test_files_that_tell_nothing_are_named_with_what_would(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text("hello\n")
    with pytest.raises(InputError, match="holds no DMA trace event") as error:
        read([tmp_path])
    assert error.value.where == f"{tmp_path / 'a'}, {tmp_path / 'b'}"
    assert "dmesg, or an event queue dump" in error.value.hint


@pytest.mark.parametrize("lost", [0, 7])
def test_lost_events_are_noted(tmp_path: Path, lost: int) -> None:
    text = unpacked("realm-6.18-ok", "trace.txt") + f"CPU:1 [LOST {lost} EVENTS]\n" * bool(lost)
    (tmp_path / "trace.txt").write_text(text)
    platform = report(tmp_path / "trace.txt").platform
    notes = [note for note in platform.notes if "were lost" in note]
    assert platform.lost_events == lost
    assert notes == ([f"{lost} trace events were lost before they were read"] if lost else [])
