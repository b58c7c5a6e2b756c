"""How does a run become a row of the matrix, and how are rows shown?"""

from __future__ import annotations

import pytest

from report_made import REALM, finding
from topbit.events import Event
from topbit.recording import Recording
from topbit.report.matrix import Cell, Matrix, Row
from topbit.rules.finding import Checked, Finding
from topbit.scenario import DeviceSpec, GuestSpec, Scenario
from topbit.vmm.policy import Masking, SmmuMap, VmmPolicy

DISK, TRUSTED = DeviceSpec("disk"), DeviceSpec("accel", trusted=True)
EMULATED = DeviceSpec("virtio", kind="emulated")


def row(*events: Event, findings: tuple[Finding, ...] = (), **parts: object) -> Row:
    parts = {"device": (DISK, TRUSTED, EMULATED), **parts}
    scenario = Scenario("test", **parts)  # type: ignore[arg-type]
    recording = Recording.of_events(REALM, events)
    return Row.of(scenario, recording, Checked(list(findings), []))


def access(status: str, attrs: str | None = "shared", device: str = "disk") -> Event:
    return Event("device", "access", device, address=1, status=status, attrs=attrs)


def payload(status: str) -> Event:
    return Event("device", "payload", "disk", status=status)


@pytest.mark.parametrize(
    ("events", "reached"),
    [
        ([], "nothing"),
        ([access("ok")], "shared memory"),
        ([access("ok", None)], "nothing"),
        ([access("ok"), access("ok"), access("ok", "private")], "shared memory and private memory"),
        ([access("ok"), access("F_TRANSLATION"), access("GPF")], "F_TRANSLATION"),
        ([access("unmapped", None)], "no memory slot"),
        ([access("private", None)], "refused: private page"),
        ([access("ok"), payload("wrong")], "wrong data"),
        ([access("ok"), payload("ok")], "shared memory"),
        ([access("GPF"), payload("wrong")], "GPF"),
        ([access("ok"), access("GPF", device="accel")], "shared memory"),
    ],
)
def test_what_a_device_reached(events: list[Event], reached: str) -> None:
    assert row(*events).cells["assigned, untrusted"].reached == reached


def test_an_emulated_devices_accesses_are_the_vmms() -> None:
    event = Event("vmm", "vmm_dma", "virtio", address=1, status="unmapped")
    assert row(event).cells["emulated"].reached == "no memory slot"


def test_a_cell_is_blamed_for_the_violations_of_its_device() -> None:
    findings = (
        finding(device="disk"),
        finding(device="disk", rule="H3"),
        finding(device="disk", rule="H3", message="again"),
        finding(device="disk", rule="F1", agent="vmm"),
        finding("warning", device="disk", rule="S1"),
        finding(device="accel", rule="F9", agent="host"),
        finding(device=None, rule="R1", agent="rmm"),
    )
    made = row(findings=findings)
    assert made.cells["assigned, untrusted"].blame == {"guest": ["M1", "H3"], "vmm": ["F1"]}
    assert made.cells["assigned, trusted (T=1)"].blame == {"host": ["F9"]}
    assert made.cells["emulated"].blame == {}
    assert made.violations == 6
    assert made.rules == {"M1", "H3", "F1", "F9"}


@pytest.mark.parametrize(
    ("policy", "head"),
    [
        (VmmPolicy(), ("6.14.0", "alias", "yes")),
        (VmmPolicy(SmmuMap.BOTH, Masking.KEEP), ("6.14.0", "both", "no")),
    ],
)
def test_a_row_is_named_by_guest_and_vmm(policy: VmmPolicy, head: tuple[str, str, str]) -> None:
    assert row(guest=GuestSpec(kernel="6.14.0"), vmm=policy).head == head


@pytest.mark.parametrize(
    ("blame", "second"),
    [({}, "-"), ({"guest": ["M1", "H3"]}, "guest M1 H3"),
     ({"guest": ["M1"], "vmm": ["F1"]}, "guest M1, VMM F1")],
)  # fmt: skip
def test_a_cell_has_two_lines(blame: dict[str, list[str]], second: str) -> None:
    assert Cell("shared memory", blame).lines() == ("shared memory", second)


def test_the_matrix_is_a_table_with_its_rules_and_its_count() -> None:
    good = Row(("6.15", "alias", "yes"), {"one, two": Cell("shared memory")}, 0, set())
    blame = {"vmm": ["V1", "M1"]}
    bad = Row(("6.14.0", "none", "no"), {"one, two": Cell("GPF", blame)}, 2, {"V1", "M1"})
    assert str(Matrix((good, bad))).splitlines() == [
        "What a device reached for a shared buffer, and who broke which rule",
        "",
        "guest   VMM maps  masks  one,",
        "                         two",
        "------  --------  -----  -------------",
        "6.15    alias     yes    shared memory",
        "                         -",
        "6.14.0  none      no     GPF",
        "                         VMM V1 M1",
        "",
        "  M1  An untrusted device's DMA address says shared: the Realm's bit, no C bit.",
        "  V1  Every DMA address of a live guest mapping is mapped in the device's stage",
        "      2.",
        "",
        "2 runs, 1 of 2 cells without a broken rule",
    ]


def test_a_head_without_a_comma_has_one_line() -> None:
    row = Row(("6.15", "alias", "yes"), {"emulated": Cell("shared memory")}, 0, set())
    assert str(Matrix((row,))).splitlines()[2:4] == [
        "guest  VMM maps  masks  emulated",
        "-----  --------  -----  -------------",
    ]
