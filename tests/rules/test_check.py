from __future__ import annotations

import dataclasses
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from paths import DATA
from topbit.events import Event
from topbit.readers.read import read
from topbit.recording import FileFacts, Platform, Recording
from topbit.recording import recording as recording_module
from topbit.rules import RULES, Evidence, Finding, check
from topbit.rules.check import AT_ONCE, MAX_EVIDENCE, fold

S = 1 << 40
REALM = Platform(realm=True, ipa_bits=41, ram=[(0x40000000, 1 << 30)])


def plain(device: str, page: int) -> Event:
    return Event(
        "guest",
        "dma_map",
        device=device,
        address=0x76B00000 + page * 4096,
        phys=0x43D92000,
        size=64,
        source="trace.txt",
        line=page + 1,
    )


def test_findings_fold_by_device_with_counts_and_places() -> None:
    events = [plain(device, page) for page in range(20) for device in ("a", "b")]
    found = [f for f in check(Recording.of_events(REALM, events)).findings if f.rule == "M1"]
    assert [(f.device, f.count) for f in found] == [("a", 20), ("b", 20)]
    assert found[0].evidence[0].place == "trace.txt:1"
    assert len(found[0].evidence) <= MAX_EVIDENCE


def test_folded_findings_keep_the_evidence_of_all_up_to_a_limit() -> None:
    def one(number: int, **parts: object) -> Finding:
        finding = Finding("M1", "violation", "guest", "wrong", "disk", count=number + 1)
        finding.evidence = [Evidence(f"{number}a"), Evidence("the same"), Evidence(f"{number}b")]
        return dataclasses.replace(finding, **parts)  # type: ignore[arg-type]

    (folded,) = fold(one(number) for number in range(5))
    assert folded.count == 15
    texts = [evidence.text for evidence in folded.evidence]
    assert texts == ["0a", "the same", "0b", "1a", "1b", "2a", "2b", "3a"]
    for other in ({"rule": "M2"}, {"severity": "note"}, {"agent": "vmm"}, {"device": "nic"},
                  {"message": "other"}):  # fmt: skip
        assert len(fold([one(0), one(1, **other)])) == 2
    assert len(fold([one(0), one(1, seen="another place", hint="another way")])) == 1


def test_a_folded_finding_judges_what_its_evidence_no_longer_shows() -> None:
    def one(number: int) -> Finding:
        shown = [Evidence("text", "log", number)]
        return Finding("M1", "violation", "guest", "wrong", evidence=shown, judged={("q", number)})

    (folded,) = fold(one(number) for number in range(20))
    assert len(folded.evidence) == MAX_EVIDENCE
    assert folded.places() == {(name, number) for name in ("log", "q") for number in range(20)}


def test_a_finding_names_its_source_or_its_rules() -> None:
    (finding,) = (f for f in check(Recording.of_events(REALM, [plain("a", 0)])).findings)
    assert finding.source == RULES[finding.rule].source


def test_the_verdict() -> None:
    checked = check(Recording.of_events(REALM, [plain("a", 0)]))
    assert (checked.verdict, checked.verdict.exit_status) == ("violation", 1)
    warned = [Event("guest", "swiotlb_full", device="a", size=64, attrs="total=512|used=512")]
    checked = check(Recording.of_events(REALM, warned))
    assert [f.severity for f in checked.findings] == ["warning"]
    assert (checked.verdict, checked.verdict.exit_status) == ("ok", 0)


def test_trouble_that_no_finding_judges_is_left() -> None:
    refused = Event("guest", "trouble", status="mask_refused", detail="a line")
    own = Event("host", "trouble", status="dmar", device="a", detail="another")
    full = Event("guest", "swiotlb_full", device="b", size=64, attrs="total=512|used=512")
    checked = check(Recording.of_events(REALM, [refused, own, full]))
    assert [(kind.kind, kind.first.agent) for kind in checked.unjudged] == [
        ("mask_refused", "guest"), ("dmar", "host"),
    ]  # fmt: skip
    assert checked.verdict == "inconclusive"


@pytest.mark.parametrize(
    ("platform", "event", "judged"),
    [
        (REALM, None, False),
        # A rule that only looks for what must not be there judges nothing by its silence.
        (REALM, Event("guest", "step", detail="a step", status="begin"), False),
        (REALM, plain("a", 0), True),
        (Platform(scheme="none", realm=False), plain("a", 0), True),  # by other rules
        (REALM, Event("guest", "swiotlb_full", device="a", attrs="total=5|used=5"), True),
        (REALM, Event("guest", "trouble", status="leaked", detail="a line"), True),
        (dataclasses.replace(REALM, machine="model"), None, True),  # it sees every fault
    ],
)
def test_whether_there_was_anything_to_judge(
    platform: Platform, event: Event | None, judged: bool
) -> None:
    checked = check(Recording.of_events(platform, [event] if event else []))
    assert checked.judged == judged


