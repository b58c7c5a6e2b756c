"""V: does the VMM map what untrusted devices must reach, and nothing else?"""

from __future__ import annotations

from collections.abc import Iterator
from operator import itemgetter

import numpy as np
import polars as pl

from topbit.recording import Platform, Recording
from topbit.recording.recording import NUMBER
from topbit.recording.schema import ERROR, PRIVATE, SHARED
from topbit.replay.columns import (
    MAPS,
    beyond_ipa_space,
    devices_where,
    given,
    input_address,
    other_bits,
    with_shared_bit,
)
from topbit.replay.intervals import IntervalMap
from topbit.replay.page_set import HIGHEST, PageSet, ipa_of, numbers_near, page_set, pages_of
from topbit.replay.replay import TABLE_KINDS, Replay, replay, states_at
from topbit.replay.steady import is_steady
from topbit.replay.tables import Certainty, Entry, Table
from topbit.rules.finding import Finding
from topbit.rules.rule import a_realm, any_event, one_clock, rule, the_shared_bit, whole_trace
from topbit.rules.wording import (
    address,
    by_device,
    device_name,
    evidence,
    evidence_of,
    shared_bit_name,
)

COVER_LETTER = (
    'cover letter of "arm64: realm: Fix DMA address for devices": create the S2-SMMU mappings '
    'for VFIO at the "unprotected" alias'
)
ALIAS_MEND = "map each shared page at IPA | shared bit (VFIO: iova = gpa | shared bit)"

MAPPED = pl.col("status").ne_missing(ERROR) & pl.col("pa").is_not_null()
"""Expression: did the VMM map something, and is it known to what?"""


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
        whole_trace,  # the guest's clock is matched with the host's by them
        any_event("dma_map", "dma_alloc"),
        any_event("convert", "iommu_map"),
    ],
)
def live_addresses_are_mapped(recording: Recording) -> Iterator[Finding]:
    """Which addresses did the guest give whose alias the VMM had not mapped for the device?

    Of plain addresses only those that the VMM mapped in the alias's place: there the guest's fault
    and its own cancel each other out.

    Counts different addresses, not how often each was mapped.
    """
    platform = recording.platform
    if one_clock(recording):
        yield from _never_mapped(recording)
        return
    asked = _addresses_to_ask(recording)
    for row, state in states_at(recording, asked[NUMBER], page_set(asked), *TABLE_KINDS):
        value, size = input_address(platform, row["address"]), row["size"] or 1
        facts = platform.devices.get(row["device"] or "")
        sid = facts.sid if facts else None
        if platform.has_shared_bit(value) and state.stage2.is_mapped(sid, value, size):
            continue
        plain = state.stage2.is_mapped(sid, platform.protected(value), size)
        alias = platform.unprotected(value)
        hidden = value != alias  # the guest's own fault (M1), which such a VMM hides
        if hidden and (not plain or state.stage2.is_mapped(sid, alias, size)):
            continue
        seen = f"no stage-2 mapping at {address(alias)} "
        if hidden:
            seen += f"but at {address(value)}, which the guest gave the device in its place"
        else:
            seen += "when the guest gave it to the device"
        yield Finding(
            "V1",
            "violation",
            "vmm",
            "the VMM did not map the unprotected alias"
            + (", only the protected address" if plain else "")
            + (": it hides that the guest gives plain addresses (M1)" if hidden else ""),
            device=row["device"],
            seen=seen,
            expected=f"a mapping at {address(alias)} ({shared_bit_name(platform)}, set)",
            evidence=[evidence_of(row)],
            hint=ALIAS_MEND,
        )


