"""F: who chose the address of a device access that the SMMU refused?

A fault tells an address and a stream. What the guest mapped, which half the address lies in and
which direction it went tell who chose wrong. Where an access itself was recorded, its own fault
is used; SMMU event records are used where no access was.
"""

from __future__ import annotations

from collections.abc import Iterator

from topbit.recording import Platform, Recording
from topbit.replay.columns import PAGE, at_doorbell, is_beyond_ipa_space, lies_in
from topbit.replay.faults import TRANSLATION, faults
from topbit.replay.refusals import was_translated
from topbit.rules.finding import Finding
from topbit.rules.refused import by_trusted_device, is_traced, refusal
from topbit.rules.rule import a_realm, rule, sees_faults, the_shared_bit
from topbit.rules.wording import address, gives_no_alias, release_hint, shared_bit_name

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
    for fault in faults(recording):
        row, value = fault.row, fault.row["address"]
        if row["status"] != TRANSLATION or is_beyond_ipa_space(platform, value):
            continue
        if not platform.has_shared_bit(value):
            continue
        if by_trusted_device(recording, row) or was_translated(recording, fault):  # F7
            continue
        ipa = platform.protected(value)
        live = fault.live
        if live is None:
            if is_traced(recording, fault):
                continue  # F3
            if platform.ram and not lies_in(ipa, platform.ram):
                continue  # F3
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


@rule(
    "F2",
    "No translation fault at the plain (protected) address of a shared page.",
    source=f"{COVER_LETTER}, patch 3/3: DMA to shared memory carries the full IPA",
    needs=[a_realm, the_shared_bit, sees_faults],
)
def plain_address_faults(recording: Recording) -> Iterator[Finding]:
    """Which devices faulted at a plain address, and who took the shared bit off?"""
    platform = recording.platform
    for fault in faults(recording):
        row, value = fault.row, fault.row["address"]
        if row["status"] != TRANSLATION or is_beyond_ipa_space(platform, value):
            continue
        if platform.has_shared_bit(value):
            continue
        if by_trusted_device(recording, row):
            continue
        expected = f"{address(platform.unprotected(value))} ({shared_bit_name(platform)}, set)"
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
    for fault in faults(recording):
        row, value = fault.row, fault.row["address"]
        if row["status"] != TRANSLATION or is_beyond_ipa_space(platform, value):
            continue
        if fault.live or fault.alias or at_doorbell(platform, value):  # F6
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
            message = "the device used an address after it was unmapped"
            expected = "no access after dma_unmap_*"
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
    for fault in faults(recording):
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
