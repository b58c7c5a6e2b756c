import gzip
import hashlib
import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topbit.machine.qemu.guest.report import GuestReport, StepReport, read_report, step_events
from topbit.machine.qemu.host.outbox import Stream

MARKERS = b"""[    5.812345] Run /init as init process\r
@@ 5.83 boot 6.18.15+deb13-cloud-arm64 cpus 1\r
@@ 6.10 module virtio_blk timeout\r
@@ 6.38 ready\r
[    6.390000] nvme nvme0: @@ is no marker here\r
@@ 6.39 step copy-nvme0n1 start\r
@@ 7.49 step copy-nvme0n1 exit 0\r
@@ 7.50 step run start\r
@@ 7.60 step run exit 3\r
@@ 7.61 step hang start\r
@@ 9.68 step hang exit timeout\r
@@ 9.70 step late start\r
"""
FILES = {
    "./copy-nvme0n1.status": b"0 6.39 7.49\n",
    "./copy-nvme0n1.log": b"md5 1M 8e40 -\n",
    "./hang.status": b"timeout 7.61 9.68\n",
    "./hang.log": b"",
    "./cpu0.raw": b"page",
    "./dmesg.txt": b"[    0.000000] Booting Linux\n",
    "./token": b"\xd2\x84",
}


def packed(files: dict[str, bytes]) -> bytes:
    return gzip.compress(taped(files), mtime=0)


def taped(files: dict[str, bytes]) -> bytes:
    tape = io.BytesIO()
    with tarfile.open(fileobj=tape, mode="w") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return tape.getvalue()


def bundle(data: bytes, digest: str | None = None, end: str = "\r\n") -> bytes:
    digest = digest or hashlib.sha256(data).hexdigest()
    begin = f"{end}@@ bundle begin {len(data)} {digest}{end}"
    return begin.encode() + data + b"\n@@ done\n"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_whole_report_is_read(end: str) -> None:
    report = read_report(MARKERS + bundle(packed(FILES), end=end))
    assert report.complete
    assert report.damage == ""
    assert report.release == "6.18.15+deb13-cloud-arm64"
    assert report.ready == 6.38
    assert report.failed_modules == {"virtio_blk": "timeout"}
    copy = report.steps["copy-nvme0n1"]
    assert (copy.status, copy.start, copy.end) == (0, 6.39, 7.49)
    assert copy.log == "md5 1M 8e40 -\n"
    assert report.steps["hang"].status is None
    assert report.steps["run"].status == 3
    assert report.files["cpu0.raw"] == b"page"
    assert report.dmesg.endswith("Booting Linux\n")
    assert report.files["token"] == b"\xd2\x84"


TAPES = taped({"./formats": b"f"}), taped({"./copy-nvme0n1.log": b"md5 1M 8e40 -\n"})
TRACE = b"\0\0\0\0\4\0\0\0page\0\0\0\0"


@pytest.mark.parametrize(
    ("console", "tapes", "complete", "came"),
    [
        (MARKERS + b"\n@@ done\n", [*TAPES, taped(FILES)], True, FILES.keys()),
        (MARKERS, [*TAPES, taped(FILES)], False, FILES.keys()),
        (MARKERS + b"\n@@ done\n", TAPES, False, {"./formats"}),
        (MARKERS, [*TAPES, taped(FILES)[:3000]], False, {"./copy-nvme0n1.status"}),
        (MARKERS, [TAPES[0], b"x" * 5000, TAPES[1]], False, {"./formats"}),
    ],
)
def test_what_was_handed_out_is_read_as_far_as_it_came(
    console: bytes, tapes: list[bytes], complete: bool, came: set[str]
) -> None:
    report = read_report(console, {Stream.REPORT: b"".join(tapes), Stream.TRACE: TRACE})
    assert report.complete == complete
    assert report.damage == ""
    assert report.files["formats"] == b"f"
    assert report.files["cpu0.raw"] == b"page"
    assert ("token" in report.files) == ("./token" in came)
    assert report.steps["copy-nvme0n1"].status == 0
    assert (report.steps["copy-nvme0n1"].log is not None) == ("./copy-nvme0n1.status" in came)


@settings(deadline=None)
@given(st.data())
def test_hostile_outbox_is_never_an_exception(data: st.DataObject) -> None:
    tape = bytearray(taped(FILES))
    for _ in range(data.draw(st.integers(1, 6))):
        at = 512 * data.draw(st.integers(0, 12)) + data.draw(st.integers(0, 511))
        tape[at : at + 1] = data.draw(st.binary(min_size=1, max_size=1))
    read_report(MARKERS, {Stream.REPORT: bytes(tape), Stream.TRACE: data.draw(st.binary())})


