"""F1 to F4: who chose the address of a refused access?"""

from __future__ import annotations

import dataclasses

import pytest

from rule_events import (
    BUFFER,
    DOORBELL,
    FAR,
    HOST,
    LOG,
    LOG_DOORBELL,
    LOG_LOST,
    LOG_NO_RAM,
    LOST,
    NO_RAM,
    OUTSIDE,
    PAGE,
    POOL,
    REALM,
    SHARED,
    S,
    access,
    convert,
    dma_alloc,
    dma_map,
    dma_unmap,
    iommu_map,
    iommu_unmap,
    smmu_event,
)
from rule_findings import NOBODY, blame, found, told
from topbit.events import Event
from topbit.recording import Platform, Recording
from topbit.rules import check

ALIAS = POOL | S


def timed(event: Event, time: float) -> Event:
    return dataclasses.replace(event, time=time)


@pytest.mark.parametrize(
    ("platform", "events", "expected"),
    [
        (REALM, [dma_map(), access(ALIAS)], blame("vmm")),
        (REALM, [dma_map(), access(ALIAS), access(ALIAS + 4)], blame("vmm", 2)),
        (REALM, [dma_map(), access(ALIAS + PAGE - 1)], NOBODY),  # F3: beyond the buffer
        (LOG, [dma_map(), smmu_event(ALIAS + PAGE - 1)], blame("vmm")),  # its page
        (REALM, [dma_map(), access(ALIAS, "F_PERMISSION")], NOBODY),
        (REALM, [dma_map(POOL), access(POOL)], NOBODY),  # F2
        (REALM, [dma_map(ALIAS | 1 << 45), access(ALIAS | 1 << 45)], NOBODY),  # F4
        (REALM, [dma_map(device="tdisp"), access(ALIAS, device="tdisp", sid=0x20)], NOBODY),
        (REALM, [*SHARED, dma_map(), access(ALIAS)], NOBODY),  # F11
        (REALM, [dma_map(), dma_unmap(), access(ALIAS)], NOBODY),  # F3
        (REALM, [access(FAR)], blame("vmm")),  # nothing was traced
        (NO_RAM, [access(FAR)], blame("vmm")),
        (REALM, [access(OUTSIDE | S)], NOBODY),  # F3
        (LOST, [dma_map(), access(FAR)], blame("vmm")),
        (LOG, [dma_alloc(), smmu_event(FAR)], NOBODY),  # F3: from its probe on it was traced
        (LOG, [dma_map(), smmu_event(FAR)], blame("vmm")),
        (LOG, [dma_alloc(device="narrow"), smmu_event(FAR)], blame("vmm")),
        (LOG_LOST, [dma_alloc(), smmu_event(FAR)], blame("vmm")),
    ],
)
def test_f1_a_right_address_that_the_vmm_had_not_mapped(
    platform: Platform, events: list[Event], expected: list[object]
) -> None:
    assert told("F1", platform, *events) == expected


def test_f1_tells_how_it_knows_the_address_to_be_right() -> None:
    (given,) = found("F1", REALM, dma_map(), access(ALIAS + 4))
    assert given.expected == (
        f"a stage-2 mapping at 0x{ALIAS:016x}: the guest gave the device this address"
    )
    assert given.hint.startswith("map each shared page at IPA | 1<<40 (VFIO: iova = gpa | shared")
    assert len(given.evidence) == 2
    assert given.seen.startswith("disk (StreamID 0x10) read 0x")
    (guessed,) = found("F1", REALM, access(FAR + 8))
    assert guessed.expected.startswith(f"a stage-2 mapping at 0x{FAR:016x}: the unprotected alias")
    assert len(guessed.evidence) == 1


@pytest.mark.parametrize(
    ("platform", "events", "agent", "says"),
    [
        (REALM, [dma_map(POOL), access(POOL)], "guest", "gave the device a plain"),
        (REALM, [dma_map(), access(POOL)], "device", "dropped the shared bit"),
        (REALM, [dma_map(POOL), dma_map(), access(POOL)], "guest", "gave the device a plain"),
        (REALM, [dma_map(), access(BUFFER)], "guest", "past the DMA API"),
        (REALM, [access(BUFFER)], "guest", "was given a plain (protected) address of guest RAM"),
        (LOG, [dma_map(), smmu_event(POOL + 64 * PAGE)], "guest", "was given a plain"),
        (LOST, [dma_map(), access(POOL + 64 * PAGE)], "guest", "was given a plain"),
        (REALM, [dma_map(), access(POOL + 64 * PAGE)], None, ""),  # F3
        (LOG, [dma_alloc(), smmu_event(POOL + 64 * PAGE)], None, ""),  # F3
        (REALM, [access(OUTSIDE)], None, ""),
        (NO_RAM, [access(BUFFER)], None, ""),
        (REALM, [dma_map(POOL), access(POOL, "F_PERMISSION")], None, ""),
        (REALM, [dma_map(POOL), access(ALIAS)], None, ""),
        (REALM, [access(BUFFER | 1 << 45)], None, ""),
        (REALM, [access(BUFFER, device="tdisp", sid=0x20)], None, ""),
    ],
)
def test_f2_a_plain_address_and_who_took_the_bit_off(
    platform: Platform, events: list[Event], agent: str | None, says: str
) -> None:
    findings = found("F2", platform, *events)
    if agent is None:
        assert findings == []
        return
    (finding,) = findings
    assert (finding.agent, finding.device, finding.severity) == (agent, "disk", "violation")
    assert says in finding.message
    if "past" not in says:
        value = events[-1].address or 0
        assert finding.expected == f"0x{value | S:016x} (bit 40, the shared bit, set)"
    assert len(finding.evidence) == (1 if "was given" in says else 2)


