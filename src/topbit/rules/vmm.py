"""V: does the VMM map what untrusted devices must reach, and nothing else?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import polars as pl

from topbit.recording import Platform, Recording
from topbit.replay.columns import MAPS, devices_where, input_address
from topbit.replay.intervals import IntervalMap
from topbit.replay.replay import TABLE_KINDS, Row, replay
from topbit.rules.finding import Finding
from topbit.rules.rule import a_realm, any_event, one_clock, rule, the_shared_bit
from topbit.rules.wording import address, device_name, evidence_of, shared_bit_name

COVER_LETTER = (
    'cover letter of "arm64: realm: Fix DMA address for devices": create the S2-SMMU mappings '
    'for VFIO at the "unprotected" alias'
)
ALIAS_MEND = "map each shared page at IPA | shared bit (VFIO: iova = gpa | shared bit)"


def _sids(recording: Recording, **facts: object) -> set[int | None]:
    platform = recording.platform
    return {platform.devices[name].sid for name in devices_where(platform, **facts)} - {None}


@rule(
    "V1",
    "Every DMA address of a live guest mapping is mapped in the device's stage 2.",
    source=COVER_LETTER,
    needs=[
        a_realm,
        the_shared_bit,
        one_clock,
        any_event("dma_map", "dma_alloc"),
        any_event("convert", "iommu_map"),
    ],
)
def live_addresses_are_mapped(recording: Recording) -> Iterator[Finding]:
    """Which right addresses did the guest give that the VMM had not mapped for the device?

    Counts different addresses, not how often each was mapped.
    """
    platform = recording.platform
    other = set(devices_where(platform, trusted=True)) | set(devices_where(platform, emulated=True))
    # A slot is mapped over and over; between two changes of the tables, once tells all.
    maps = pl.col("event").is_in(MAPS)
    tables = pl.col("event").is_in(TABLE_KINDS)
    rows = recording.of_kind(*MAPS, *TABLE_KINDS).with_columns(epoch=tables.cum_sum())
    once = maps.not_() | pl.struct("epoch", "device", "address", "size").is_first_distinct()
    distinct = Recording(platform, rows.filter(once).drop("epoch"))
    for row, state in replay(distinct, *MAPS, state_kinds=TABLE_KINDS):
        value = row["address"]
        if row["device"] in other or value is None or row["status"] == "error":
            continue
        if not platform.has_shared_bit(value) or value >> (platform.ipa_bits or 64):
            continue
        value = input_address(platform, value)
        facts = platform.devices.get(row["device"] or "")
        walked = state.tables(facts.sid if facts else None)
        if any(table.covers(value, row["size"] or 1) for _, table in walked):
            continue
        protected = platform.protected(value)
        plain = any(table.covers(protected, row["size"] or 1) for _, table in walked)
        yield Finding(
            "V1",
            "violation",
            "vmm",
            "the VMM did not map the unprotected alias"
            + (", only the protected address" if plain else ""),
            device=row["device"],
            seen=f"no stage-2 mapping at {address(value)} when the guest gave it to the device",
            expected=f"a mapping at {address(value)} ({shared_bit_name(platform)}, set)",
            evidence=[evidence_of(row)],
            mend=ALIAS_MEND,
        )


@rule(
    "V2",
    "The unprotected alias translates to the page that backs the shared IPA.",
    source=f"{COVER_LETTER}; DEN0137 1.0 RMI_RTT_MAP_UNPROTECTED",
    needs=[a_realm, the_shared_bit, any_event("iommu_map")],
)
def alias_leads_to_the_shared_page(recording: Recording) -> Iterator[Finding]:
    """Which alias mappings lead to another page than the CPU's unprotected mapping?"""
    platform = recording.platform
    for row, state in replay(recording, "iommu_map", state_kinds=("convert",)):
        value = row["address"] or 0
        if row["status"] == "error" or not platform.has_shared_bit(value) or row["pa"] is None:
            continue
        ipa = platform.protected(value)
        for start, end, offset in state.backing.overlapping(ipa, row["size"] or 1):
            if row["pa"] - ipa != offset:
                first = max(start, ipa)
                yield Finding(
                    "V2",
                    "violation",
                    "vmm",
                    "the VMM mapped the alias to a page that does not back the shared IPA",
                    device=device_name(recording, row["device"], row["sid"]),
                    seen=f"IPA {address(first)}: the device reaches "
                    f"{address(row['pa'] + first - ipa)}",
                    expected=f"{address(first + offset)}, up to IPA {address(end - 1)}",
                    evidence=[evidence_of(row)],
                    mend="map the same host page for the device and for the CPU",
                )
                break


