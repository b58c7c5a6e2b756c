"""F: who is to blame for a device access that the SMMU refused?

A fault tells an address and a stream. What the guest mapped, which half the address lies in and
which direction it went tell who chose wrong. Where an access itself was recorded, its own fault
is used; SMMU event records are used where no access was.
"""

from __future__ import annotations

from collections.abc import Iterator

from topbit.recording import Platform, Recording
from topbit.replay.columns import at_doorbell, devices_where, lies_in
from topbit.replay.faults import CONFIGURATION, Fault, fault_rows, faults
from topbit.replay.refusals import against, was_translated
from topbit.replay.replay import Row
from topbit.rules.finding import Evidence, Finding
from topbit.rules.rule import a_realm, rule, sees_faults, the_shared_bit
from topbit.rules.wording import (
    address,
    device_name,
    evidence_of,
    refused_access,
    release_mend,
    shared_bit_name,
)

ALIAS_MEND = "map each shared page at IPA | shared bit (VFIO: iova = gpa | shared bit)"
COVER_LETTER = 'cover letter of "arm64: realm: Fix DMA address for devices"'
TRANSLATION, PERMISSION = "F_TRANSLATION", "F_PERMISSION"


def _alias_mend(platform: Platform) -> str:
    if platform.space is None:
        return ALIAS_MEND
    return ALIAS_MEND.replace("shared bit (VFIO", f"1<<{platform.space.bit_number} (VFIO")


def _trusted(recording: Recording, row: Row) -> bool:
    device = device_name(recording, row["device"], row["sid"])
    return device in devices_where(recording.platform, trusted=True)


def _finding(
    recording: Recording,
    row: Row,
    rule_id: str,
    agent: str,
    message: str,
    *,
    expected: str,
    mend: str,
    mapping: Row | None = None,
    severity: str = "violation",
) -> Finding:
    shown: list[Evidence] = [evidence_of(row)]
    if mapping is not None:
        shown.append(evidence_of(mapping))
    return Finding(
        rule_id,
        severity,  # type: ignore[arg-type]
        agent,  # type: ignore[arg-type]
        message,
        device=device_name(recording, row["device"], row["sid"]),
        count=row["times"],
        seen=refused_access(recording, row),
        expected=expected,
        evidence=shown,
        mend=mend,
    )


