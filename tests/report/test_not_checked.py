"""What causes that rules cannot be checked, and what would have to be given?"""

from __future__ import annotations

import dataclasses

import pytest

from topbit.recording import FileFacts, Platform, Recording
from topbit.recording.schema import KINDS
from topbit.report.not_checked import (
    GUEST_TRACE,
    HOST_TRACE,
    KERNEL_LOG,
    OWN_RUNS,
    RECORDED_BY,
    causes,
)
from topbit.rules import check
from topbit.rules.finding import NotChecked
from topbit.rules.rule import any_event

EMPTY = Recording.of_events(Platform(), [])
REALM = Platform(realm=True, ipa_bits=41)


@pytest.mark.parametrize(
    ("reason", "lacks", "give"),
    [
        (any_event("iommu_map")(EMPTY), "what they look at was not recorded", HOST_TRACE),
        (any_event("iommu_map", "iommu_unmap")(EMPTY), "what they look at was not recorded",
         HOST_TRACE),
        (any_event("dma_map", "dma_alloc")(EMPTY), "what they look at was not recorded",
         GUEST_TRACE),
        (any_event("helper")(EMPTY), "what they look at was not recorded", OWN_RUNS),
        # What a log can tell is asked for before a run of one's own.
        (any_event("rtt_map", "iommu_map")(EMPTY), "what they look at was not recorded",
         HOST_TRACE),
        (any_event("swiotlb_full")(EMPTY), "what they look at was not recorded", KERNEL_LOG),
        ("no device access and no SMMU event was recorded",
         "no device access and no SMMU event was recorded",
         "give the host's kernel log, or the SMMU's event queue"),
        ("the width of the IPA space is not known (--ipa-bits N tells it)",
         "the width of the IPA space is not known",
         "give the VMM's log, the guest's trace, or --ipa-bits N"),
        ("the scheme is none, which has no shared bit in DMA addresses",
         "they do not concern this machine", ""),
        ("arm-cca has an attribute bit in DMA addresses", "they do not concern this machine", ""),
        ("the guest is no Realm", "they do not concern this machine", ""),
        ("a reason of a new rule", "a reason of a new rule", ""),
    ],
)  # fmt: skip
def test_the_cause_of_a_reason(reason: str, lacks: str, give: str) -> None:
    (cause,) = causes([NotChecked("M1", "It holds.", reason)], Platform())
    assert (cause.lacks, cause.give, cause.rules) == (lacks, give, ["M1"])


def test_causes_with_the_most_rules_come_first() -> None:
    entries = [NotChecked(rule, ".", why) for rule, why in
               (("A1", "one"), ("A2", "two"), ("A3", "two"), ("A4", "three"))]  # fmt: skip
    assert [(c.lacks, c.rules) for c in causes(entries, Platform())] == [
        ("two", ["A2", "A3"]), ("one", ["A1"]), ("three", ["A4"]),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "platform",
    [Platform(), REALM, dataclasses.replace(REALM, one_clock=False, lost_events=3),
     Platform(scheme="amd-sev", realm=False), Platform(scheme="none", realm=False),
     Platform(realm=False)],
    ids=["unknown", "Realm", "lost events", "SEV", "none", "no Realm"],
)  # fmt: skip
def test_of_each_reason_that_rules_have_something_is_told_to_do(platform: Platform) -> None:
    """Or that nothing can be done: the rule is of another machine."""
    entries = check(Recording.of_events(platform, [])).not_checked
    assert entries
    found = causes(entries, platform)
    assert sorted(rule for cause in found for rule in cause.rules) == sorted(
        e.rule for e in entries
    )
    helpless = {cause.lacks for cause in found if not cause.give}
    assert helpless <= {"they do not concern this machine"}


NO_TROUBLE = NotChecked("P7", ".", any_event("trouble")(EMPTY))
LOG = FileFacts("dmesg", role="guest", kernel="7.2.0")


@pytest.mark.parametrize(
    ("platform", "lacks", "give"),
    [
        (Platform(machine="qemu"), "nothing of what they look at happened in this run", ""),
        (Platform(machine="model"), "nothing of what they look at happened in this run", ""),
        (Platform(files=[LOG]), "the guest's kernel log tells of nothing that they look at", ""),
        (Platform(files=[dataclasses.replace(LOG, kernel=None)]),
         "what they look at was not recorded", KERNEL_LOG),
        (Platform(files=[dataclasses.replace(LOG, role="host")]),
         "what they look at was not recorded", KERNEL_LOG),
    ],
    ids=["QEMU", "model", "its log", "its trace", "the host's log"],
)  # fmt: skip
def test_nobody_is_asked_for_what_was_given(platform: Platform, lacks: str, give: str) -> None:
    (cause,) = causes([NO_TROUBLE], platform)
    assert (cause.lacks, cause.give) == (lacks, give)


def test_nobody_is_asked_for_what_a_run_of_topbits_own_does_not_have() -> None:
    no_ranges = NotChecked("H9", ".", "no dma-ranges of a bus are known")
    given = [causes([no_ranges], Platform(machine=machine))[0].give for machine in ("log", "qemu")]
    assert given == ["only a run of topbit's own tells them", ""]


def test_a_log_is_no_trace() -> None:
    no_trace = NotChecked("V1", ".", any_event("iommu_map")(EMPTY))
    (cause,) = causes([no_trace], Platform(files=[LOG]))
    assert cause.give == HOST_TRACE


def test_the_kinds_that_logs_tell_are_kinds() -> None:
    assert set(RECORDED_BY) <= set(KINDS)
