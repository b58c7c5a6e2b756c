"""Which rules could not be checked, by cause, and what would have to be recorded for them?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from topbit.recording import Platform
from topbit.rules.finding import NotChecked

GUEST_TRACE = "give the guest's trace, events dma and swiotlb"
HOST_TRACE = "give the host's trace, events iommu"
KERNEL_LOG = "give the guest's kernel log, from its start"
OWN_RUNS = "only a run of topbit's own records it"
RECORDED_BY = {
    **dict.fromkeys(
        ("dma_map", "dma_unmap", "dma_unmap_sg", "dma_alloc", "dma_free", "dma_sync"), GUEST_TRACE
    ),
    "swiotlb_bounced": GUEST_TRACE,
    **dict.fromkeys(("iommu_map", "iommu_unmap"), HOST_TRACE),
    **dict.fromkeys(("swiotlb_full", "trouble"), KERNEL_LOG),
}
"""What must be given so that a kind of event is there; of all others only topbit's runs tell."""

NO_EVENT = re.compile(r"no ([\w, ]+) event was recorded")
"""What `topbit.rules.rule.any_event` says."""
OTHER_SCHEME = re.compile(r"the scheme is ([\w-]+)|([\w-]+) has an attribute bit|the guest is no ")
WAYS = (
    ("no device access and no SMMU event", "give the host's kernel log, or the SMMU's event queue"),
    ("in which order host and guest acted", OWN_RUNS),
    ("nothing tells whether the guest is a Realm", "give its kernel log, or --ipa-bits N"),
    (
        "the width of the IPA space is not known",
        "give the VMM's log, the guest's trace, or --ipa-bits N",
    ),
    ("the position of the C bit", "give --c-bit N"),
    ("nothing tells where the guest's RAM lies", KERNEL_LOG),
    ("where the doorbell", KERNEL_LOG),
    ("the low bits of its buffers", KERNEL_LOG),
    ("the trace has gaps", "give the guest's trace unfiltered, of all CPUs"),
    ("not in the order of their times", "give the lines of all CPUs in the order of their times"),
    ("a pKVM guest bounces", KERNEL_LOG),
    ("no dma-ranges of a bus", "only a run of topbit's own tells them"),
    ("than are compared one by one", "give a shorter trace"),
    ("trace lost", "give the trace larger buffers"),
)
"""Words of a reason, and what must be given to change it."""


@dataclass(slots=True)
class Cause:
    """What is lacking, and for which rules?

    Attributes:
        lacks: what is lacking, or why the rules do not apply.
        give: what to record or say, so that they can be checked, a clause; empty if nothing helps.
        rules: their ids.
    """

    lacks: str
    give: str
    rules: list[str]


def causes(entries: Sequence[NotChecked], platform: Platform) -> list[Cause]:
    """Which rules share a cause? The cause with the most rules first."""
    found: dict[tuple[str, str], Cause] = {}
    for entry in entries:
        lacks, give = _cause(entry.reason, platform)
        found.setdefault((lacks, give), Cause(lacks, give, [])).rules.append(entry.rule)
    return sorted(found.values(), key=lambda cause: -len(cause.rules))


def _cause(reason: str, platform: Platform) -> tuple[str, str]:
    for words, give in WAYS:
        if words in reason:
            return reason.partition(" (")[0], "" if platform.own_run else give
    if match := NO_EVENT.fullmatch(reason):
        kinds = re.split(r", | or ", match[1])
        ways = {RECORDED_BY.get(kind, OWN_RUNS) for kind in kinds}
        give = next((way for way in (GUEST_TRACE, HOST_TRACE, KERNEL_LOG) if way in ways), OWN_RUNS)
        if platform.own_run:
            return "nothing of what they look at happened in this run", ""
        if give == KERNEL_LOG and platform.has_guest_log:
            return "the guest's kernel log tells of nothing that they look at", ""
        return "what they look at was not recorded", give
    if OTHER_SCHEME.match(reason):
        return "they do not concern this machine", ""
    return reason, ""
