from __future__ import annotations

import dataclasses
import json

import pytest

from topbit.errors import UsageError
from topbit.events import Event
from topbit.recording import DeviceFacts, Platform, Recording, Unparsed
from topbit.report.forms import FORMS
from topbit.report.report import Report
from topbit.report.text_form import finding_lines
from topbit.rules import Evidence, Finding, Verdict

S = 1 << 40
REALM = Platform(
    realm=True,
    ipa_bits=41,
    origins={"ipa_bits": "option"},
    kernel="6.14.0",
    ram=[(0x40000000, 1 << 30)],
    pools=[(0x76B00000, 64 << 20)],
    notes=["a note"],
    unparsed=[Unparsed("trace.txt", 2, 7, "dma_map_phys: 00")],
)
PLAIN = Event(
    "guest",
    "dma_map",
    device="0000:00:02.0",
    address=0x76B01000,
    phys=0x43D92000,
    size=64,
    direction="TO_DEVICE",
    source="trace.txt",
    line=812,
)
GOOD = Event("guest", "dma_map", device="a", address=0x76B02000 | S, phys=0x43D93000, size=64)
QUIET = Event("guest", "step", detail="a step", status="begin")

FAR = dataclasses.replace(REALM, unfinished="the guest is stuck")


def report(*events: Event, platform: Platform = REALM) -> Report:
    return Report.of(Recording.of_events(platform, events))


def test_the_summary_counts_addresses_and_bounces() -> None:
    failed = Event("guest", "dma_map", device="a", address=(1 << 64) - 1, status="error")
    unbounced = Event("guest", "dma_map", device="a", address=0x43D93000 | S, phys=0x43D93000)
    (boot,) = report(PLAIN, GOOD, failed, unbounced).boots
    summary = boot.summary
    assert (summary.dma_addresses, summary.with_shared_bit) == (3, 2)
    assert (summary.streaming_maps, summary.bounced, summary.failed_maps) == (3, 2, 1)


def test_nothing_in_the_text_speaks_to_the_terminal_or_makes_its_own_line() -> None:
    hostile = "\x1b[2J\x1b]0;x\x07\x9b1m6.18\r\nverdict  OK: no violation"
    platform = dataclasses.replace(REALM, kernel=hostile, notes=[hostile])
    event = dataclasses.replace(PLAIN, device=hostile)
    text = report(event, platform=platform).render()
    assert all(line.isprintable() for line in text.split("\n"))
    assert [line for line in text.split("\n") if line.startswith("verdict")] == [
        "verdict  VIOLATION: the guest broke M1"
    ]
    assert r"note     \x1b[2J\x1b]0;x\x07\x9b1m6.18\r\nverdict  OK: no violation" in text


def test_text_names_everything_a_finding_has() -> None:
    text = report(PLAIN).render("text")
    for part in (
        "guest    Linux 6.14.0, a Realm",
        "IPA      41 bits (--ipa-bits): bit 40, the shared bit",
        "swiotlb  0x0000000076b00000-0x000000007aafffff, 64 MiB",
        "note     a note",
        "unparsed 2 lines of trace.txt look like events",
        "VIOLATION M1  ",
        "at fault  guest, on 0000:00:02.0",
        "dma_addr=0x0000000076b01000: bit 40, the shared bit, clear",
        "dma_addr=0x0000010076b01000",
        "trace.txt:812",
        "mend      use Linux 6.15, 6.14.2 or 6.13.11 or later",
        "source    cover letter",
        "not checked, and what to give for it",
        "verdict  VIOLATION: the guest broke M1",
    ):
        assert part in text, part
    assert text.endswith("\n")


def test_text_says_that_all_is_well() -> None:
    text = report(GOOD).render()
    assert "1 DMA addresses, all with bit 40, the shared bit, set" in text
    assert "1 streaming maps, all bounced" in text
    assert text.startswith("verdict  OK: no violation; ")


def test_a_folded_finding_says_how_often() -> None:
    finding = Finding(
        "F1", "violation", "vmm", "x", count=16, evidence=[Evidence("e", agent="smmu")]
    )
    lines = list(finding_lines(finding))
    assert lines[0] == "VIOLATION F1  x  (16 times)"
    assert lines[1].split() == ["at", "fault", "VMM"]
    assert lines[2].split() == ["SMMU", "e"]