def _known_device(recording: Recording, fault: Fault) -> bool:
    """Did the guest's trace cover this device from its probe on (so that it tells everything)?"""
    if recording.platform.lost_events:
        return False
    if recording.platform.one_clock:
        return bool(fault.mapped.traced)
    row = fault.row
    return device_name(recording, row["device"], row["sid"]) in fault.mapped.allocated


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
        if row["status"] != TRANSLATION or value >> (platform.ipa_bits or 64):
            continue
        if not platform.has_shared_bit(value):
            continue
        if _trusted(recording, row) or was_translated(recording, fault):  # F7
            continue
        ipa = platform.protected(value)
        live = fault.live
        if live is None:
            if _known_device(recording, fault):
                continue  # F3
            if platform.ram and not lies_in(ipa, platform.ram):
                continue  # F3
        if live is not None:
            expected = f"a stage-2 mapping at {address(value & ~0xFFF)}: the guest gave the device "
            expected += "this address"
        else:
            expected = (
                f"a stage-2 mapping at {address(value & ~0xFFF)}: the unprotected alias of guest "
                f"RAM (what the guest mapped for this device was not traced)"
            )
        yield _finding(
            recording,
            row,
            "F1",
            "vmm",
            "the VMM did not map the unprotected alias",
            expected=expected,
            mend=_alias_mend(platform),
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
        if row["status"] != TRANSLATION or value >> (platform.ipa_bits or 64):
            continue
        if platform.has_shared_bit(value):
            continue
        if _trusted(recording, row):
            continue
        expected = f"{address(platform.unprotected(value))} ({shared_bit_name(platform)}, set)"
        plain, alias = fault.live, fault.alias
        if plain is not None:
            yield _finding(
                recording,
                row,
                "F2",
                "guest",
                "the guest gave the device a plain (protected) address",
                expected=expected,
                mend=release_mend(platform),
                mapping=plain,
            )
        elif alias is not None:
            yield _finding(
                recording,
                row,
                "F2",
                "device",
                "the device dropped the shared bit of the address that it was given",
                expected=expected,
                mend="use a device that carries every address bit, or an IPA space that fits it",
                mapping=alias,
            )
        elif (buffer := fault.mapped.buffer_at(value)) is not None:
            yield _finding(
                recording,
                row,
                "F2",
                "guest",
                "the driver gave the device its buffer's own address, past the DMA API",
                expected="the address that dma_map_*() returned",
                mend="use the address that the DMA API returns",
                mapping=buffer,
            )
        elif lies_in(value, platform.ram) and not _known_device(recording, fault):
            yield _finding(
                recording,
                row,
                "F2",
                "guest",
                "the device was given a plain (protected) address of guest RAM",
                expected=expected,
                mend=release_mend(platform),
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
        if row["status"] != TRANSLATION or value >> (platform.ipa_bits or 64):
            continue
        if fault.live or fault.alias or at_doorbell(platform, value):  # F6
            continue
        mapped = fault.mapped
        if not fault.ordered and mapped.buffer_at(value):
            continue
        in_ram = lies_in(platform.protected(value), platform.ram)
        known = _known_device(recording, fault)
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
        yield _finding(
            recording,
            row,
            "F3",
            "device",
            message,
            expected=expected,
            mend="look at the device, and at how its driver ends transfers",
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
    bits = platform.ipa_bits or 64
    for fault in faults(recording):
        row, value = fault.row, fault.row["address"]
        if value is None or not value >> bits or not row["status"].startswith("F_"):
            continue
        given = fault.mapped.ever.at(value)
        mapping = None if given is None else fault.mapped.rows[given]
        yield _finding(
            recording,
            row,
            "F4",
            "device" if mapping is None else "guest",
            "the device used an address beyond the IPA space that nobody gave it"
            if mapping is None
            else "the guest gave the device an address beyond its IPA space",
            expected=f"no bit above {shared_bit_name(platform)}",
            mend="look for a corrupted descriptor, or check that --ipa-bits is right",
            mapping=mapping,
        )


@rule(
    "F5",
    "A device reads and writes only as its mapping allows, and stage 2 allows no less.",
    source="IHI0070 F_PERMISSION; Linux 7.2 Documentation/core-api/dma-api-howto.rst, directions",
    needs=[a_realm, the_shared_bit, sees_faults],
)
def permission_faults(recording: Recording) -> Iterator[Finding]:
    """Was the direction of a refused access the device's mistake or the table's?"""
    for fault in faults(recording):
        row, mapping = fault.row, fault.live
        if row["status"] != PERMISSION:
            continue
        if was_translated(recording, fault):  # F7
            continue
        direction = None if mapping is None else mapping["direction"]
        if mapping is None and _known_device(recording, fault):
            message, agent = "the device used an address that it was never given", "device"
            expected, mend = "an address that the guest mapped", "look at the device"
        elif against(row, mapping):
            verb = "wrote to" if row["direction"] == "w" else "read"
            message = f"the device {verb} a buffer that is mapped {direction}"
            agent, expected = "device", f"accesses as {direction} allows"
            mend = "look at the device's descriptors; map BIDIRECTIONAL if both are meant"
        else:
            message = "the VMM's stage-2 mapping does not allow what the guest's mapping allows"
            agent = "vmm"
            expected = "read and write permission for shared pages"
            mend = "map shared pages readable and writable"
        yield _finding(
            recording,
            row,
            "F5",
            agent,
            message,
            expected=expected,
            mend=mend,
            mapping=mapping,
        )


@rule(
    "F9",
    "The host's stream tables and stage-2 tables are well-formed.",
    source="IHI0070, events C_BAD_STREAMID, C_BAD_STE, F_STE_FETCH, F_WALK_EABT, F_ADDR_SIZE ...",
    needs=[sees_faults],
)
def host_tables_are_broken(recording: Recording) -> Iterator[Finding]:
    """Which devices were stopped by the host's own tables, whatever address they used?"""
    bits = recording.platform.ipa_bits or 64
    for row in fault_rows(recording).iter_rows(named=True):
        if row["status"] not in CONFIGURATION or (row["address"] or 0) >> bits:
            continue
        yield _finding(
            recording,
            row,
            "F9",
            "host",
            f"the host's SMMU configuration stopped the device: {row['status']}",
            expected="a valid stream table entry and valid tables for the stream",
            mend="look at how the host attaches the device (an output or input address size too "
            "small for the alias gives F_ADDR_SIZE)",
        )
