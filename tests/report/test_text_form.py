"""How is a report written for people?"""

from __future__ import annotations

import dataclasses

import pytest

from report_made import REALM, boot, finding
from topbit.recording import Reading, Unparsed
from topbit.report.boot import BootReport
from topbit.report.text_form import (
    finding_lines,
    render,
    undecided_lines,
    unjudged_lines,
    wrapped,
)
from topbit.report.transfers import Transfers
from topbit.rules.finding import Evidence, NotChecked, Unjudged
from topbit.rules.privacy import Answered, Privacy

MIB = 1 << 20


def lines(*boots: BootReport) -> list[str]:
    text = render(boots)
    assert text.endswith("\n")
    return text.splitlines()


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ({}, []),
        ({"kinds": {"dma_map": 2, "access": 5, "sea": 2}}, ["events   5 access, 2 dma_map, 2 sea"]),
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
         ["data     disk: 1 MiB from the guest, right"]),
    ],
)  # fmt: skip
def test_what_was_seen(numbers: dict[str, object], said: list[str]) -> None:
    shown = [line for line in lines(boot(**numbers)) if line.startswith(("seen", "data", "events"))]  # type: ignore[arg-type]
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


def test_a_finding_that_nothing_decides_tells_its_readings() -> None:
    made = finding("warning", readings=["the VMM did not map it", "it was never shared", "third"])
    assert list(finding_lines(made))[2:] == [
        "  either    the VMM did not map it",
        "  or        it was never shared",
        "  or        third",
    ]


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (1, ["NOT JUDGED leaked  Memory is lost.", "  seen      a line   log:4"]),
        (9, ["NOT JUDGED leaked  Memory is lost.  (9 times)", "  first     a line   log:4"]),
    ],
)
def test_trouble_that_no_finding_judges_is_shown_with_its_first_line(
    count: int, shown: list[str]
) -> None:
    kind = Unjudged("leaked", "Memory is lost.", count, Evidence("a line", "log", 4))
    assert list(unjudged_lines(kind)) == shown
    inside = lines(boot(unjudged=[kind]))
    assert inside[1:5] == ["", *shown, ""]


def test_what_nothing_decides_is_shown_with_what_would() -> None:
    readings = [
        Reading("realm", "no", "IOVAs", "its log"),
        Reading("realm", "yes", "a pool", "--ipa-bits"),
        Reading("scheme", "amd-sme", "a C bit", "its log"),
    ]
    shown = [
        "UNDECIDED  more than one reading fits what was seen",
        "  either    realm no: IOVAs",
        "  or        realm yes: a pool",
        "  or        scheme amd-sme: a C bit",
        "  decides   its log",
        "  decides   --ipa-bits",
    ]
    assert list(undecided_lines(readings)) == shown
    assert lines(boot(undecided=readings))[1:9] == ["", *shown, ""]


def test_the_report_goes_from_the_verdict_to_what_was_not_checked() -> None:
    platform = dataclasses.replace(REALM, unparsed=[Unparsed("trace", 2, 7, "text")])
    kind = Unjudged("leaked", "Memory is lost.", 1, Evidence("a line"))
    reading = Reading("realm", "no", "IOVAs", "its log")
    shown = lines(
        boot(platform, [finding()], [NotChecked("A1", ".", "why")], smmu_events=6,
             unjudged=[kind], undecided=[reading])
    )  # fmt: skip
    starts = ["verdict  ", "VIOLATION ", "NOT JUDGED", "UNDECIDED ", "guest    ", "IPA      ",
              "seen     ", "unparsed ", "not checked"]  # fmt: skip
    order = [next(i for i, line in enumerate(shown) if line.startswith(s)) for s in starts]
    assert order == sorted(order)
    assert order[0] == 0


UNCHECKED = [
    NotChecked(rule, f"{rule} holds.", why)
    for rule, why in (
        ("V2", "no iommu_map event was recorded"),
        ("H4", "the scheme is none, not AMD SME or SEV"),
        ("V3", "no iommu_map event was recorded"),
    )
]


def test_rules_that_were_not_checked_are_folded_by_cause() -> None:
    assert lines(boot(not_checked=UNCHECKED))[-4:] == [
        "",
        "not checked, and what to give for it (-v: rule by rule)",
        "  2 rules   V2, V3: what they look at was not recorded; give the host's trace, "
        "events iommu",
        "  1 rule    H4: they do not concern this machine",
    ]
    assert not any("not checked" in line for line in lines(boot()))


def test_rules_that_were_not_checked_are_told_one_by_one_if_wanted() -> None:
    assert render([boot(not_checked=UNCHECKED)], verbose=True).splitlines()[-4:] == [
        "not checked",
        "  V2        V2 holds. (no iommu_map event was recorded)",
        "  H4        H4 holds. (the scheme is none, not AMD SME or SEV)",
        "  V3        V3 holds. (no iommu_map event was recorded)",
    ]


@pytest.mark.parametrize(
    ("line", "width", "shown"),
    [
        ("", 10, [""]),
        ("verdict  OK", 11, ["verdict  OK"]),
        ("verdict  one two three", 16, ["verdict  one two", "         three"]),
        ("  seen      one two", 15, ["  seen      one", "            two"]),
        ("  seen      re-mapped it", 21, ["  seen      re-mapped", "            it"]),
        ("  seen      a 0x00000100433ce000 b", 20,
         ["  seen      a", "            0x00000100433ce000", "            b"]),
        ("  seen      one  two", 80, ["  seen      one  two"]),
    ],
)  # fmt: skip
def test_long_lines_are_broken_between_words(line: str, width: int, shown: list[str]) -> None:
    assert wrapped(line, width) == shown


def test_boots_are_numbered_if_there_are_several() -> None:
    assert not any(line.startswith("boot") for line in lines(boot()))
    both = lines(boot(), boot(findings=[finding()]))
    assert [line for line in both if line.startswith("boot")] == ["boot 1 of 2", "boot 2 of 2"]
    assert sum(line.startswith("verdict") for line in both) == 1


def test_a_blank_line_stands_before_and_behind_each_finding() -> None:
    shown = lines(boot(findings=[finding(), finding("note")]))
    first = shown.index("VIOLATION M1  something is wrong")
    assert shown[first - 1] == shown[first + 2] == shown[first + 5] == ""
    assert shown[first + 6].startswith("guest    ")


def test_mappings_of_trusted_devices_are_told_after_the_findings() -> None:
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
    assert first > told.index("VIOLATION M1  something is wrong")
    assert told[first + 1 : first + 5] == [
        "private  accel0: 2 mappings not confidential: its page is shared",
        "  guest     dma_map accel0   trace.txt:8",
        "  RMM       a",
        "",
    ]
