from __future__ import annotations

import dataclasses
import json

from topbit.events import Event
from topbit.recording import Platform, Recording, Unparsed
from topbit.report import FORMATS, Report, render
from topbit.report.text_form import finding_lines
from topbit.rules import Evidence, Finding

S = 1 << 40
REALM = Platform(
    realm=True,
    ipa_bits=41,
    ipa_bits_from="option",
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


def reports(*events: Event) -> list[Report]:
    return [Report.of(Recording.of_events(REALM, events))]


def test_the_summary_counts_addresses_and_bounces() -> None:
    failed = Event("guest", "dma_map", device="a", address=(1 << 64) - 1, status="error")
    unbounced = Event("guest", "dma_map", device="a", address=0x43D93000 | S, phys=0x43D93000)
    (report,) = reports(PLAIN, GOOD, failed, unbounced)
    summary = report.summary
    assert (summary.dma_addresses, summary.with_shared_bit) == (3, 2)
    assert (summary.streaming_maps, summary.bounced, summary.failed_maps) == (3, 2, 1)


def test_nothing_in_the_text_speaks_to_the_terminal_or_makes_its_own_line() -> None:
    hostile = "\x1b[2J\x1b]0;x\x07\x9b1m6.18\r\nverdict: no violation"
    platform = dataclasses.replace(REALM, kernel=hostile, notes=[hostile])
    event = dataclasses.replace(PLAIN, device=hostile)
    text = render([Report.of(Recording.of_events(platform, [event]))], "text")
    assert all(line.isprintable() for line in text.split("\n"))
    assert [line for line in text.split("\n") if line.startswith("verdict")] == [
        "verdict: VIOLATION of M1; at fault: guest"
    ]
    assert "note     1m6.18 verdict: no violation" in text


def test_text_names_everything_a_finding_has() -> None:
    text = render(reports(PLAIN), "text")
    for part in (
        "guest    Linux 6.14.0, a Realm",
        "IPA      41 bits (--ipa-bits): bit 40 is the shared bit",
        "swiotlb  0x0000000076b00000-0x000000007aafffff (64 MiB)",
        "note     a note",
        "unparsed 2 lines of trace.txt look like events",
        "VIOLATION M1  ",
        "at fault  guest, on 0000:00:02.0",
        "dma_addr=0x0000000076b01000: bit 40, the shared bit, clear",
        "dma_addr=0x0000010076b01000",
        "trace.txt:812",
        "mend      use Linux 6.15, 6.14.2 or 6.13.11 or later",
        "source    cover letter",
        "not checked: ",
        "verdict: VIOLATION of M1; at fault: guest",
    ):
        assert part in text, part
    assert text.endswith("\n")


def test_text_says_that_all_is_well() -> None:
    text = render(reports(GOOD), "text")
    assert "1 DMA addresses, all with bit 40, the shared bit, set" in text
    assert "1 streaming maps, all bounced" in text
    assert text.splitlines()[-1] == "verdict: no violation"


def test_a_folded_finding_says_how_often() -> None:
    finding = Finding(
        "F1", "violation", "vmm", "x", count=16, evidence=[Evidence("e", agent="smmu")]
    )
    lines = list(finding_lines(finding))
    assert lines[0] == "VIOLATION F1  x  (16 times)"
    assert lines[1].split() == ["at", "fault", "VMM"]
    assert lines[2].split() == ["SMMU", "e"]


def test_json_is_one_document_with_the_promised_keys() -> None:
    document = json.loads(render(reports(PLAIN), "json"))
    assert {"verdict", "platform", "findings", "unparsed", "not_checked"} <= set(document)
    assert document["verdict"] == "violation"
    assert document["platform"]["shared_bit"] == 40
    assert document["unparsed"] == 2
    assert document["unparsed_lines"][0]["line"] == 7
    (finding,) = document["findings"]
    keys = {"rule", "severity", "agent", "device", "count", "message", "evidence"}
    assert keys <= set(finding)
    assert (finding["rule"], finding["agent"], finding["count"]) == ("M1", "guest", 1)
    assert finding["evidence"][0]["line"] == 812
    assert {"rule", "statement", "reason"} == set(document["not_checked"][0])
    assert json.loads(render(reports(GOOD), "json"))["verdict"] == "ok"


def test_several_boots_are_told_apart() -> None:
    both = reports(PLAIN) + reports(GOOD)
    document = json.loads(render(both, "json"))
    assert document["boots"] == 2
    assert document["verdict"] == "violation"
    assert [finding["boot"] for finding in document["findings"]] == [1]
    text = render(both, "text")
    assert "boot 1 of 2" in text
    assert text.splitlines()[-1].startswith("verdict: VIOLATION")


def test_every_form_shows_an_empty_recording() -> None:
    empty = [Report.of(Recording.of_events(Platform(), []))]
    for form in FORMATS:
        assert render(empty, form)
