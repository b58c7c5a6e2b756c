"""H: does the guest kernel form DMA addresses as its address helpers must?

They look at evaluations of the helpers (`helper` events) and at what those are made of.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from topbit.recording import Recording
from topbit.recording.schema import DMA_MAPPING_ERROR
from topbit.replay.columns import MAPS, other_bits, with_c_bit, with_shared_bit
from topbit.rules.bitless import can_be_seen, with_a_bit_on_top
from topbit.rules.finding import Evidence, Finding
from topbit.rules.rule import a_realm, any_event, rule, the_shared_bit
from topbit.rules.wording import address, describe, evidence, shared_bit_name

HELPERS = "Linux include/linux/dma-direct.h, mem_encrypt.h; arch/arm64/include/asm/mem_encrypt.h"
ORDER_MEND = "Linux 6.15, 6.14.2 or 6.13.11 canonicalise first (commit c380931712d1)"
TO_DMA = ("phys_to_dma", "phys_to_dma_unencrypted", "phys_to_dma_encrypted")


def _calls(recording: Recording, *names: str) -> pl.DataFrame:
    return recording.of_kind("helper", where=pl.col("attrs").is_in(names))


def _findings(
    rows: pl.DataFrame, rule_id: str, message: str, expected: str, hint: str = ""
) -> Iterator[Finding]:
    if rows.is_empty():
        return
    for (device, name), group in rows.group_by("device", "attrs", maintain_order=True):
        first = group.row(0, named=True)
        yield Finding(
            rule_id,
            "violation",
            "guest",
            f"{name}() {message}",
            device=None if device is None else str(device),
            count=len(group),
            seen=describe(first),
            expected=expected,
            evidence=evidence(group),
            hint=hint or "keep to the kernel's helpers",
        )


@rule(
    "H1",
    "dma_to_phys() gives back the address that phys_to_dma*() was given.",
    source=f"{HELPERS}; cover letter, patch 1/3 (c380931712d1)",
    needs=[any_event("helper")],
)
def round_trip(recording: Recording) -> Iterator[Finding]:
    """Which DMA addresses do not lead back to the page that they were made for?"""
    forward = (
        _calls(recording, *TO_DMA)
        .filter(pl.col("address") != DMA_MAPPING_ERROR)
        .select("address", "device", right="phys")
        .unique(["address", "device"], keep="first")
    )
    back = _calls(recording, "dma_to_phys").join(
        forward, on=["address", "device"], how="inner", nulls_equal=True, maintain_order="left"
    )
    yield from _findings(
        back.filter(pl.col("phys") != pl.col("right")),
        "H1",
        "does not give back the page that the DMA address was made for",
        "the argument of phys_to_dma",
        ORDER_MEND,
    )


@rule(
    "H2",
    "The shared bit is cleared before a DMA address is looked up in dma-ranges.",
    source="cover letter, patch 1/3 (c380931712d1); Linux include/linux/dma-direct.h:dma_to_phys",
    needs=[the_shared_bit, any_event("helper")],
)
def canonical_before_lookup(recording: Recording) -> Iterator[Finding]:
    """Which lookups were made with the shared bit still set?"""
    rows = _calls(recording, "translate_dma_to_phys").filter(with_shared_bit(recording.platform))
    yield from _findings(
        rows,
        "H2",
        f"was asked with {shared_bit_name(recording.platform)}, still set: no region of dma-ranges "
        "holds such an address",
        "the canonical address, the bit clear",
        ORDER_MEND,
    )


@rule(
    "H3",
    "In a Realm an unencrypted DMA address has the shared bit, an encrypted one has not.",
    source=f"{HELPERS}; cover letter, patch 3/3 (7d953a062416)",
    needs=[the_shared_bit, any_event("helper")],
)
def realm_polarity(recording: Recording) -> Iterator[Finding]:
    """Which helper set the bit the wrong way round?"""
    ok = pl.col("address") != DMA_MAPPING_ERROR
    shared = _calls(recording, "dma_addr_unencrypted", "phys_to_dma_unencrypted").filter(
        ok & ~with_shared_bit(recording.platform)
    )
    private = _calls(recording, "dma_addr_encrypted", "phys_to_dma_encrypted").filter(
        ok & with_shared_bit(recording.platform)
    )
    name = shared_bit_name(recording.platform)
    hint = "Linux 6.15, 6.14.2 or 6.13.11 set it for shared memory (commit 7d953a062416)"
    yield from _findings(shared, "H3", f"left {name}, clear", "the bit set: shared memory", hint)
    yield from _findings(private, "H3", f"set {name}", "the bit clear: private memory")


def _sme_bit(recording: Recording) -> str:
    if not recording.platform.scheme.startswith("amd-"):
        return f"the scheme is {recording.platform.scheme}, not AMD SME or SEV"
    if recording.platform.c_bit is None:
        return "the position of the C bit is not known"
    return ""


@rule(
    "H4",
    "With AMD SME an encrypted DMA address has the C bit, an unencrypted one has not.",
    source="Linux include/linux/mem_encrypt.h (CONFIG_AMD_MEM_ENCRYPT); patch 2/3 (b66e2ee7b6c8)",
    needs=[_sme_bit, any_event("helper")],
)
def sme_polarity(recording: Recording) -> Iterator[Finding]:
    """Which helper set the C bit the wrong way round?"""
    platform = recording.platform
    ok = pl.col("address") != DMA_MAPPING_ERROR
    private = _calls(recording, "dma_addr_encrypted", "phys_to_dma_encrypted").filter(
        ok & ~with_c_bit(platform)
    )
    shared = _calls(recording, "dma_addr_unencrypted", "phys_to_dma_unencrypted").filter(
        ok & with_c_bit(platform)
    )
    name = f"bit {platform.c_bit}, the C bit"
    yield from _findings(private, "H4", f"left {name}, clear", "the bit set: encrypted memory")
    yield from _findings(shared, "H4", f"set {name}", "the bit clear: unencrypted memory")


def _no_bit_scheme(recording: Recording) -> str:
    if recording.platform.scheme in ("arm-cca", "amd-sme", "amd-sev"):
        return f"{recording.platform.scheme} has an attribute bit in DMA addresses"
    return ""


def _helpers_or_addresses(recording: Recording) -> str:
    if can_be_seen(recording.platform) and not any_event(*MAPS)(recording):
        return ""
    return any_event("helper")(recording)


@rule(
    "H5",
    "Where the scheme puts no attribute into DMA addresses, the dma_addr_* helpers change nothing.",
    source="Linux include/linux/mem_encrypt.h: identity unless an architecture defines them",
    needs=[_no_bit_scheme, _helpers_or_addresses],
)
def identity_elsewhere(recording: Recording) -> Iterator[Finding]:
    """Which helper changed an address under TDX, vTOM, pKVM, s390 or without any scheme?

    Outside of topbit's own runs only the addresses tell, where the bounce pool is known.
    """
    yield from with_a_bit_on_top(recording)
    rows = _calls(
        recording, "dma_addr_encrypted", "dma_addr_unencrypted", "dma_addr_canonical"
    ).filter(pl.col("address") != pl.col("phys"))
    yield from _findings(
        rows, "H5", "changed an address under a scheme without attribute bit", "the same address"
    )


@rule(
    "H6",
    "The dma_addr_* helpers change exactly one bit, the shared bit.",
    source="review of v2 of the series: bits above the IPA space must fault, not be masked away",
    needs=[a_realm, the_shared_bit, any_event("helper")],
)
def one_bit_changes(recording: Recording) -> Iterator[Finding]:
    """Which helper changed another bit?"""
    others = other_bits(recording.platform)
    rows = _calls(
        recording, "dma_addr_encrypted", "dma_addr_unencrypted", "dma_addr_canonical"
    ).filter(((pl.col("address") ^ pl.col("phys")) & others) != 0)
    # A kernel that ORs the page-table form of the bit is H7's business as well.
    yield from _findings(
        rows,
        "H6",
        "changed a bit that is no attribute",
        f"only {shared_bit_name(recording.platform)}, may change",
        "set and clear this one bit, and let every other bit fault",
    )


@rule(
    "H8",
    "DMA_MAPPING_ERROR is found before an address is made canonical.",
    source="Linux 7.2 include/linux/dma-mapping.h:dma_mapping_error; without its shared bit "
    "DMA_MAPPING_ERROR is an address like any other",
    needs=[any_event("helper")],
)
def errors_are_no_addresses(recording: Recording) -> Iterator[Finding]:
    """Which helper took DMA_MAPPING_ERROR for an address?"""
    failed = pl.lit(DMA_MAPPING_ERROR, dtype=pl.UInt64)
    given_back = _calls(recording, "dma_to_phys", "translate_dma_to_phys").filter(
        pl.col("address") == failed
    )
    cleared = _calls(recording, "dma_addr_canonical").filter(pl.col("phys") == failed)
    yield from _findings(
        pl.concat([given_back, cleared]),
        "H8",
        "was given DMA_MAPPING_ERROR as an address",
        "dma_mapping_error() asked first",
        "check what dma_map_*() returned before it is used",
    )


def _dma_ranges(recording: Recording) -> str:
    return "" if recording.platform.dma_ranges else "no dma-ranges of a bus are known"


@rule(
    "H9",
    "No region of dma-ranges reaches up to the shared bit.",
    source="Linux 7.2 include/linux/dma-direct.h:translate_phys_to_dma; the bit is set on the "
    "translated address (c380931712d1)",
    needs=[a_realm, the_shared_bit, _dma_ranges],
)
def ranges_leave_the_bit_free(recording: Recording) -> Iterator[Finding]:
    """Which regions of the bus have addresses that carry the shared bit already?"""
    platform = recording.platform
    for cpu, dma, size in platform.dma_ranges:
        if platform.space is None or dma + size <= platform.space.shared_bit:
            continue
        region = f"{address(dma)}-{address(dma + size - 1)}"
        yield Finding(
            "H9",
            "violation",
            "vmm",
            f"a region of dma-ranges lies over {shared_bit_name(platform)}: private and shared "
            "addresses cannot be told apart on that bus",
            seen=f"CPU {address(cpu)} is {region} on the bus",
            expected=f"regions below {address(platform.space.shared_bit)}",
            evidence=[Evidence(f"dma-ranges: {region}")],
            hint="choose other dma-ranges, or a wider IPA space",
        )


@rule(
    "H10",
    "A device's DMA mask carries the shared bit.",
    source="Linux 7.2 kernel/dma/direct.c:dma_direct_get_required_mask; list, January 2026: 32-bit "
    "devices cannot reach shared memory unless the IPA space has 31 bits",
    needs=[a_realm, the_shared_bit, any_event("swiotlb_bounced", *MAPS)],
)
def masks_carry_the_bit(recording: Recording) -> Iterator[Finding]:
    """Which devices have a mask that no shared address fits?"""
    platform = recording.platform
    if platform.space is None:
        return
    narrow = pl.col("mask") < pl.lit(platform.space.shared_bit, dtype=pl.UInt64)
    traced = recording.of_kind("swiotlb_bounced", where=narrow)
    masks: dict[str | None, int | None] = dict(traced.select("device", "mask").unique().rows())
    known = {
        name: facts.dma_mask
        for name, facts in platform.devices.items()
        if facts.dma_mask is not None and facts.dma_mask < platform.space.shared_bit
    }
    if known:
        used = recording.of_kind(*MAPS, where=pl.col("device").is_in(list(known)))
        masks |= {name: known[name] for name in used["device"].unique(maintain_order=True)}
    for device, mask in masks.items():
        yield Finding(
            "H10",
            "note",
            "guest",
            f"the device's mask 0x{mask:x} cannot carry {shared_bit_name(platform)}: no mapping "
            "of shared memory can succeed",
            device=device,
            seen=f"dma_mask=0x{mask:x}",
            expected=f"a mask of {platform.space.bits} bits or more",
            evidence=[Evidence(f"{device}: dma_mask=0x{mask:x}")],
            hint="give the Realm an IPA space that the mask can carry, or do not assign the device",
        )