def _never_mapped(recording: Recording) -> Iterator[Finding]:
    """Which right addresses had no mapping in whatever order host and guest acted?

    The VMM was seen to map the page of each at its protected address alone: nothing that was
    mapped before the host's trace began can be meant.
    """
    platform = recording.platform
    wanted = recording.scan(*MAPS).filter(given & with_shared_bit(platform) & _is_asked(platform))
    rows = wanted.unique(["device", "address"], keep="first", maintain_order=True).collect()
    maps = recording.scan("iommu_map").filter(MAPPED).select("size", start="address").collect()
    mapped = page_set(maps)
    aliases = np.array([input_address(platform, each) for each in rows["address"]], dtype=np.uint64)
    plain = np.array([platform.protected(int(each)) for each in aliases], dtype=np.uint64)
    sizes = rows["size"].fill_null(1).to_numpy()
    never = ~mapped.touched_by(aliases, sizes) & mapped.holds(plain, sizes)
    rows = rows.filter(pl.Series(never, dtype=pl.Boolean))
    for device, group in by_device(rows):
        first = group.row(0, named=True)
        yield Finding(
            "V1",
            "violation",
            "vmm",
            "the VMM did not map the unprotected alias, only the protected address",
            device=device,
            count=len(group),
            seen=f"no mapping of {address(first['address'])} at any time, and one of "
            f"{address(platform.protected(first['address']))}",
            expected=f"a mapping at {address(first['address'])} ({shared_bit_name(platform)}, set)",
            evidence=evidence(group),
            hint=ALIAS_MEND,
        )


def _is_asked(platform: Platform) -> pl.Expr:
    """Expression: was an untrusted, assigned device given an address of the IPA space?"""
    other = devices_where(platform, trusted=True) + devices_where(platform, emulated=True)
    return (
        ~pl.col("device").fill_null("").is_in(other)
        & ~beyond_ipa_space(platform)
        & pl.col("status").ne_missing(ERROR)
    )


def _addresses_to_ask(recording: Recording) -> pl.DataFrame:
    """Which addresses must be looked up, and when?

    A slot is mapped over and over; between two changes of the tables, once tells all.
    """
    platform = recording.platform
    maps = (
        recording.scan(*MAPS)
        .filter(_is_asked(platform))
        .select(NUMBER, "device", "address", "size", start=ipa_of(platform))
        .collect()
    )
    at_smmu = pl.col("start") | ~other_bits(platform)
    maps = maps.filter(~is_steady(recording, maps.with_columns(start=at_smmu)))
    changes = recording.scan(*TABLE_KINDS).select(NUMBER).collect()[NUMBER].to_numpy()
    maps = maps.with_columns(epoch=np.searchsorted(changes, maps[NUMBER].to_numpy()))
    return maps.unique(["epoch", "device", "address", "size"], keep="first").sort(NUMBER)


@rule(
    "V2",
    "The unprotected alias translates to the page that backs the shared IPA.",
    source=f"{COVER_LETTER}; DEN0137 1.0 RMI_RTT_MAP_UNPROTECTED",
    needs=[a_realm, the_shared_bit, any_event("iommu_map")],
)
def alias_leads_to_the_shared_page(recording: Recording) -> Iterator[Finding]:
    """Which alias mappings lead to another page than the CPU's unprotected mapping?"""
    if not recording.has("convert"):
        return
    platform = recording.platform
    alias = MAPPED & with_shared_bit(platform)
    for row, state in replay(recording, "iommu_map", where=alias, state_kinds=("convert",)):
        ipa = platform.protected(row["address"])
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
                    hint="map the same host page for the device and for the CPU",
                )
                break


def _conversions_or_failed_unmaps(recording: Recording) -> str:
    if recording.has("iommu_unmap") and not _failed_unmaps(recording).is_empty():
        return ""
    return any_event("iommu_map")(recording) or any_event("convert")(recording)


def _failed_unmaps(recording: Recording) -> pl.DataFrame:
    return recording.of_kind("iommu_unmap", where=pl.col("status") == ERROR)


@rule(
    "V3",
    "No untrusted device's stage 2 maps a page that the Realm holds private.",
    source="DEN0137 1.0, RIPAS and NS mappings; NVIDIA/QEMU pull 40 (stale mapping after a "
    "failed unmap)",
    needs=[a_realm, the_shared_bit, _conversions_or_failed_unmaps],
)
def private_pages_are_unmapped(recording: Recording) -> Iterator[Finding]:
    """Which pages became private while an untrusted device's mapping of them stayed?"""
    platform = recording.platform
    if not recording.has("convert"):
        yield from _half_unmapped(recording)
        return
    for number, sid, iova in sorted(_stale(recording), key=itemgetter(0)):
        row = recording.row(number)
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
            hint="unmap first, check that everything was unmapped, and refuse the conversion "
            "otherwise",
        )