@pytest.mark.parametrize(
    ("files", "damaged"),
    [
        ([], []),
        ([FileFacts("log"), FileFacts("trace", damage=["is cut off"])], ["trace"]),
        ([FileFacts("picture.png", kind="other", damage=["is a picture"])], []),
    ],
)
def test_a_file_that_could_not_be_read_whole_leaves_the_verdict_open(
    files: list[FileFacts], damaged: list[str]
) -> None:
    platform = dataclasses.replace(REALM, files=files)
    good = dataclasses.replace(plain("a", 0), address=0x76B00000 | S)
    checked = check(Recording.of_events(platform, [good]))
    assert checked.damaged == damaged
    assert checked.verdict == ("inconclusive" if damaged else "ok")
    assert check(Recording.of_events(platform, [plain("a", 0)])).verdict == "violation"


def test_rules_that_are_asked_at_the_same_time_find_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events = [plain(device, page) for page in range(200) for device in ("a", "b")]
    events += [dataclasses.replace(event, event="dma_unmap", size=8) for event in events]
    recording = Recording.of_events(REALM, events)
    alone = check(recording)
    assert {finding.rule for finding in alone.findings} >= {"M1", "M7"}
    pools = []

    def pool(workers: int) -> ThreadPoolExecutor:
        pools.append(workers)
        return ThreadPoolExecutor(workers)

    module = sys.modules[check.__module__]
    monkeypatch.setattr(module, "ThreadPoolExecutor", pool)
    monkeypatch.setattr(module, "MANY", len(events))
    assert check(Recording.of_events(REALM, events)) == alone
    assert pools == [AT_ONCE]
    monkeypatch.setattr(module, "MANY", len(events) + 1)
    assert check(recording) == alone
    assert pools == [AT_ONCE]


@pytest.mark.parametrize("folder", sorted((DATA / "recordings").iterdir()), ids=lambda f: f.name)
def test_a_long_recording_is_judged_as_a_short_one_is(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = check(*read([folder]))
    monkeypatch.setattr(recording_module, "SHORT", 0)
    assert check(*read([folder])) == short


def test_violations_come_first() -> None:
    full = Event("guest", "swiotlb_full", device="a", size=64, attrs="total=512|used=512")
    lost = Event("smmu", "smmu_lost", detail="the queue is full")  # told before M1
    checked = check(Recording.of_events(REALM, [lost, full, plain("a", 0)]))
    assert [(f.rule, f.severity) for f in checked.findings] == [
        ("M1", "violation"), ("F12", "warning"), ("S1", "warning"),
    ]  # fmt: skip


def test_nothing_is_checked_without_events_and_it_says_why() -> None:
    checked = check(Recording.of_events(Platform(), []))
    assert checked.findings == []
    reasons = {entry.rule: entry.reason for entry in checked.not_checked}
    assert "Realm" in reasons["M1"]
    assert all(reasons.values())


@pytest.mark.parametrize(
    "platform",
    [
        Platform(),
        Platform(realm=False),
        Platform(scheme="amd-sev", realm=False),
        Platform(scheme="none", realm=False),
    ],
    ids=["unknown", "no Realm", "SEV", "no scheme"],
)
def test_plain_addresses_are_right_outside_a_realm(platform: Platform) -> None:
    platform = dataclasses.replace(platform, ram=REALM.ram)
    assert check(Recording.of_events(platform, [plain("a", 0)])).findings == []


def test_addresses_behind_a_guest_iommu_are_no_ipas() -> None:
    from topbit.recording import DeviceFacts

    platform = dataclasses.replace(REALM, devices={"a": DeviceFacts(behind_iommu=True)})
    assert check(Recording.of_events(platform, [plain("a", 0)])).findings == []


def test_dma_ranges_are_undone_before_buffers_are_compared() -> None:
    platform = dataclasses.replace(REALM, dma_ranges=[(0x40000000, 0x80000000, 1 << 30)])
    unbounced = plain("a", 0)
    unbounced.phys = 0x43D92000
    unbounced.address = (0x43D92000 + 0x40000000) | S
    findings = check(Recording.of_events(platform, [unbounced])).findings
    assert [f.rule for f in findings] == ["M2"]


def test_any_u64_in_any_column_is_survived() -> None:
    top = (1 << 64) - 1
    kinds = ("dma_map", "dma_alloc", "dma_unmap", "access", "smmu_event", "iommu_map", "convert")
    kinds += ("iommu_unmap", "set_memory", "vmm_dma", "helper", "swiotlb_full", "payload", "ripas")
    for value in (0, 1, S, top, top - 1, 1 << 63):
        events = [
            Event(
                "guest",
                kind,
                address=value,
                phys=value,
                size=size,
                pa=value,
                mask=value,
                status=status,
                sid=0,
            )
            for kind in kinds
            for size in (0, 1, top)
            for status in ("ok", "error", "F_TRANSLATION", "F_PERMISSION", "shared", "private")
        ]
        check(Recording.of_events(REALM, events))


def test_empty_columns_are_survived() -> None:
    from topbit.recording.schema import KINDS

    for status in (None, "F_TRANSLATION", "error", "private", "ok"):
        events = [Event("guest", kind, status=status) for kind in KINDS]
        check(Recording.of_events(REALM, events))


def test_evidence_has_a_place() -> None:
    assert Evidence("x", "trace.txt", 812).place == "trace.txt:812"
    assert Evidence("x").place == ""
    assert sys.getsizeof(Evidence("x"))
