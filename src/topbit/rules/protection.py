"""F, V: did the owner of a page stop a device, and can the IOMMU carry the addresses at all?"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from topbit.recording import Recording
from topbit.replay.columns import PAGE, beyond_ipa_space, is_beyond_ipa_space, with_shared_bit
from topbit.rules.finding import Finding
from topbit.rules.refused import refusal
from topbit.rules.rule import any_event, rule, sees_faults
from topbit.rules.streams import guest_faults
from topbit.rules.troubles import attribute, of_trouble
from topbit.rules.wording import (
    address,
    by_device,
    device_name,
    evidence,
    evidence_of,
    places,
    shared_bit_name,
)

MSI_WINDOW = (0x8000000, 0x100000)
"""IOVAs that the host keeps for interrupts (Linux 7.2 drivers/iommu/arm/arm-smmu-v3:MSI_IOVA_BASE,
MSI_IOVA_LENGTH)."""
OVERLAP = "2"
"""What RMPUPDATE returns where an entry of another size covers the page (AMD APM 3,
FAIL_OVERLAP)."""


@rule(
    "F7",
    "No untrusted device is led to a page that is private, or another's.",
    source="AMD 48882, RMP_PAGE_FAULT and RMP_HW_ERROR; DEN0137 and DDI0487, granule protection",
    needs=[any_event("trouble")],
)
def the_owner_stopped_no_device(recording: Recording) -> Iterator[Finding]:
    """Which accesses did the owner's table (RMP, GPT) refuse, after the IOMMU translated them?"""
    rows = of_trouble(recording, "amd_vi_rmp", "granule_protection", "rmp_fault")
    for device, group in by_device(rows):
        row = group.row(0, named=True)
        table = "granule protection" if row["status"] == "granule_protection" else "the RMP"
        verb = {"r": "read", "w": "wrote"}.get(row["direction"] or "", "reached for")
        at = row["phys"] if row["phys"] is not None else row["address"]
        where = "" if at is None else f" {verb} {address(at)}"
        yield Finding(
            "F7",
            "warning",
            "guest",
            f"{table} refused an access to a page that is private, or whose entry has another "
            "size: either the guest never shared the page, or the VMM or host left it private",
            device=device,
            count=len(group),
            seen=f"{device or 'an agent of the host'}{where}: {row['status']}",
            expected="a page that the guest shared and the host converted, or an address in shared "
            "memory",
            evidence=evidence(group),
            hint="look whether the guest bounced this buffer (its dma events), and whether the "
            "VMM converted the page (guest_memfd, 2 MiB entries of the RMP)",
            judged=places(group),
        )


@rule(
    "F6",
    "The addresses that a guest has for its devices fit the IOMMU's input and output.",
    source="IHI0070 7.3.14, F_ADDR_SIZE; Linux 7.2 drivers/iommu/io-pgtable-arm.c (ias, oas)",
    needs=[sees_faults],
)
def addresses_fit_the_iommu(recording: Recording) -> Iterator[Finding]:
    """Which addresses were refused for their size?"""
    platform = recording.platform
    for fault in guest_faults(recording):
        row = fault.row
        if row["status"] != "F_ADDR_SIZE" or is_beyond_ipa_space(platform, row["address"] or 0):
            continue
        alias = row["address"] is not None and platform.has_shared_bit(row["address"])
        yield refusal(
            recording,
            row,
            "F6",
            "host",
            f"the IOMMU's tables are too small for {shared_bit_name(platform)}: F_ADDR_SIZE"
            if alias
            else "the host's SMMU configuration stopped the device: F_ADDR_SIZE",
            expected="input and output sizes that hold the whole IPA space",
            hint="compare S2T0SZ and S2PS of the stream's STE (stage 1: T0SZ and IPS of the CD) "
            "with the width of the IPA space",
        )