@rule(
    "V3",
    "No untrusted device's stage 2 maps a page that the Realm holds private.",
    source="DEN0137 1.0, RIPAS and NS mappings; NVIDIA/QEMU pull 40 (stale mapping after a "
    "failed unmap)",
    needs=[a_realm, the_shared_bit, any_event("iommu_map"), any_event("convert")],
)
def private_pages_are_unmapped(recording: Recording) -> Iterator[Finding]:
    """Which pages became private while an untrusted device's mapping of them stayed?"""
    platform = recording.platform
    trusted = _sids(recording, trusted=True)
    stale: defaultdict[int | None, IntervalMap[Row]] = defaultdict(IntervalMap)
    # A mapping may be removed just after the conversion; stale is what is there at the end.
    watched = ("convert", *TABLE_KINDS)
    for row, state in replay(recording, *watched, state_kinds=watched):
        size = row["size"] or 1
        if row["status"] == "error":
            continue
        if row["event"] == "convert" and row["status"] == "private":
            for sid, table in state.stage2.items():
                if sid in trusted:
                    continue
                for iova in (row["phys"], platform.unprotected(row["phys"])):
                    for start, end, _ in table.overlapping(iova, size):
                        first, last = max(start, iova), min(end, iova + size)
                        stale[sid].set(first, last - first, row)
        elif row["event"] == "convert":
            for held in stale.values():
                held.clear(row["phys"], size)
                held.clear(platform.unprotected(row["phys"]), size)
        elif row["event"] == "iommu_unmap":
            stale[row["sid"]].clear(row["address"], size)
        elif row["sid"] not in trusted:
            ipa = platform.protected(row["address"])
            for start, end, page in state.shared.overlapping(ipa, size):
                if page == "private":  # a VMM may map it just before it becomes shared
                    first, last = max(start, ipa), min(end, ipa + size)
                    stale[row["sid"]].set(row["address"] + first - ipa, last - first, row)
    for sid, held in stale.items():
        for iova, _, row in held.overlapping(0, 1 << 64):
            yield Finding(
                "V3",
                "violation",
                "vmm",
                "the VMM left a private page mapped for an untrusted device",
                device=device_name(recording, row["device"], sid),
                seen=f"IPA {address(platform.protected(iova))} is private, and mapped at "
                f"{address(iova)}",
                expected="the device mapping gone before the page becomes private",
                evidence=[evidence_of(row)],
                mend="unmap first, check that everything was unmapped, and refuse the conversion "
                "otherwise",
            )


@rule(
    "V4",
    "Where the VMM maps a page at both addresses, both lead to the same page, and it is shared.",
    source="Linux list, 2026-01-20 (double map at IPA and IPA | shared bit); QEMU RFC "
    '"target/arm/kvm-rme: Add DMA remapping for the shared memory region"',
    needs=[a_realm, the_shared_bit, any_event("iommu_map")],
)
def both_aliases_agree(recording: Recording) -> Iterator[Finding]:
    """Which page has two device addresses that lead to different places?"""
    platform = recording.platform
    for row, state in replay(recording, "iommu_map", state_kinds=TABLE_KINDS):
        if row["status"] == "error" or row["address"] is None or row["pa"] is None:
            continue
        twin = platform.alias(row["address"])
        table = state.stage2.get(row["sid"])
        if table is None:
            continue
        for start, _, translation in table.overlapping(twin, row["size"] or 1):
            here = row["pa"] + max(start - twin, 0)
            there = max(start, twin) + translation.offset
            if here != there:
                yield Finding(
                    "V4",
                    "violation",
                    "vmm",
                    "the VMM mapped the two addresses of one page to different places",
                    device=device_name(recording, row["device"], row["sid"]),
                    seen=f"{address(max(start, twin))} leads to {address(there)}, "
                    f"{address(platform.alias(max(start, twin)))} to {address(here)}",
                    expected="the same physical page at both, or a mapping at the alias only",
                    evidence=[evidence_of(row)],
                    mend=ALIAS_MEND,
                )
                break


