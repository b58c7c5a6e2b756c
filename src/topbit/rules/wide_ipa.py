"""H, F: has the guest's shared bit the form that page tables give it, which devices cannot use?

With 52-bit physical addresses a page-table entry keeps the top bits of an address in low bits. A
kernel that puts this form of the shared bit into DMA addresses sets a wrong bit. Mappings show it;
refused accesses do (F8), and so does a bounce pool that is "full" while nothing in it is used.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from topbit.recording import Recording
from topbit.recording.schema import DMA_MAPPING_ERROR
from topbit.replay.columns import MAPS, PAGE, PAGE_SHIFT, lies_in, shared_mappings, with_shared_bit
from topbit.replay.faults import TRANSLATION
from topbit.replay.kept import kept
from topbit.rules.finding import Evidence, Finding
from topbit.rules.pool_messages import full_messages
from topbit.rules.refused import refusal
from topbit.rules.releases import policy_of
from topbit.rules.rule import a_realm, any_event, rule, sees_faults, the_shared_bit
from topbit.rules.streams import guest_faults
from topbit.rules.wording import address, bits_of, by_device, evidence, places

ALLOCATION, STREAMING = "dma_alloc", "dma_map"
ENOUGH_ALLOCATIONS = {12: 1, 16: 4}
"""Bits of an address within a page of the guest: how many allocations that carry the wrong bits,
and nothing that does not, show it. With 64K pages a few may be 4K pages of a guest by chance."""
NARROW_HINT = (
    "keep the Realm's IPA space at 50 bits or fewer (48 with 64K pages), or build "
    "the guest without CONFIG_ARM64_PA_BITS_52; Linux 7.2 and 7.3.4 still do this"
)


def wrong_bits(recording: Recording, page_shift: int = 12) -> int:
    """Which bits would such a kernel set instead of the shared bit? 0 if it would set the bit."""
    from topbit.addressing.scheme import prot_ns_shared_pte

    platform = recording.platform
    if platform.space is None or not platform.realm:
        return 0
    wrong = prot_ns_shared_pte(platform.space.bits, page_shift)
    return 0 if wrong == platform.space.shared_bit else wrong


@kept
def wide_ipa_rows(recording: Recording) -> pl.DataFrame:
    """Which mappings carry the page-table form of the shared bit instead of the bit?

    Returns:
        rows of the event table with the column `wrong`, the mask of the wrong bits.
    """
    platform = recording.platform
    for page_shift, enough in ENOUGH_ALLOCATIONS.items():
        wrong = wrong_bits(recording, page_shift)
        if not wrong or platform.space is None:
            continue
        carries = (pl.col("address") & wrong) == wrong
        if not platform.space.has_shared_bit(wrong):
            carries = carries & ~with_shared_bit(platform)
        # Allocations are page-aligned, so there a low bit cannot be part of the address.
        in_page = (1 << page_shift) - 1
        marked = carries & ((pl.col("address") & in_page) == (wrong & in_page))
        if len(shared_mappings(recording, ALLOCATION, where=marked)) < enough:
            continue
        others = [shared_mappings(recording, ALLOCATION, where=~marked)]
        if page_shift > PAGE_SHIFT:
            others.append(shared_mappings(recording, STREAMING, where=~carries))
        if all(each.is_empty() for each in others):
            rows = shared_mappings(recording, where=carries)
            return rows.with_columns(wrong=pl.lit(wrong, dtype=pl.UInt64))
    return recording.frame.clear().with_columns(wrong=pl.lit(0, dtype=pl.UInt64))


def _may_do_so(recording: Recording) -> bool:
    """Is the guest's kernel of a release that may do so? Not if its release is known not to."""
    policy = policy_of(recording.platform)
    return policy is None or policy.pte_encoded_shared_bit


@kept
def wide_ipa_devices(recording: Recording) -> frozenset[str | None]:
    """On which devices has the kernel made addresses of that form, or tried to?"""
    return frozenset(wide_ipa_rows(recording)["device"]) | frozenset(
        _empty_and_full(recording)["device"]
    )


def _empty_and_full(recording: Recording) -> pl.DataFrame:
    """Where was the pool "full" while nothing in it was used, as no slot had a usable address?

    Only a kernel of a release that sets the wrong bit is meant, in an IPA space so wide that it
    does so with 4K pages.
    """
    rows = full_messages(recording)
    known = recording.platform.kernel is not None and _may_do_so(recording)
    if not known or not wrong_bits(recording):
        return rows.clear()
    empty = (pl.col("used") == 0) & (pl.col("total") > 0) & ~pl.col("too_large")
    return rows.filter(empty & (pl.col("agent") == "guest"))