def _half_unmapped(recording: Recording) -> Iterator[Finding]:
    """Which unmaps removed less than they should? What is left may lead to a private page."""
    failed = _failed_unmaps(recording).filter(pl.col("agent") == "vmm")
    for device, group in by_device(failed):
        first = group.row(0, named=True)
        yield Finding(
            "V3",
            "warning",
            "vmm",
            "an unmap removed less than was asked: a device may still reach what is left, and no "
            "conversion is recorded that would tell whether it is private",
            device=device,
            count=len(group),
            seen=f"{first['size']} bytes from {address(first['address'])} on were to be unmapped",
            expected="all of it unmapped",
            evidence=evidence(group),
            hint="unmap what was mapped, in its own sizes, and check what iommu_unmap() returns",
        )


def _stale(recording: Recording) -> Iterator[tuple[int, int | None, int]]:
    """By which event came a private page to be mapped, for which stream, and at which IOVA?"""
    platform = recording.platform
    trusted = _sids(recording, trusted=True)
    for sid, table, private in _at_the_end(recording):
        if sid in trusted:
            continue
        found: IntervalMap[int] = IntervalMap()
        for start, end, converted in private:
            for first in (start, platform.unprotected(start)):
                for low, high, entry in table.overlapping(first, end - start):
                    # After a failed unmap something is left of it, which is enough.
                    if entry.certainty is Certainty.PERHAPS or _is_of_every(recording, sid, entry):
                        continue
                    low, high = max(low, first), min(high, first + end - start)
                    found.set(low, high - low, max(converted, entry.number))
        for iova, _, number in found.overlapping(0, HIGHEST):
            yield number, sid, iova


def _at_the_end(
    recording: Recording,
) -> Iterator[tuple[int | None, Table, list[tuple[int, int, int]]]]:
    """What does each stream's table hold at the end, and which pages are private then?

    A mapping may be removed just after the conversion, and a page be mapped just before it becomes
    shared: only what stays is wrong. The private pages are told by (start, end, row of the event).
    """
    private: IntervalMap[int] = IntervalMap()
    converted = recording.of_kind("convert", where=pl.col("status") == PRIVATE)
    near = pages_of(recording.platform, converted)
    state = Replay(recording.platform)
    numbers = numbers_near(recording, near, "convert", *TABLE_KINDS)
    for row in recording.rows(numbers).iter_rows(named=True):
        state.apply(row)
        if row["event"] == "convert" and row["status"] == PRIVATE:
            private.set(row["phys"], row["size"] or 1, row[NUMBER])
        elif row["event"] == "convert" and row["status"] == SHARED:
            private.clear(row["phys"], row["size"] or 1)
    for sid, table in state.stage2:
        yield sid, table, list(private.overlapping(0, HIGHEST))


def _is_of_every(recording: Recording, sid: int | None, entry: Entry) -> bool:
    """Is a stream's entry one of every stream's, and told there?"""
    return sid is not None and recording.row(entry.number)["sid"] is None


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
    near = _mapped_at_both(recording)
    kinds = TABLE_KINDS
    for row, state in replay(recording, "iommu_map", where=MAPPED, state_kinds=kinds, near=near):
        twin = platform.alias(row["address"])
        for start, _, entry in state.stage2.own(row["sid"]).overlapping(twin, row["size"] or 1):
            if not entry.certain or entry.offset is None:
                continue
            here = row["pa"] + max(start - twin, 0)
            there = max(start, twin) + entry.offset
            if here != there:
                # The kernel's trace names no domain: the two may be of two of them.
                certain = row["sid"] is not None or platform.machine != "log"
                yield Finding(
                    "V4",
                    "violation" if certain else "warning",
                    "vmm",
                    "the VMM mapped the two addresses of one page to different places"
                    + ("" if certain else ", unless they are of two domains"),
                    device=device_name(recording, row["device"], row["sid"]),
                    seen=f"{address(max(start, twin))} leads to {address(there)}, "
                    f"{address(platform.alias(max(start, twin)))} to {address(here)}",
                    expected="the same physical page at both, or a mapping at the alias only",
                    evidence=[evidence_of(row)],
                    hint=ALIAS_MEND,
                )
                break


def _mapped_at_both(recording: Recording) -> PageSet:
    """Which pages did the VMM ever map at both addresses?"""
    platform = recording.platform
    is_alias = with_shared_bit(platform)
    plain, alias = (
        recording.scan("iommu_map")
        .filter(MAPPED & half)
        .select("size", start=ipa_of(platform))
        .collect()
        for half in (~is_alias, is_alias)
    )
    return page_set(plain).common_with(page_set(alias))
