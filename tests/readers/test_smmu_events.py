from __future__ import annotations

import struct

import pytest

from topbit.errors import InputError
from topbit.readers.lines import log_line
from topbit.readers.smmu_log import SmmuLog
from topbit.readers.smmu_queue import parse

# Records 0 and 19 of tests/data/recordings/vmm-maps-protected-half/smmu-eventq.bin.
READ = struct.pack("<4Q", 0x10_00000010, 0x288_00000000, 0x100433CE000, 0x100433CE000)
WRITE = struct.pack("<4Q", 0x08_00000010, 0x280_00000000, 0x1007AC61A44, 0x1007AC61A44)


def test_records_of_a_queue() -> None:
    first, second = parse("q.bin", READ + bytes(32) + WRITE + bytes(64))
    assert (first.sid, first.address, first.direction) == (0x10, 0x100433CE000, "r")
    assert (first.status, first.attrs, first.line) == ("F_TRANSLATION", "s2|IN", 0)
    assert (second.sid, second.address, second.direction, second.line) == (
        0x8,
        0x1007AC61A44,
        "w",
        2,
    )
    assert second.phys == 0x1007AC61000


def test_an_unused_queue_holds_no_event() -> None:
    assert parse("q.bin", bytes(4096)) == []


@pytest.mark.parametrize("size", [1, 31, 33, 4095])
def test_a_truncated_queue_is_an_error(size: int) -> None:
    with pytest.raises(InputError, match="multiple of 32-byte records"):
        parse("q.bin", (READ + bytes(4096))[:size])


def test_something_else_is_an_error() -> None:
    with pytest.raises(InputError, match="record 1 has type 0xff"):
        parse("q.bin", READ + b"\xff" + bytes(31))


RAW = """\
[  900.1] arm-smmu-v3 arm-smmu-v3.0.auto: event 0x10 received:
[  900.1] arm-smmu-v3 arm-smmu-v3.0.auto: \t0x0000010000000010
[  900.1] arm-smmu-v3 arm-smmu-v3.0.auto: \t0x0000020000000000
[  900.1] arm-smmu-v3 arm-smmu-v3.0.auto: \t0x00000080fc200000
[  900.1] arm-smmu-v3 arm-smmu-v3.0.auto: \t0x0000000000000000
"""
DECODED = """\
[  900.1] arm-smmu-v3 arm-smmu-v3.0.auto: event: F_TRANSLATION client: 0000:01:00.0 sid: 0x100 \
ssid: 0x0 iova: 0x80fc200000 ipa: 0x0
[  900.1] arm-smmu-v3 arm-smmu-v3.0.auto: unpriv data write s1 "Input address caused fault" \
stag: 0x0
"""


@pytest.mark.parametrize(
    ("text", "device"),
    [(RAW, None), (RAW + DECODED, "0000:01:00.0"), (DECODED, "0000:01:00.0")],
    ids=["6.12: raw only", "7.2: both forms", "the decoded form only"],
)
def test_one_event_of_a_host_log(text: str, device: str | None) -> None:
    log = SmmuLog()
    taken = [log.take(log_line(n, line)) for n, line in enumerate(text.splitlines(), 1)]
    (event,) = [event for event in taken if event is not None]
    assert (event.device, event.sid, event.address) == (device, 0x100, 0x80FC200000)
    assert (event.status, event.direction) == ("F_TRANSLATION", "w")
    assert (event.attrs or "").startswith("s1")


def test_events_of_two_smmus_do_not_mix() -> None:
    log = SmmuLog()
    other = RAW.replace("v3.0.auto", "v3.1.auto").replace("80fc200000", "80fc300000")
    mixed = [
        line for pair in zip(RAW.splitlines(), other.splitlines(), strict=True) for line in pair
    ]
    events = [e for n, line in enumerate(mixed) if (e := log.take(log_line(n, line)))]
    assert [event.address for event in events] == [0x80FC200000, 0x80FC300000]


def test_an_unknown_stream_has_no_device() -> None:
    log = SmmuLog()
    text = DECODED.replace("0000:01:00.0", "(unassigned sid)")
    (event,) = [e for n, line in enumerate(text.splitlines()) if (e := log.take(log_line(n, line)))]
    assert event.device is None


def test_the_driver_says_that_records_were_lost() -> None:
    log = SmmuLog()
    for text in (
        "arm-smmu-v3 arm-smmu-v3.0.auto: EVTQ overflow detected -- events lost",
        "arm-smmu-v3 arm-smmu-v3.0.auto: EVTQ write aborted -- events may be lost",
    ):
        event = log.take(log_line(1, f"[    1.000000] {text}"))
        assert event is not None
        assert (event.event, event.agent) == ("smmu_lost", "smmu")
        assert (event.detail or "") in text