@rule(
    "V5",
    "The VMM maps IOVAs that exist, and none over the interrupts' window.",
    source="Linux 7.2 drivers/vfio/vfio_iommu_type1.c:vfio_iommu_iova_dma_valid; "
    "drivers/iommu/arm/arm-smmu-v3/arm-smmu-v3.c:arm_smmu_get_resv_regions",
    needs=[any_event("iommu_map", "trouble")],
)
def iovas_exist(recording: Recording) -> Iterator[Finding]:
    """Which mappings lie beyond the IPA space or over the window, and which were refused?"""
    platform = recording.platform
    start, size = MSI_WINDOW
    end = pl.col("address") + pl.col("size").fill_null(0)
    covers = (pl.col("address") < start) & (end > start + size)
    beyond = pl.lit(False) if platform.ipa_bits is None else beyond_ipa_space(platform)
    rows = recording.of_kind("iommu_map", where=covers | beyond)
    for row in rows.iter_rows(named=True):
        over = is_beyond_ipa_space(platform, row["address"])
        yield Finding(
            "V5",
            "warning",
            "vmm",
            "the VMM mapped an IOVA beyond the guest's IPA space, which no device is given"
            if over
            else "the VMM mapped memory over the IOVAs of message-signalled interrupts",
            device=device_name(recording, row["device"], row["sid"]),
            seen=f"iova={address(row['address'])} size=0x{row['size'] or 0:x}",
            expected="IOVAs below the end of the IPA space"
            if over
            else f"nothing at {address(start)}-{address(start + size - 1)}",
            evidence=[evidence_of(row)],
            hint="map at IPA | shared bit, and keep to the ranges that VFIO offers "
            "(VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE)",
        )
    refused = of_trouble(recording, "vfio_map", "vfio_unmap")
    for kind, group in refused.group_by("status", maintain_order=True):
        alias = not group.filter(
            pl.col("address").is_not_null() & with_shared_bit(platform)
        ).is_empty()
        verb = "map" if kind[0] == "vfio_map" else "unmap"
        bit = f" with {shared_bit_name(platform)}, set" if alias and platform.ipa_bits else ""
        yield Finding(
            "V5",
            "warning",
            "vmm",
            f"the VMM could not {verb} memory{bit} for an assigned device",
            count=len(group),
            seen=str(group["detail"][0]),
            expected=f"every {verb} done, or the conversion refused",
            evidence=evidence(group),
            hint="look at the error: EINVAL tells of an IOVA that the IOMMU does not have or of a "
            "size that is no multiple of the host's pages, ENOMEM of RLIMIT_MEMLOCK, EEXIST of a "
            "mapping that is there already",
            judged=places(group),
        )


@rule(
    "V6",
    "Conversions and device mappings are in whole pages of guest and host.",
    source='Linux list, "coco guest: Enforce host page-size alignment for shared buffers" '
    "(v4, April 2026); AMD APM 3, RMPUPDATE FAIL_OVERLAP",
    needs=[any_event("convert", "iommu_map", "trouble")],
)
def whole_pages_change(recording: Recording) -> Iterator[Finding]:
    """Which ranges begin or end within a page, and which entries had another size?"""
    start = pl.coalesce("phys", "address")
    ragged = ((start % PAGE) != 0) | ((pl.col("size").fill_null(0) % PAGE) != 0)
    for row in recording.of_kind("convert", "iommu_map", where=ragged).iter_rows(named=True):
        first = row["phys"] if row["event"] == "convert" else row["address"]
        yield Finding(
            "V6",
            "violation",
            "vmm",
            "the VMM converted or mapped a part of a page",
            device=device_name(recording, row["device"], row["sid"]),
            seen=f"{row['event']} {address(first)}, {row['size']} bytes",
            expected=f"multiples of {PAGE} bytes, and of the host's pages",
            evidence=[evidence_of(row)],
            hint="align to the larger of the guest's granule and the host's page",
        )
    rows = of_trouble(recording, "rmp_update")
    if rows.is_empty():
        return
    overlap = not rows.filter(attribute("ret") == OVERLAP).is_empty()
    yield Finding(
        "V6",
        "warning",
        "host",
        "the host could not change the owner of a page"
        + (": an entry of the RMP of another size (2 MiB) covers it" if overlap else ""),
        count=len(rows),
        seen=str(rows["detail"][0]),
        expected="RMPUPDATE done",
        evidence=evidence(rows),
        hint="split the 2 MiB entry before a 4 KiB page of it changes (PSMASH)",
        judged=places(rows),
    )