def test_f2_an_address_in_ram_is_plain_whatever_the_width_is() -> None:
    unknown = dataclasses.replace(LOG, ipa_bits=None)
    (finding,) = found("F2", unknown, smmu_event(FAR & ~S), smmu_event(FAR))
    assert (finding.agent, finding.device, finding.severity) == ("guest", "disk", "violation")
    assert finding.expected == "an address with the shared bit, set"
    checked = check(Recording.of_events(dataclasses.replace(unknown, ram=[]), [smmu_event(FAR)]))
    assert "F2" in {each.rule for each in checked.not_checked}


@pytest.mark.parametrize(
    ("platform", "events", "severity", "says"),
    [
        (REALM, [dma_map(), dma_unmap(), access(ALIAS)], "violation", "after it was unmapped"),
        (REALM, [dma_map(), dma_unmap(), access(POOL)], "violation", "after it was unmapped"),
        (REALM, [dma_map(), access(FAR)], "violation", "that it was never given"),
        (LOG, [dma_alloc(), smmu_event(FAR)], "warning", "that it was never given"),
        (REALM, [dma_map(), access(OUTSIDE)], "violation", "neither mapped nor guest RAM"),
        (REALM, [access(OUTSIDE)], "warning", "neither mapped nor guest RAM"),
        (LOG, [smmu_event(OUTSIDE)], "warning", "neither mapped nor guest RAM"),
        (REALM, [dma_map(), dma_unmap(), access(ALIAS | 1 << 45)], None, ""),  # F4
        (REALM, [dma_map(), dma_unmap(), access(ALIAS, "F_PERMISSION")], None, ""),
        (REALM, [dma_map(), access(ALIAS)], None, ""),  # F1
        (REALM, [dma_map(), access(POOL)], None, ""),  # F2
        (REALM, [dma_map(), access(BUFFER)], None, ""),  # F2
        (REALM, [dma_map(POOL), access(POOL)], None, ""),  # F2
        (LOG, [dma_alloc(FAR), dma_map(), smmu_event(BUFFER)], None, ""),  # F2
        (REALM, [dma_map(BUFFER), dma_unmap(BUFFER), access(BUFFER)], "violation", "after it was"),
        (REALM, [access(FAR)], None, ""),  # F1
        (LOG, [dma_map(), smmu_event(FAR)], None, ""),  # F1
        (NO_RAM, [access(OUTSIDE)], None, ""),  # what RAM is, nothing tells
        (LOG_NO_RAM, [dma_alloc(), smmu_event(OUTSIDE)], "warning", "neither mapped nor guest"),
        (LOG_DOORBELL, [dma_alloc(), smmu_event(DOORBELL)], None, ""),  # F10
    ],
)
def test_f3_an_address_that_the_device_has_not(
    platform: Platform, events: list[Event], severity: str | None, says: str
) -> None:
    findings = found("F3", platform, *events)
    if severity is None:
        assert findings == []
        return
    (finding,) = findings
    assert (finding.agent, finding.device, finding.severity) == ("device", "disk", severity)
    assert says in finding.message
    assert len(finding.evidence) == (2 if "after" in says else 1)
    assert ("before the trace began" in finding.expected) == (
        "never given" in says and severity == "warning"
    )


LONG_AGO = [timed(dma_map(), 1.0), timed(dma_unmap(), 2.0)]
ELSEWHERE = [iommu_map(ALIAS + PAGE, HOST), iommu_map(POOL, HOST), iommu_map(ALIAS, HOST, sid=0x30)]


