"""SMMUv3 events and errors as logs tell them."""

from __future__ import annotations

import pytest

from log_lines import events_of, one
from topbit.events import Event

RAW = """\
[  900.100001] arm-smmu-v3 arm-smmu-v3.0.auto: event 0x10 received:
[  900.100002] arm-smmu-v3 arm-smmu-v3.0.auto: \t0x0000010000000010
[  900.100003] arm-smmu-v3 arm-smmu-v3.0.auto: \t0x0000020000000000
[  900.100004] arm-smmu-v3 arm-smmu-v3.0.auto: \t0x00000080fc200000
[  900.100005] arm-smmu-v3 arm-smmu-v3.0.auto: \t0x0000000000000000
"""
DECODED = """\
[  900.100006] arm-smmu-v3 arm-smmu-v3.0.auto: event: F_TRANSLATION client: 0000:01:00.0 \
sid: 0x100 ssid: 0x0 iova: 0x80fc200000 ipa: 0x0
[  900.100007] arm-smmu-v3 arm-smmu-v3.0.auto: unpriv data write s1 "Input address caused fault" \
stag: 0x0
"""
# Xen 4.20; a kernel whose driver is called by another name
XEN = RAW.replace("arm-smmu-v3 arm-smmu-v3.0.auto", "SMMUv3: /soc/iommu@9050000").replace(
    "[  900.10000", "(XEN) [  900.10000"
)


@pytest.mark.parametrize(
    ("text", "device", "attrs"),
    [
        (RAW, None, "s1|IN"),
        (RAW + DECODED, "0000:01:00.0", "s1|IN"),
        (DECODED, "0000:01:00.0", "s1|IN"),
        (XEN, None, "s1|IN"),
        (RAW.replace("\t0x", "      0x"), None, "s1|IN"),
        (
            DECODED.replace('"Input address caused fault"', '"Stage 1 translation table fetch"'),
            "0000:01:00.0",
            "s1|TT",
        ),
        (
            DECODED.split("[  900.100007]")[0] + DECODED.splitlines()[1].partition('"')[0],
            "0000:01:00.0",
            "s1",
        ),
    ],
    ids=["6.12: raw only", "7.2: both forms", "decoded only", "Xen", "tabs lost", "TT", "cut"],
)
def test_one_event(text: str, device: str | None, attrs: str) -> None:
    (event,) = events_of(text)
    assert (event.device, event.sid, event.address) == (device, 0x100, 0x80FC200000)
    assert (event.agent, event.event, event.status) == ("smmu", "smmu_event", "F_TRANSLATION")
    assert (event.direction, event.attrs) == ("w", attrs)


def test_events_of_two_smmus_do_not_mix() -> None:
    other = RAW.replace("v3.0.auto", "v3.1.auto").replace("80fc200000", "80fc300000")
    mixed = [
        line for pair in zip(RAW.splitlines(), other.splitlines(), strict=True) for line in pair
    ]
    events = events_of("\n".join(mixed))
    assert [event.address for event in events] == [0x80FC200000, 0x80FC300000]


def test_other_messages_between_the_lines_of_a_record() -> None:
    lines = RAW.splitlines()
    noise = "[  900.100002] input: gpio-keys as /devices/platform/gpio-keys/input/input0"
    (event,) = events_of("\n".join(line for pair in lines for line in (pair, noise)))
    assert event.address == 0x80FC200000


def test_a_record_that_is_not_whole_is_counted(unparsed: list[str]) -> None:
    cut = "\n".join(RAW.splitlines()[:4])
    assert events_of(cut, unparsed) == []
    assert unparsed == ["arm-smmu-v3 arm-smmu-v3.0.auto: event 0x10 received:"]
    unparsed.clear()
    # A record that begins ends the one before; words of a refused command belong to none.
    command = "[  901.000001] arm-smmu-v3 arm-smmu-v3.0.auto: \t0x0000010000000003"
    (event,) = events_of(f"{cut}\n{RAW}\n{command}", unparsed)
    assert event.address == 0x80FC200000
    assert len(unparsed) == 1


def test_an_unknown_stream_has_no_device() -> None:
    (event,) = events_of(DECODED.replace("0000:01:00.0", "(unassigned sid)"))
    assert event.device is None


AUTO = "arm-smmu-v3 arm-smmu-v3.0.auto: "


@pytest.mark.parametrize(
    "text",
    [
        AUTO + "EVTQ overflow detected -- events lost",
        AUTO + "EVTQ write aborted -- events may be lost",
        AUTO + "EVTQ write aborted -- events may have been lost",
        AUTO + "PRIQ overflow detected -- requests lost",
    ],
)
def test_the_driver_says_that_records_were_lost(text: str) -> None:
    assert one(text) == Event("smmu", "smmu_lost", status="lost", detail=text)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("unexpected global error reported (0x00000001), this could be serious", "smmu_error"),
        ("CMDQ error (cons 0x01000064): Illegal command", "smmu_error"),
        ("device has entered Service Failure Mode!", "smmu_error"),
        ("EVTQ MSI write aborted", "smmu_error"),
        ("CMD_SYNC timeout at 0x00000064 [hwprod 0x00000065, hwcons 0x00000064]", "smmu_timeout"),
        ("CMDQ timeout", "smmu_timeout"),
        ("SMMU Error reported", "smmu_error"),
        ("Wrong VSMMU event on stream 0x10, ignoring", "smmu_error"),
    ],
)
def test_errors_of_the_smmu_itself(text: str, status: str) -> None:
    event = one(AUTO + text)
    assert (event.event, event.status) == ("trouble", status)
    assert (event.attrs, event.detail) == ("smmu=arm-smmu-v3.0.auto", AUTO + text)


@pytest.mark.parametrize("text", ["retrying command fetch", "skipping command in error state:"])
def test_what_follows_an_error_is_no_further_one(text: str) -> None:
    assert events_of(AUTO + text) == []


def test_the_realm_smmu() -> None:
    event = one(
        AUTO + "SMMU event (event num: 0x10 syndrome 0x8000000000 fetch_addr 0x0 "
        "input_addr 0x10076b0a000) reported"
    )
    assert (event.event, event.status, event.address) == (
        "smmu_event",
        "F_TRANSLATION",
        0x10076B0A000,
    )
    event = one(
        AUTO
        + "SMMU event (event num: 0xe1 syndrome 0x0 fetch_addr 0x76000 input_addr 0x1) reported"
    )
    assert (event.status, event.phys) == ("event 0xe1", 0x76000)


def test_a_page_request() -> None:
    head = AUTO + "unexpected PRI request received:"
    text = AUTO + "\tsid 0x00000100.0x00000: [5L] unprivileged RW access at iova 0x00000080fc200000"
    (event,) = events_of(f"{head}\n{text}")
    assert (event.status, event.sid, event.address) == ("smmu_pri", 0x100, 0x80FC200000)
    assert event.direction == "w"