def test_run_that_ended_early_is_read_as_far_as_it_came() -> None:
    report = read_report(MARKERS)
    assert not report.complete
    assert list(report.steps) == ["copy-nvme0n1", "run", "hang", "late"]
    assert report.steps["late"].status is None
    assert report.steps["late"].end is None
    assert "cpu0.raw" not in report.files


GOOD = bundle(packed(FILES))


@pytest.mark.parametrize(
    ("console", "damage"),
    [
        (GOOD[: len(GOOD) // 2], "cut off"),
        (bundle(packed(FILES), "0" * 64), "its hash differs"),
        (GOOD[:200] + b"\n[ 9.1] a kernel message\n" + GOOD[200:], "its hash differs"),
        (bundle(b"no gzip"), "damaged"),
        (bundle(gzip.compress(b"no tar, but long enough" * 100, mtime=0)), "damaged"),
    ],
)
def test_damaged_bundle_is_said_and_markers_still_count(console: bytes, damage: str) -> None:
    report = read_report(MARKERS + console)
    assert damage in report.damage
    assert not report.complete
    assert report.files == {}
    assert report.steps["copy-nvme0n1"].status == 0


def test_bundle_that_unpacks_to_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("topbit.machine.qemu.guest.report.MAX_BUNDLE", 1 << 20)
    report = read_report(bundle(packed({"cpu0.raw": bytes(4 << 20)})))
    assert "larger than 1 MiB" in report.damage


def test_only_plain_files_are_taken_from_the_bundle() -> None:
    tape = io.BytesIO()
    with tarfile.open(fileobj=tape, mode="w") as tar:
        link = tarfile.TarInfo("cpu0.raw")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    assert read_report(bundle(gzip.compress(tape.getvalue()))).files == {}


@settings(deadline=None)
@given(st.data())
def test_hostile_console_is_never_an_exception(data: st.DataObject) -> None:
    console = bytearray(MARKERS + GOOD)
    for _ in range(data.draw(st.integers(0, 6))):
        at = data.draw(st.integers(0, len(console)))
        console[at : at + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=20))
    read_report(bytes(console))


@settings(deadline=None)
@given(st.dictionaries(st.text(min_size=1, max_size=20), st.binary(max_size=40), max_size=5))
def test_hostile_bundle_is_never_an_exception(files: dict[str, bytes]) -> None:
    read_report(bundle(packed({f"{name}.status": data for name, data in files.items()})))


@settings(deadline=None)
@given(st.data())
def test_hostile_tape_is_never_an_exception(data: st.DataObject) -> None:
    tape = bytearray(taped(FILES))
    for _ in range(data.draw(st.integers(1, 6))):
        # Headers are 512 bytes; the first 160 hold name, mode, sizes, sum and type.
        at = 512 * data.draw(st.integers(0, 12)) + data.draw(st.integers(0, 511))
        tape[at : at + 1] = data.draw(st.binary(min_size=1, max_size=1))
    read_report(bundle(gzip.compress(bytes(tape), 1)))


def test_sparse_member_does_not_claim_memory() -> None:
    tape = io.BytesIO()
    with tarfile.open(fileobj=tape, mode="w", format=tarfile.GNU_FORMAT) as tar:
        entry = tarfile.TarInfo("cpu0.raw")
        entry.type = tarfile.GNUTYPE_SPARSE
        tar.addfile(entry)
    raw = bytearray(tape.getvalue())
    raw[386:398] = b"00000000000\0"  # one hole from 0 on
    raw[483:495] = b"77777777777\0"  # 8 GiB in all
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw[:512])
    assert read_report(bundle(gzip.compress(bytes(raw)))).files == {}


@pytest.mark.parametrize("status", ["9" * 5000, "-1", "0x3", "", "٣"])
def test_status_that_is_no_status_is_none(status: str) -> None:
    files = {"a.status": f"{status} 1.0 2.0".encode(), "a.log": b""}
    report = read_report(f"@@ 1.0 step a exit {status}\n".encode() + bundle(packed(files)))
    assert report.steps["a"].status is None


def test_steps_are_told_with_both_ends() -> None:
    report = read_report(MARKERS)
    told = [
        (event.event, event.detail, event.status, event.time, event.attrs)
        for event in step_events(report, {"run": 12, "hang": 1})
    ]
    assert told == [
        ("step", "copy-nvme0n1", "begin", 6.39, None),
        ("step", "copy-nvme0n1", "0", 7.49, None),
        ("step", "run", "begin", 7.5, "times=12"),
        ("step", "run", "3", 7.6, "times=12"),
        ("step", "hang", "begin", 7.61, None),
        ("step", "hang", "hung", 9.68, None),
        ("step", "late", "begin", 9.7, None),
        ("step", "late", "hung", None, None),
    ]


def test_a_step_whose_beginning_nothing_tells_only_ends() -> None:
    report = GuestReport(steps={"run": StepReport("run", 0, None, 2.0)})
    assert [(event.status, event.time) for event in step_events(report, {})] == [("0", 2.0)]