@pytest.mark.parametrize(
    ("events", "verdict"),
    [
        # A record may be about an access before the unmap; an access itself stands in its place.
        ([dma_map(), dma_unmap(), smmu_event(ALIAS)], ("F3", "device", "warning")),
        ([*LONG_AGO, smmu_event(ALIAS, time=4.0)], ("F3", "device", "warning")),
        ([*LONG_AGO, smmu_event(ALIAS, time=4.1)], ("F3", "device", "violation")),
        ([*LONG_AGO, access(ALIAS, time=2.1)], ("F3", "device", "violation")),
        ([*LONG_AGO, smmu_event(POOL, time=2.1)], ("F3", "device", "warning")),
        ([*LONG_AGO, smmu_event(POOL, time=4.1)], ("F3", "device", "violation")),
        # What the VMM never mapped is refused before the unmap as well.
        ([*ELSEWHERE, *LONG_AGO, smmu_event(ALIAS, time=9.0)], ("F1", "vmm", "violation")),
        ([*LONG_AGO, convert(POOL, "shared"), smmu_event(ALIAS, time=9.0)],
         ("F1", "vmm", "violation")),
        ([*LONG_AGO, smmu_event(ALIAS, time=9.0), iommu_map(ALIAS, HOST)],
         ("F1", "vmm", "violation")),
        ([*ELSEWHERE[::2], *LONG_AGO, smmu_event(POOL, time=9.0)], ("F3", "device", "warning")),
        ([*SHARED, *LONG_AGO, smmu_event(ALIAS, time=9.0)], ("F3", "device", "violation")),
        ([*SHARED, *LONG_AGO, iommu_unmap(ALIAS), smmu_event(ALIAS, time=9.0)],
         ("F3", "device", "violation")),
        ([dataclasses.replace(SHARED[1], sid=None), *LONG_AGO, smmu_event(ALIAS, time=9.0)],
         ("F3", "device", "violation")),
        ([dataclasses.replace(SHARED[1], status="error"), *LONG_AGO, smmu_event(ALIAS, time=9.0)],
         ("F3", "device", "violation")),
        ([*ELSEWHERE, *LONG_AGO, access(ALIAS, time=9.0)], ("F3", "device", "violation")),
        # The Realm's own table serves a trusted device.
        ([*ELSEWHERE, timed(dma_map(device="tdisp"), 1.0), timed(dma_unmap(device="tdisp"), 2.0),
          smmu_event(ALIAS, sid=0x20, time=9.0)], ("F3", "device", "violation")),
    ],
)  # fmt: skip
def test_a_record_after_an_unmap_accuses_only_whom_it_must(
    events: list[Event], verdict: tuple[str, str, str]
) -> None:
    checked = check(Recording.of_events(REALM, events))
    findings = [each for each in checked.findings if each.rule in ("F1", "F2", "F3")]
    assert [(each.rule, each.agent, each.severity) for each in findings] == [verdict]
    (finding,) = findings
    assert len(finding.evidence) == 2
    late = verdict == ("F3", "device", "warning")
    assert finding.message.endswith(", or before: the record does not tell when") == late


def test_f3_is_quiet_where_the_buffer_itself_was_used_before_it_was_mapped() -> None:
    # In order, and the mapping came later: F2 tells of the buffer, not F3.
    assert found("F3", REALM, access(BUFFER), dma_map()) == []
    assert told("F2", REALM, access(BUFFER), dma_map()) == blame("guest")


@pytest.mark.parametrize(
    ("events", "agent"),
    [
        ([dma_map(), access(ALIAS | 1 << 45)], "device"),
        ([dma_map(ALIAS | 1 << 45), access(ALIAS | 1 << 45)], "guest"),
        ([dma_map(ALIAS | 1 << 45), dma_unmap(ALIAS | 1 << 45), access(ALIAS | 1 << 45)], "guest"),
        ([access(1 << 41, "F_ADDR_SIZE")], "device"),
        ([access((1 << 41) - 1, "F_ADDR_SIZE")], None),
        ([access(1 << 41, "C_BAD_STE")], None),
    ],
)
def test_f4_an_address_beyond_the_ipa_space(events: list[Event], agent: str | None) -> None:
    assert told("F4", REALM, *events) == ([] if agent is None else blame(agent))


def test_f4_names_the_highest_bit_and_the_mapping() -> None:
    beyond = ALIAS | 1 << 45
    (finding,) = found("F4", REALM, dma_map(beyond), access(beyond))
    assert finding.expected == "no bit above bit 40, the shared bit"
    assert len(finding.evidence) == 2
    (finding,) = found("F4", REALM, access(beyond))
    assert "that nobody gave it" in finding.message


def test_a_fault_of_one_device_is_not_anothers() -> None:
    events = [dma_map(), access(ALIAS), access(ALIAS, device="narrow", sid=0x30)]
    assert told("F1", REALM, *events) == [("vmm", "disk", 1), ("vmm", "narrow", 1)]
    assert told("F1", REALM, iommu_map(BUFFER, HOST), *events[:2]) == blame("vmm")