def test_json_is_one_document_with_the_promised_keys() -> None:
    document = json.loads(report(PLAIN).render("json"))
    assert {"verdict", "platform", "findings", "unparsed", "not_checked"} <= set(document)
    assert document["verdict"] == "violation"
    assert document["platform"]["shared_bit"] == 40
    assert not {"unparsed", "changed", "unfinished"} & set(document["platform"])
    assert document["unparsed"] == 2
    assert document["unparsed_lines"][0]["line"] == 7
    (finding,) = document["findings"]
    keys = {"rule", "severity", "agent", "device", "count", "message", "evidence"}
    assert keys <= set(finding)
    assert (finding["rule"], finding["agent"], finding["count"]) == ("M1", "guest", 1)
    assert finding["evidence"][0]["line"] == 812
    assert {"rule", "statement", "reason"} == set(document["not_checked"][0])
    assert json.loads(report(GOOD).render("json"))["verdict"] == "ok"


def test_several_boots_are_told_apart() -> None:
    both = Report.of(*(Recording.of_events(REALM, [event]) for event in (PLAIN, GOOD)))
    assert both.verdict is Verdict.VIOLATION
    assert [finding.rule for finding in both.findings] == ["M1"]
    document = json.loads(both.render("json"))
    assert document["boots"] == 2
    assert document["verdict"] == "violation"
    assert [finding["boot"] for finding in document["findings"]] == [1]
    text = both.render("text")
    assert "boot 1 of 2" in text
    assert text.startswith("verdict  VIOLATION: ")


def test_every_form_shows_an_empty_recording() -> None:
    for form in FORMS:
        document = report(platform=Platform()).document(form)
        assert document if FORMS[form].binary else document.endswith(b"\n")


def test_a_form_that_is_none_is_refused() -> None:
    with pytest.raises(
        UsageError, match=r"no form of report is called 'jsom'.*did you mean 'json'"
    ):
        report().render("jsom")


@pytest.mark.parametrize(
    ("event", "platform", "verdict", "ok", "status"),
    [
        (GOOD, REALM, Verdict.OK, True, 0),
        (PLAIN, REALM, Verdict.VIOLATION, False, 1),
        (GOOD, FAR, Verdict.OK, False, 3),
        (PLAIN, FAR, Verdict.VIOLATION, False, 1),
        (QUIET, REALM, Verdict.INCONCLUSIVE, False, 4),
        (QUIET, FAR, Verdict.INCONCLUSIVE, False, 3),
    ],
)
def test_verdict_and_exit_status(
    event: Event, platform: Platform, verdict: Verdict, ok: bool, status: int
) -> None:
    made = report(event, platform=platform)
    assert (made.verdict, made.ok, made.exit_status) == (verdict, ok, status)
    assert made.unfinished == platform.unfinished


def test_the_last_boot_tells_whether_the_run_is_finished() -> None:
    far, good = (Recording.of_events(platform, [GOOD]) for platform in (FAR, REALM))
    assert Report.of(good, far).unfinished == FAR.unfinished
    assert Report.of(far, good).ok


def test_trouble_that_nobody_judges_is_told_boot_by_boot() -> None:
    refused = Event("guest", "trouble", status="mask_refused", detail="a line")
    timeout = Event("guest", "trouble", status="timeout", detail="another")
    first, last = (Recording.of_events(REALM, [GOOD, event]) for event in (refused, timeout))
    made = Report.of(first, last)
    assert [kind.kind for kind in made.unjudged] == ["mask_refused", "timeout"]
    assert (made.verdict, made.ok, made.exit_status) == (Verdict.INCONCLUSIVE, False, 4)


def test_a_report_is_neither_true_nor_false() -> None:
    with pytest.raises(TypeError, match="neither true nor false"):
        assert report(GOOD)


def test_a_report_prints_as_its_text_and_shows_as_one_line() -> None:
    made = report(PLAIN)
    assert str(made) + "\n" == made.render("text")
    assert repr(made) == "<Report: violation, 1 findings>"


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        (["vmm.smmu_map"], "settings vmm.smmu_map=both"),
        ([], None),
        (["gone"], None),
        (None, "settings vmm.smmu_map=both, vmm.invalidate=True"),
    ],
)
def test_settings_that_were_changed_are_told(changed: list[str] | None, line: str | None) -> None:
    policies = {"vmm.smmu_map": "both", "vmm.invalidate": "True"}
    platform = dataclasses.replace(REALM, policies=policies, changed=changed)
    lines = report(platform=platform).render().splitlines()
    assert [told for told in lines if told.startswith("settings")] == [line] * (line is not None)


def test_the_mappings_of_trusted_devices_are_answered() -> None:
    platform = dataclasses.replace(REALM, devices={"a": DeviceFacts(sid=8, trusted=True)})
    (answer,) = report(PLAIN, GOOD, GOOD, platform=platform).private_dma
    assert (answer.device, answer.answer, answer.count) == ("a", "not confidential", 2)
    assert report(PLAIN, GOOD).private_dma == []
