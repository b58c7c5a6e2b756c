"""H: does the guest kernel form DMA addresses as its address helpers must?

H1 to H6 look at evaluations of the helpers (`helper` events); H7 at the addresses themselves.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from topbit.recording import Recording
from topbit.recording.schema import DMA_MAPPING_ERROR
from topbit.replay.columns import MAPS, other_bits, shared_mappings, with_shared_bit
from topbit.replay.kept import kept
from topbit.rules.finding import Evidence, Finding
from topbit.rules.rule import a_realm, any_event, rule, the_shared_bit
from topbit.rules.wording import address, bits_of, by_device, describe, evidence, shared_bit_name

HELPERS = "Linux include/linux/dma-direct.h, mem_encrypt.h; arch/arm64/include/asm/mem_encrypt.h"
ORDER_MEND = "Linux 6.15, 6.14.2 or 6.13.11 canonicalise first (commit c380931712d1)"
TO_DMA = ("phys_to_dma", "phys_to_dma_unencrypted", "phys_to_dma_encrypted")

ALLOCATION = "dma_alloc"
ENOUGH_ALLOCATIONS = {12: 1, 16: 2}
"""Bits of an address within a page of the guest: how many allocations that carry the wrong bits,
and none that does not, show it. With 64K pages one alone could be a 4K page by chance."""


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
    number = recording.platform.c_bit or 0
    bit = 1 << number
    ok = pl.col("address") != DMA_MAPPING_ERROR
    private = _calls(recording, "dma_addr_encrypted", "phys_to_dma_encrypted").filter(
        ok & ((pl.col("address") & bit) == 0)
    )
    shared = _calls(recording, "dma_addr_unencrypted", "phys_to_dma_unencrypted").filter(
        ok & ((pl.col("address") & bit) != 0)
    )
    name = f"bit {number}, the C bit"
    yield from _findings(private, "H4", f"left {name}, clear", "the bit set: encrypted memory")
    yield from _findings(shared, "H4", f"set {name}", "the bit clear: unencrypted memory")


def _no_bit_scheme(recording: Recording) -> str:
    if recording.platform.scheme in ("arm-cca", "amd-sme", "amd-sev"):
        return f"{recording.platform.scheme} has an attribute bit in DMA addresses"
    return ""


@rule(
    "H5",
    "Where the scheme puts no attribute into DMA addresses, the dma_addr_* helpers change nothing.",
    source="Linux include/linux/mem_encrypt.h: identity unless an architecture defines them",
    needs=[_no_bit_scheme, any_event("helper")],
)
def identity_elsewhere(recording: Recording) -> Iterator[Finding]:
    """Which helper changed an address under TDX, vTOM, pKVM, s390 or without any scheme?"""
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


@kept
def wide_ipa_rows(recording: Recording) -> pl.DataFrame:
    """Which mappings carry the page-table form of the shared bit instead of the bit?

    Returns:
        rows of the event table with the column `wrong`, the mask of the wrong bits.
    """
    from topbit.addressing.scheme import prot_ns_shared_pte

    platform = recording.platform
    space = platform.space
    for page_shift, enough in ENOUGH_ALLOCATIONS.items():
        if space is None or not platform.realm:
            break
        wrong = prot_ns_shared_pte(space.bits, page_shift)
        if wrong == space.shared_bit:
            continue
        carries = (pl.col("address") & wrong) == wrong
        if not space.has_shared_bit(wrong):
            carries = carries & ~with_shared_bit(platform)
        # Allocations are page-aligned, so there a low bit cannot be part of the address.
        in_page = (1 << page_shift) - 1
        marked = carries & ((pl.col("address") & in_page) == (wrong & in_page))
        if len(shared_mappings(recording, ALLOCATION, where=marked)) < enough:
            continue
        if shared_mappings(recording, ALLOCATION, where=~marked).is_empty():
            rows = shared_mappings(recording, where=carries)
            return rows.with_columns(wrong=pl.lit(wrong, dtype=pl.UInt64))
    return recording.frame.clear().with_columns(wrong=pl.lit(0, dtype=pl.UInt64))


@rule(
    "H7",
    "The shared bit in DMA addresses is the top bit of the IPA, not its page-table encoding.",
    source="Linux 7.3 arch/arm64/kernel/rsi.c:arm64_rsi_init (prot_ns_shared is a PTE value); "
    "DEN0137 1.0, RsiRealmConfig.ipa_width",
    needs=[a_realm, the_shared_bit, any_event(*MAPS)],
)
def shared_bit_is_no_pte_value(recording: Recording) -> Iterator[Finding]:
    """Which addresses carry the page-table form of a wide IPA's top bit?"""
    space = recording.platform.space
    rows = wide_ipa_rows(recording)
    if space is None or rows.is_empty():
        return
    bit = bits_of(space.shared_bit)
    failed = recording.of_kind("dma_map", where=pl.col("address") == DMA_MAPPING_ERROR)
    full = recording.of_kind("swiotlb_full")
    for device, group in by_device(rows):
        first = group.row(0, named=True)
        wrong = int(first["wrong"])
        shown = evidence(group)
        lost = failed.filter(pl.col("device").eq_missing(pl.lit(device)))
        if not lost.is_empty():
            row = lost.row(0, named=True)
            text = f"consequence: {len(lost)} streaming maps failed (DMA_MAPPING_ERROR)"
            shown.append(Evidence(text, row["source"] or "", row["line"], "guest"))
        empty = full.filter(
            (pl.col("device").eq_missing(pl.lit(device))) & pl.col("attrs").str.ends_with("used=0")
        )
        if not empty.is_empty():
            row = empty.row(0, named=True)
            text = f'consequence: "swiotlb buffer is full ... used 0", {len(empty)} times'
            shown.append(Evidence(text, row["source"] or "", row["line"], "guest"))
        yield Finding(
            "H7",
            "violation",
            "guest",
            f"the guest kernel set {bits_of(wrong)} (0x{wrong:x}) instead of {bit}, the shared bit",
            device=device,
            count=len(group),
            seen=f"dma_addr={address(first['address'])}: {bits_of(wrong)} set, "
            + ("" if space.has_shared_bit(wrong) else f"{bit} clear"),
            expected=f"dma_addr={address(space.unprotected(first['address'] & ~wrong))}: {bit} set",
            evidence=shown,
            hint="keep the Realm's IPA space at 50 bits or fewer (48 with 64K pages), or build "
            "the guest without CONFIG_ARM64_PA_BITS_52; Linux 7.2 and 7.3.4 still do this",
        )
