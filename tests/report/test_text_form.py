"""How is a report written for people?"""

from __future__ import annotations

import dataclasses

import pytest

from report_made import REALM, boot, finding
from topbit.recording import Platform
from topbit.recording.platform import Unparsed
from topbit.report.boot import BootReport
from topbit.report.text_form import finding_lines, render
from topbit.report.transfers import Transfers
from topbit.rules.finding import Evidence, NotChecked
from topbit.rules.privacy import Answered, Privacy

MIB = 1 << 20


def lines(*boots: BootReport) -> list[str]:
    text = render(boots)
    assert text.endswith("\n")
    return text.splitlines()


def platform(**facts: object) -> BootReport:
    return boot(dataclasses.replace(Platform(), **facts))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("facts", "line"),
    [
        ({}, "guest    unknown kernel, not known whether a Realm"),
        ({"kernel": "6.18", "realm": True}, "guest    Linux 6.18, a Realm"),
        ({"realm": False}, "guest    unknown kernel, no Realm"),
        ({"scheme": "amd-sev", "realm": False}, "guest    unknown kernel, scheme amd-sev"),
        ({"ipa_bits": 41}, "IPA      41 bits: bit 40 is the shared bit"),
        ({"ipa_bits": 41, "origins": {"ipa_bits": "option"}},
         "IPA      41 bits (--ipa-bits): bit 40 is the shared bit"),
        ({"ipa_bits": 48, "origins": {"ipa_bits": "scenario"}},
         "IPA      48 bits (scenario): bit 47 is the shared bit"),
        ({"realm": True}, "IPA      width unknown (--ipa-bits N tells it)"),
        ({"ram": [(0x4000_0000, 1 << 30)]},
         "RAM      0x0000000040000000-0x000000007fffffff (1 GiB)"),
        ({"pools": [(0, 64 * MIB)]}, "swiotlb  0x0000000000000000-0x0000000003ffffff (64 MiB)"),
        ({"pools": [(0, 1025 << 10)]}, "swiotlb  0x0000000000000000-0x00000000001003ff (1025 KiB)"),
        ({"pools": [(0, 1 << 10)]}, "swiotlb  0x0000000000000000-0x00000000000003ff (1 KiB)"),
        ({"pools": [(0, 1000)]}, "swiotlb  0x0000000000000000-0x00000000000003e7 (1000 bytes)"),
        ({"notes": ["first", "second"]}, "note     second"),
        ({"policies": {"vmm.smmu_map": "both", "other": "x"}, "changed": ["other"]},
         "settings other=x"),
        ({"unparsed": [Unparsed("trace", 2, 7, "text")]},
         "unparsed 2 lines of trace look like events and could not be read, the first at line 7: "
         "text"),
        ({"unparsed": [Unparsed("queue", 1, 0, "text")]},
         "unparsed 1 places of queue look like events and could not be read, the first: text"),
    ],
)  # fmt: skip
def test_what_is_known_of_the_platform(facts: dict[str, object], line: str) -> None:
    assert line in lines(platform(**facts))


@pytest.mark.parametrize(
    ("facts", "start"),
    [
        ({"realm": False}, "IPA"),
        ({}, "IPA"),
        ({"policies": {"vmm.smmu_map": "alias"}, "changed": []}, "settings"),
        ({"policies": {}}, "settings"),
    ],
)
def test_what_is_not_worth_a_line(facts: dict[str, object], start: str) -> None:
    assert not [line for line in lines(platform(**facts)) if line.startswith(start)]


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ({}, []),
        ({"dma_addresses": 3, "with_shared_bit": 3},
         ["seen     3 DMA addresses, all with bit 40, the shared bit, set"]),
        ({"dma_addresses": 3, "with_shared_bit": 2},
         ["seen     3 DMA addresses, 2 with bit 40, the shared bit, set"]),
        ({"dma_addresses": 3, "with_shared_bit": None}, ["seen     3 DMA addresses"]),
        ({"streaming_maps": 2, "bounced": 2}, ["seen     2 streaming maps, all bounced"]),
        ({"streaming_maps": 2, "bounced": 1}, ["seen     2 streaming maps, 1 bounced"]),
        ({"streaming_maps": 2, "bounced": 0}, ["seen     2 streaming maps, 0 bounced"]),
        ({"failed_maps": 4}, ["seen     0 streaming maps, 0 bounced; 4 failed"]),
        ({"accesses": 5, "refused": 1}, ["seen     5 device accesses, 1 refused"]),
        ({"smmu_events": 6}, ["seen     6 SMMU events"]),
        ({"transfers": (Transfers("disk", "", "r", MIB, right=1),)},
         ["data     disk: 1 MiB from the guest right"]),
    ],
)  # fmt: skip
def test_what_was_seen(numbers: dict[str, object], said: list[str]) -> None:
    shown = [line for line in lines(boot(**numbers)) if line.startswith(("seen", "data"))]  # type: ignore[arg-type]
    assert shown == said