@rule(
    "H7",
    "The shared bit in DMA addresses is the top bit of the IPA, not its page-table encoding.",
    source="Linux 7.3 arch/arm64/kernel/rsi.c:arm64_rsi_init (prot_ns_shared is a PTE value); "
    "DEN0137 1.0, RsiRealmConfig.ipa_width",
    needs=[a_realm, the_shared_bit, any_event(*MAPS, "swiotlb_full")],
)
def shared_bit_is_no_pte_value(recording: Recording) -> Iterator[Finding]:
    """Which addresses carry the page-table form of a wide IPA's top bit?"""
    space = recording.platform.space
    rows = wide_ipa_rows(recording)
    if space is None:
        return
    yield from _from_messages(recording, frozenset(rows["device"]))
    bit = bits_of(space.shared_bit)
    failed = recording.of_kind("dma_map", where=pl.col("address") == DMA_MAPPING_ERROR)
    full = full_messages(recording)
    for device, group in by_device(rows):
        first = group.row(0, named=True)
        wrong = int(first["wrong"])
        shown = evidence(group)
        lost = failed.filter(pl.col("device").eq_missing(pl.lit(device)))
        if not lost.is_empty():
            row = lost.row(0, named=True)
            text = f"consequence: {len(lost)} streaming maps failed (DMA_MAPPING_ERROR)"
            shown.append(Evidence(text, row["source"] or "", row["line"], "guest"))
        empty = full.filter(pl.col("device").eq_missing(pl.lit(device)) & (pl.col("used") == 0))
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
            hint=NARROW_HINT,
            judged=places(empty),
        )


def _from_messages(recording: Recording, known: frozenset[str | None]) -> Iterator[Finding]:
    """What do the messages of a full pool alone tell of devices that no mapping tells of?"""
    space, wrong = recording.platform.space, wrong_bits(recording)
    if space is None or not wrong:
        return
    for device, group in by_device(_empty_and_full(recording)):
        if device in known:
            continue
        yield Finding(
            "H7",
            "violation",
            "guest",
            f"no slot of the empty bounce pool has a usable address: Linux "
            f"{recording.platform.kernel} sets {bits_of(wrong)} (0x{wrong:x}, the page-table "
            f"form) instead of {bits_of(space.shared_bit)}, the shared bit",
            device=device,
            count=len(group),
            seen='"swiotlb buffer is full" with "used 0 (slots)" for a request that fits',
            expected="a free slot, with the shared bit set in its address",
            evidence=evidence(group, 2),
            hint=NARROW_HINT,
            judged=places(group),
        )


@kept
def _forms(recording: Recording) -> frozenset[int]:
    """Which refused addresses have the page-table form of the shared bit?

    A single one could be an address within a page, but not two pages, and not a slot of the pool.
    """
    platform, wrong = recording.platform, wrong_bits(recording)
    if not wrong or not _may_do_so(recording):
        return frozenset()
    plain = {
        fault.row["address"]
        for fault in guest_faults(recording)
        if fault.row["status"] == TRANSLATION and not platform.has_shared_bit(fault.row["address"])
    }
    formed = {value for value in plain if value & (PAGE - 1) & wrong == wrong}
    in_pool = any(
        lies_in(value, platform.pools) and value & (PAGE - 1) == wrong for value in formed
    )
    pages = {value // PAGE for value in formed}
    enough = len(pages) > 1 or in_pool or not wide_ipa_rows(recording).is_empty()
    return frozenset(formed) if enough and len(formed) * 2 > len(plain) else frozenset()


def is_page_table_form(recording: Recording, value: int | None) -> bool:
    """Has a refused address the page-table form of the shared bit?"""
    return value in _forms(recording)


@rule(
    "F8",
    "No refused address carries the page-table form of the shared bit.",
    source="Linux 7.3 arch/arm64/kernel/rsi.c:arm64_rsi_init (prot_ns_shared is a PTE value)",
    needs=[a_realm, the_shared_bit, sees_faults],
)
def refused_addresses_have_no_pte_form(recording: Recording) -> Iterator[Finding]:
    """Which faults tell that the guest's kernel sets the wrong bit (H7), without its trace?"""
    space, wrong = recording.platform.space, wrong_bits(recording)
    for fault in guest_faults(recording):
        row = fault.row
        if space is None or not is_page_table_form(recording, row["address"]):
            continue
        right = space.unprotected(row["address"] & ~wrong)
        yield refusal(
            recording,
            row,
            "F8",
            "guest",
            f"the guest kernel set {bits_of(wrong)} (0x{wrong:x}, the page-table form) instead of "
            f"{bits_of(space.shared_bit)}, the shared bit (H7)",
            expected=f"{address(right)}: {bits_of(space.shared_bit)} set",
            hint=NARROW_HINT,
            mapping=fault.live,
        )
