"""F: who chose the address of a device access that the SMMU refused?

A fault tells an address and a stream. What the guest mapped, which half the address lies in and
which direction it went tell who chose wrong. Where an access itself was recorded, its own fault
is used; SMMU event records are used where no access was.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from topbit.recording import Platform, Recording
from topbit.recording.schema import SHARED
from topbit.replay.columns import (
    MAPS,
    PAGE,
    at_doorbell,
    is_beyond_ipa_space,
    lies_in,
    with_shared_bit,
)
from topbit.replay.faults import TRANSLATION, Fault
from topbit.replay.kept import kept
from topbit.replay.late_records import may_precede_unmap
from topbit.replay.refusals import was_translated
from topbit.rules.device_bypass import bypasses_the_dma_api
from topbit.rules.finding import Finding
from topbit.rules.firmware_phase import may_be_firmwares
from topbit.rules.refused import by_trusted_device, is_never_mapped, is_traced, refusal
from topbit.rules.rule import a_realm, rule, sees_faults, the_shared_bit
from topbit.rules.streams import guest_faults
from topbit.rules.wide_ipa import is_page_table_form
from topbit.rules.wording import address, gives_no_alias, release_hint, shared_bit_name

SHARINGS = ("set_memory", "convert", "ripas")
"""Kinds of events that tell that memory was shared."""

ALIAS_MEND = "map each shared page at IPA | shared bit (VFIO: iova = gpa | shared bit)"
COVER_LETTER = 'cover letter of "arm64: realm: Fix DMA address for devices"'


def _alias_mend(platform: Platform) -> str:
    if platform.space is None:
        return ALIAS_MEND
    return ALIAS_MEND.replace("shared bit (VFIO", f"1<<{platform.space.bit_number} (VFIO")


@rule(
    "F1",
    "No translation fault at the unprotected alias of a page that the guest gave to the device.",
    source=f"{COVER_LETTER}, \"Create the S2-SMMU mappings for VFIO at the 'unprotected' alias\"",
    needs=[a_realm, the_shared_bit, sees_faults],
)
def alias_faults(recording: Recording) -> Iterator[Finding]:
    """Which devices faulted at the address that the guest rightly chose?"""
    platform = recording.platform
    for fault in guest_faults(recording):
        row, value = fault.row, fault.row["address"]
        if row["status"] != TRANSLATION or is_beyond_ipa_space(platform, value):
            continue
        if not platform.has_shared_bit(value):
            continue
        if by_trusted_device(recording, row) or was_translated(recording, fault):  # F11
            continue
        ipa = platform.protected(value)
        live = fault.live
        if live is None and is_never_mapped(recording, row):
            live = fault.mapped.at(value)  # ended since: it would be refused before as well
        if live is None:
            if is_traced(recording, fault):
                continue  # F3
            if platform.ram and not lies_in(ipa, platform.ram):
                continue  # F3
        if live is None and not is_known_shared(recording, fault):
            yield refusal(
                recording,
                row,
                "F1",
                "vmm",
                "a device was refused at the alias of a page that nobody is known to have shared",
                expected="either a mapping there (the guest shared the page and the VMM did not "
                "map it), or another address (the page was never shared)",
                hint="trace the guest's dma events from its boot on, or the VMM's mappings",
                severity="warning",
            )
            continue
        if live is not None:
            expected = f"a stage-2 mapping at {address(value & -PAGE)}: the guest gave the device "
            expected += "this address"
        else:
            expected = (
                f"a stage-2 mapping at {address(value & -PAGE)}: the unprotected alias of guest "
                f"RAM (what the guest mapped for this device was not traced)"
            )
        yield refusal(
            recording,
            row,
            "F1",
            "vmm",
            "the VMM did not map the unprotected alias",
            expected=expected,
            hint=_alias_mend(platform),
            mapping=live,
        )


def is_known_shared(recording: Recording, fault: Fault) -> bool:
    """Does anything tell that the page at a refused alias was shared?

    It lies in a bounce pool, which is shared at boot; the guest or the VMM is recorded to have
    shared it; nothing of the guest's memory is known at all, and the user asks about a Realm; or
    other faults of the run, or the VMM's maps, show that it maps no alias.
    """
    platform = recording.platform
    ipa = platform.protected(fault.row["address"])
    if lies_in(ipa, platform.pools) or not (platform.ram or recording.has(*MAPS)):
        return True
    if recording.has(*SHARINGS):
        covers = (pl.col("phys") <= ipa) & (ipa - pl.col("phys") < pl.col("size"))
        shared = (pl.col("status") == SHARED) | (pl.col("attrs") == "EMPTY")
        return not recording.of_kind(*SHARINGS, where=covers & shared).is_empty()
    return _no_alias_is_mapped(recording)


@kept
def _no_alias_is_mapped(recording: Recording) -> bool:
    """Does other evidence of the run show that the VMM maps no alias at all?"""
    platform = recording.platform
    maps = recording.of_kind("iommu_map")
    if not maps.is_empty():
        return maps.filter(with_shared_bit(platform)).is_empty()
    return any(
        fault.row["status"] == TRANSLATION
        and platform.has_shared_bit(fault.row["address"])
        and (fault.live is not None or lies_in(fault.row["address"], _pool_aliases(platform)))
        for fault in guest_faults(recording)
    )


def _pool_aliases(platform: Platform) -> list[tuple[int, int]]:
    return [(platform.unprotected(base), size) for base, size in platform.pools]


def _bit_or_ram(recording: Recording) -> str:
    platform = recording.platform
    if platform.ipa_bits is None and platform.ram:
        return ""
    return the_shared_bit(recording)


@rule(
    "F2",
    "No translation fault at the plain (protected) address of a shared page.",
    source=f"{COVER_LETTER}, patch 3/3: DMA to shared memory carries the full IPA",
    needs=[a_realm, _bit_or_ram, sees_faults],
)
def plain_address_faults(recording: Recording) -> Iterator[Finding]:
    """Which devices faulted at a plain address, and who took the shared bit off?

    While ipa_bits is unknown, an address inside RAM is plain all the same: RAM ends below the bit.
    """
    platform = recording.platform
    for fault in guest_faults(recording):
        row, value = fault.row, fault.row["address"]
        if row["status"] != TRANSLATION or is_beyond_ipa_space(platform, value):
            continue
        if platform.has_shared_bit(value):
            continue
        if platform.space is None and not lies_in(value, platform.ram):
            continue
        if by_trusted_device(recording, row) or is_page_table_form(recording, value):  # F8
            continue
        if bypasses_the_dma_api(recording, fault):  # M12
            continue
        expected = f"an address with {shared_bit_name(platform)}, set"
        if platform.space is not None:
            expected = f"{address(platform.unprotected(value))} ({shared_bit_name(platform)}, set)"
        if may_be_firmwares(recording, fault):
            yield refusal(
                recording,
                row,
                "F2",
                "firmware",
                "the device used a plain (protected) address that nothing of the kernel's gave "
                "it: firmware gives such addresses (EDK2), and the device may still use one",
                expected=expected,
                hint="let the VMM map both addresses while firmware runs, or update the firmware; "
                "if it comes while Linux runs, look at a driver past the DMA API",
                severity="warning",
            )
            continue
        plain, alias = fault.live, fault.alias
        if plain is not None:
            yield refusal(
                recording,
                row,
                "F2",
                "guest",
                "the guest gave the device a plain (protected) address",
                expected=expected,
                hint=release_hint(platform, no_alias=gives_no_alias(recording)),
                mapping=plain,
            )
        elif alias is not None:
            yield refusal(
                recording,
                row,
                "F2",
                "device",
                "the device dropped the shared bit of the address that it was given",
                expected=expected,
                hint="use a device that carries every address bit, or an IPA space that fits it",
                mapping=alias,
            )
        elif (buffer := fault.mapped.buffer_at(value)) is not None:
            yield refusal(
                recording,
                row,
                "F2",
                "guest",
                "the driver gave the device its buffer's own address, past the DMA API",
                expected="the address that dma_map_*() returned",
                hint="use the address that the DMA API returns",
                mapping=buffer,
            )
        elif lies_in(value, platform.ram) and not is_traced(recording, fault):
            yield refusal(
                recording,
                row,
                "F2",
                "guest",
                "the device was given a plain (protected) address of guest RAM",
                expected=expected,
                hint=release_hint(platform, no_alias=gives_no_alias(recording)),
            )


@rule(
    "F3",
    "No translation fault at an address that the guest does not have mapped.",
    source="Linux 7.2 Documentation/core-api/dma-api.rst",
    needs=[a_realm, the_shared_bit, sees_faults],
)
def unmapped_address_faults(recording: Recording) -> Iterator[Finding]:
    """Which devices used an address after it was unmapped, or one that they never got?"""
    platform = recording.platform
    for fault in guest_faults(recording):
        row, value = fault.row, fault.row["address"]
        if row["status"] != TRANSLATION or is_beyond_ipa_space(platform, value):
            continue
        if may_be_firmwares(recording, fault):  # F2
            continue
        if fault.live or fault.alias or at_doorbell(platform, value):  # F10
            continue
        mapped = fault.mapped
        if not fault.ordered and mapped.buffer_at(value):
            continue
        in_ram = lies_in(platform.protected(value), platform.ram)
        known = is_traced(recording, fault)
        if in_ram and not known:
            continue  # F1 or F2
        if not in_ram and not platform.ram and not known:
            continue
        before = mapped.at(value) or mapped.at(platform.unprotected(value))
        if fault.ordered and before is None and mapped.buffer_at(value):
            continue  # F2
        certain = fault.ordered and known
        if before is not None:
            never = is_never_mapped(recording, row)
            if never and platform.has_shared_bit(value):
                continue  # F1
            late = never or may_precede_unmap(recording, row)
            certain = certain and not late
            message = "the device used an address after it was unmapped"
            expected = "no access after dma_unmap_*"
            if late:
                message += ", or before: the record does not tell when"
        elif not in_ram:
            message = "the device used an address that is neither mapped nor guest RAM"
            expected = "a mapped address (an interrupt doorbell must be mapped by the VMM)"
        else:
            message = "the device used an address that it was never given"
            expected = "an address that the guest mapped" + (
                "" if certain else " (unless that was before the trace began)"
            )
        yield refusal(
            recording,
            row,
            "F3",
            "device",
            message,
            expected=expected,
            hint="look at the device, and at how its driver ends transfers",
            mapping=before,
            severity="violation" if certain else "warning",
        )


@rule(
    "F4",
    "No access beyond the IPA space.",
    source="review of v2 of the series: an address above the IPA space must fault, never wrap",
    needs=[a_realm, the_shared_bit, sees_faults],
)
def beyond_ipa_space(recording: Recording) -> Iterator[Finding]:
    """Which accesses carried bits that no IPA has, and who put them there?"""
    platform = recording.platform
    for fault in guest_faults(recording):
        row, value = fault.row, fault.row["address"]
        if value is None or not is_beyond_ipa_space(platform, value):
            continue
        if not row["status"].startswith("F_"):
            continue
        mapping = fault.mapped.exactly_at(value)
        yield refusal(
            recording,
            row,
            "F4",
            "device" if mapping is None else "guest",
            "the device used an address beyond the IPA space that nobody gave it"
            if mapping is None
            else "the guest gave the device an address beyond its IPA space",
            expected=f"no bit above {shared_bit_name(platform)}",
            hint="look for a corrupted descriptor, or check that --ipa-bits is right",
            mapping=mapping,
        )