def test_outside_a_realm_no_shared_bit_is_counted() -> None:
    other = boot(dataclasses.replace(REALM, realm=False), dma_addresses=3, with_shared_bit=0)
    assert "seen     3 DMA addresses" in lines(other)


def test_a_finding_shows_each_part_on_a_line() -> None:
    made = finding(
        agent="vmm", device="disk", count=3, seen="s", expected="e", hint="m", source="book",
        evidence=[Evidence("one", "trace", 5, "smmu"), Evidence("two", agent="guest"),
                  Evidence("three")],
    )  # fmt: skip
    assert list(finding_lines(made)) == [
        "VIOLATION M1  something is wrong  (3 times)",
        "  at fault  VMM, on disk",
        "  seen      s",
        "  expected  e",
        "  SMMU      one   trace:5",
        "  guest     two",
        "  evidence  three",
        "  mend      m",
        "  source    book",
    ]


def test_a_finding_shows_no_part_that_it_has_not() -> None:
    assert list(finding_lines(finding("warning", agent="rmm"))) == [
        "WARNING M1  something is wrong",
        "  about     RMM",
    ]


@pytest.mark.parametrize(
    ("findings", "line"),
    [
        ([], "verdict: no violation"),
        ([finding("note")], "verdict: no violation; 1 warning or note"),
        ([finding("note"), finding("warning")], "verdict: no violation; 2 warnings or notes"),
        ([finding()], "verdict: VIOLATION of M1; at fault: guest"),
        ([finding(), finding(rule="V1", agent="vmm"), finding(rule="V1", agent="vmm")],
         "verdict: VIOLATION of M1, V1; at fault: guest, VMM"),
        ([finding("note"), finding()],
         "verdict: VIOLATION of M1; at fault: guest; 1 warning or note"),
    ],
)  # fmt: skip
def test_the_verdict_is_one_line(findings: list, line: str) -> None:  # type: ignore[type-arg]
    assert lines(boot(findings=findings))[-1] == line
    halves = boot(findings=findings[:1]), boot(findings=findings[1:])
    assert lines(*halves)[-1] == line


def test_rules_that_were_not_checked_are_told_by_their_reason() -> None:
    entries = [NotChecked(rule, ".", why) for rule, why in
               (("A1", "no events"), ("M1", "no Realm"), ("A2", "no events"))]  # fmt: skip
    shown = lines(boot(not_checked=entries))
    assert shown[-3:] == [
        "not checked: A1, A2: no events",
        "not checked: M1: no Realm",
        "verdict: no violation",
    ]


def test_boots_are_numbered_if_there_are_several() -> None:
    assert not any(line.startswith("boot") for line in lines(boot()))
    both = lines(boot(), boot(findings=[finding()]))
    assert [line for line in both if line.startswith("boot")] == ["boot 1 of 2", "boot 2 of 2"]
    assert sum(line.startswith("verdict") for line in both) == 1


def test_a_blank_line_stands_before_and_behind_each_finding() -> None:
    shown = lines(boot(findings=[finding(), finding("note")]))
    first = shown.index("VIOLATION M1  something is wrong")
    assert shown[first - 1] == shown[first + 2] == shown[-2] == ""


def test_mappings_of_trusted_devices_are_told_before_the_findings() -> None:
    shown = Evidence("dma_map accel0", "trace.txt", 8, "guest")
    answers = (
        Answered("accel0", Privacy.CONFIDENTIAL, "", 1, (shown,)),
        Answered(
            "accel0", Privacy.NOT, "its page is shared", 2, (shown, Evidence("a", agent="rmm"))
        ),
    )
    made = dataclasses.replace(boot(findings=[finding()]), private_dma=answers)
    told = lines(made)
    first = told.index("private  accel0: 1 mapping confidential")
    assert told[first + 1 : first + 6] == [
        "private  accel0: 2 mappings not confidential: its page is shared",
        "  guest     dma_map accel0   trace.txt:8",
        "  RMM       a",
        "",
        "VIOLATION M1  something is wrong",
    ]