@rule(
    "V7",
    "A failed device map or unmap fails the page conversion.",
    source='NVIDIA/QEMU pull 40, "vfio: fail closed on Realm DMA map errors"',
    needs=[any_event("iommu_map", "iommu_unmap"), any_event("convert")],
)
def conversion_fails_closed(recording: Recording) -> Iterator[Finding]:
    """Which pages were converted although the device mapping could not follow?"""
    platform = recording.platform
    failed: list[Row] = []
    last: dict[int, Row] = {}
    for row in recording.of_kind(*TABLE_KINDS, "convert").iter_rows(named=True):
        if row["event"] == "convert":
            last[row["phys"]] = row
            again = [f for f in failed if _same_page(platform, f, row)]
            failed = [f for f in failed if f not in again]
            pairs = [(f, row) for f in again if row["status"] == _target(f)]
        elif row["status"] == "error":
            before = last.get(platform.protected(row["address"]))
            if before is not None and before["status"] == _target(row):
                # The conversion was already reported as done when the mapping failed.
                pairs = [(row, before)]
            else:
                pairs = []
                failed.append(row)
        else:
            pairs = []
            failed = [f for f in failed if f["address"] != row["address"]]
        for mapping, conversion in pairs:
            verb = "map" if mapping["event"] == "iommu_map" else "unmap"
            yield Finding(
                "V7",
                "violation",
                "vmm",
                f"the VMM made a page {conversion['status']} although the device {verb} failed",
                device=device_name(recording, mapping["device"], mapping["sid"]),
                seen=f"IPA {address(conversion['phys'])} became {conversion['status']}; "
                f"{mapping['event']} at {address(mapping['address'])} had failed",
                expected="the conversion refused",
                evidence=[evidence_of(mapping), evidence_of(conversion)],
                mend="fail closed: return the error of the device mapping to the Realm",
            )


def _target(row: Row) -> str:
    return "shared" if row["event"] == "iommu_map" else "private"


def _same_page(platform: Platform, mapping: Row, conversion: Row) -> bool:
    start = platform.protected(mapping["address"])
    return bool(
        start < conversion["phys"] + (conversion["size"] or 1)
        and conversion["phys"] < start + (mapping["size"] or 1)
    )


@rule(
    "V8",
    "The VMM masks the shared bit off every address that an emulated device is given.",
    source='cover letter of "arm64: realm: Fix DMA address for devices": the VMM must always '
    "mask the top bit off any IPA used for DMA",
    needs=[a_realm, the_shared_bit, any_event("vmm_dma")],
)
def emulated_devices_mask(recording: Recording) -> Iterator[Finding]:
    """Which addresses did the VMM use with the shared bit still on, or reach private memory by?"""
    platform = recording.platform
    for row in recording.of_kind("vmm_dma").iter_rows(named=True):
        if row["address"] is None:
            continue
        used = row["phys"] if row["phys"] is not None else row["address"]
        if platform.has_shared_bit(row["address"]) and platform.has_shared_bit(used):
            message = "the VMM did not mask the shared bit off an emulated device's address"
            expected = f"guest address {address(platform.protected(row['address']))}"
            mend = f"clear {shared_bit_name(platform)}, before the lookup of the memory slot"
        elif row["status"] == "ok" and row["attrs"] == "private":
            message = "the VMM served an emulated device from private memory"
            expected = "a check that every page is shared"
            mend = "check that the page is shared before it is used"
        else:
            continue
        yield Finding(
            "V8",
            "violation",
            "vmm",
            message,
            device=row["device"],
            seen=f"{address(row['address'])} used as guest address {address(used)}: "
            f"{row['status']}",
            expected=expected,
            evidence=[evidence_of(row)],
            mend=mend,
        )
