"""F6, F7, V5, V6: did a page's owner stop a device, and can the IOMMU carry the addresses?"""

from __future__ import annotations

import dataclasses

import pytest

from rule_events import (
    BUFFER,
    HOST,
    PAGE,
    PLAIN,
    POOL,
    REALM,
    UNKNOWN_WIDTH,
    S,
    access,
    convert,
    iommu_map,
    trouble,
)
from rule_findings import found, told
from topbit.events import Event
from topbit.recording import Platform

ALIAS = POOL | S


@pytest.mark.parametrize(
    ("status", "table"),
    [("amd_vi_rmp", "the RMP"), ("rmp_fault", "the RMP"),
     ("granule_protection", "granule protection")],
)  # fmt: skip
def test_f7_names_the_table_and_both_readings(status: str, table: str) -> None:
    event = trouble(status, phys=BUFFER, direction="w", source="log", line=1)
    (finding,) = found("F7", PLAIN, event, dataclasses.replace(event, line=2))
    assert finding.message.startswith(table)
    assert "either the guest never shared the page, or the VMM or host" in finding.message
    assert finding.seen == f"disk wrote 0x{BUFFER:016x}: {status}"
    assert (finding.severity, finding.count) == ("warning", 2)
    assert finding.places() == {("log", 1), ("log", 2)}
    (finding,) = found("F7", PLAIN, trouble(status, device=None))
    assert finding.seen == f"an agent of the host: {status}"


@pytest.mark.parametrize(
    ("address", "says"),
    [(ALIAS, "too small for bit 40, the shared bit"), (BUFFER, "configuration stopped"),
     (1 << 41, "")],
)  # fmt: skip
def test_f6_the_bit_does_not_fit(address: int, says: str) -> None:
    findings = found("F6", REALM, access(address, "F_ADDR_SIZE"))
    assert [says in finding.message for finding in findings] == ([True] if says else [])
    assert found("F6", REALM, access(address, "F_ACCESS")) == []


@pytest.mark.parametrize(
    ("platform", "event", "says"),
    [
        (REALM, iommu_map(2 * S, HOST), "beyond the guest's IPA space"),
        (REALM, iommu_map(2 * S - PAGE, HOST), ""),
        (UNKNOWN_WIDTH, iommu_map(1 << 60, HOST), ""),
        (REALM, iommu_map(0, HOST, size=1 << 30), "interrupts"),
        (REALM, iommu_map(0x8000000, HOST, size=0x100000), ""),  # the window itself
        (REALM, iommu_map(0x7FFF000, HOST, size=0x102000), "interrupts"),
        (REALM, iommu_map(0x8090000, HOST), ""),  # the doorbell
        (REALM, iommu_map(0x40000000, HOST, size=1 << 30), ""),
    ],
)
def test_v5_an_iova_that_exists(platform: Platform, event: Event, says: str) -> None:
    findings = found("V5", platform, event)
    assert [says in finding.message for finding in findings] == ([True] if says else [])


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (trouble("vfio_map", address=ALIAS),
         "the VMM could not map memory with bit 40, the shared bit, set for an assigned device"),
        (trouble("vfio_map", address=POOL), "the VMM could not map memory for an assigned device"),
        (trouble("vfio_map"), "the VMM could not map memory for an assigned device"),
        (trouble("vfio_unmap"), "the VMM could not unmap memory for an assigned device"),
    ],
)  # fmt: skip
def test_v5_what_vfio_refused(event: Event, message: str) -> None:
    (finding,) = found("V5", REALM, event)
    assert (finding.message, finding.agent) == (message, "vmm")


@pytest.mark.parametrize(
    ("event", "ragged"),
    [
        (convert(POOL, "shared"), False),
        (convert(POOL + 8, "shared"), True),
        (convert(POOL, "private", size=PAGE + 1), True),
        (iommu_map(ALIAS, HOST, size=0x10000), False),
        (iommu_map(ALIAS + 0x800, HOST), True),
        (iommu_map(ALIAS, HOST, size=0x800), True),
    ],
)
def test_v6_whole_pages(event: Event, ragged: bool) -> None:
    assert bool(told("V6", REALM, event)) == ragged


@pytest.mark.parametrize(("ret", "overlap"), [(2, True), (1, False), (20, False)])
def test_v6_an_entry_of_another_size(ret: int, overlap: bool) -> None:
    (finding,) = found("V6", PLAIN, trouble("rmp_update", attrs=f"ret={ret}|level=1"))
    assert finding.agent == "host"
    assert ("2 MiB) covers it" in finding.message) == overlap
