"""P: do pages stay shared while devices use them, and private while they must not?"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from topbit.recording import Recording
from topbit.recording.recording import NUMBER
from topbit.recording.schema import (
    DMA_MAPPING_ERROR,
    ERROR,
    GPF,
    OK,
    PRIVATE,
    SHARED,
    STEP_BEGIN,
    STEP_TIMES,
)
from topbit.replay.columns import MAPS, PAGE, canonical_of, devices_where, exempt_devices
from topbit.replay.intervals import IntervalMap
from topbit.replay.page_set import pages_of
from topbit.replay.replay import MAPPING_KINDS, Row, replay
from topbit.rules.finding import Finding
from topbit.rules.rule import a_realm, any_event, one_clock, rule, the_shared_bit, whole_trace
from topbit.rules.wording import address, device_name, evidence_of

OFTEN = 10
"""How many times a step must do the same for its second and its last third to be compared."""


@rule(
    "P1",
    "A page stays shared as long as a device mapping of it lives.",
    source="Linux 7.2 kernel/dma/direct.c:dma_direct_free, arch/arm64/mm/pageattr.c:"
    "__set_memory_enc_dec",
    needs=[
        a_realm,
        the_shared_bit,
        whole_trace,
        any_event("set_memory", "ripas"),
        any_event("dma_map", "dma_alloc"),
    ],
)
def shared_while_mapped(recording: Recording) -> Iterator[Finding]:
    """Which pages did the guest make private under a live mapping, or map while private?"""
    platform = recording.platform
    exempt = exempt_devices(platform)
    became_private = recording.of_kind("set_memory", where=pl.col("status") == PRIVATE)
    near = pages_of(platform, became_private)
    kinds = (*MAPPING_KINDS, "set_memory")
    for row, state in replay(recording, "set_memory", *MAPS, state_kinds=kinds, near=near):
        if row["event"] == "set_memory":
            if row["status"] != PRIVATE:
                continue
            alias = platform.unprotected(row["phys"])
            for _, _, number in state.live.overlapping(alias, row["size"] or 1):
                mapping = recording.row(number)
                if mapping["device"] in exempt:
                    continue
                yield Finding(
                    "P1",
                    "violation",
                    "guest",
                    "the guest made a page private that a device still uses",
                    device=mapping["device"],
                    seen=f"IPA {address(row['phys'])}, {row['size']} bytes, became private while "
                    f"dma_addr={address(mapping['address'])} was mapped",
                    expected="the mapping undone or freed first",
                    evidence=[evidence_of(mapping), evidence_of(row)],
                    hint="unmap or free the device's buffer before set_memory_encrypted()",
                )
        elif platform.has_shared_bit(row["address"] or 0) and row["status"] != ERROR:
            if row["device"] in exempt or row["address"] == DMA_MAPPING_ERROR:
                continue
            ipa = canonical_of(platform, row["address"])
            states = state.guest.overlapping(ipa, row["size"] or 1)
            if any(now == PRIVATE for _, _, now in states):
                yield Finding(
                    "P1",
                    "violation",
                    "guest",
                    "the guest gave a device the alias of a page that it had made private",
                    device=row["device"],
                    seen=f"dma_addr={address(row['address'])}; IPA {address(ipa)} is private",
                    expected="a shared page (set_memory_decrypted() first)",
                    evidence=[evidence_of(row)],
                    hint="share the page before it is mapped for a device",
                )


def _a_repeated_step(recording: Recording) -> str:
    if list(_repeated_steps(recording)):
        return ""
    return f"no step of the guest's work did the same {OFTEN} times or more"


@rule(
    "P9",
    "What the guest shares for a while it takes back: each time as few pages are shared as before.",
    former="P3",
    source="Linux 7.2 kernel/dma/direct.c:dma_direct_free takes back what dma_direct_alloc shared "
    "(dma_set_encrypted, dma_set_decrypted)",
    needs=[a_realm, one_clock, any_event("convert"), any_event("step"), _a_repeated_step],
)
def shared_pages_are_taken_back(recording: Recording) -> Iterator[Finding]:
    """Which steps that the guest repeated left more pages shared each time?

    A driver that is bound anew shares its coherent memory anew. While it is unbound, as few pages
    are shared as the time before, unless somebody leaves pages behind. The first times may share
    what stays, so that the second and the last third are compared.
    """
    points = list(_low_points(recording))
    for begin, end in _repeated_steps(recording):
        shared = [pages for number, pages in points if begin[NUMBER] < number < end[NUMBER]]
        third = len(shared) // 3
        if not third:
            continue
        before, after = min(shared[third : 2 * third]), min(shared[-third:])
        if after <= before:
            continue
        yield Finding(
            "P9",
            "violation",
            "guest",
            "the guest leaves pages shared each time that it does the same again",
            seen=f"in the last third of the step {begin['detail']} {after - before} pages more "
            "stayed shared than in the third before",
            expected=f"as few as before: {before} pages shared at the lowest",
            evidence=[evidence_of(begin), evidence_of(end)],
            hint="look at what the driver shares when it is bound, and does not take back "
            "(dma_free_coherent, set_memory_encrypted) when it is unbound",
        )


def _repeated_steps(recording: Recording) -> Iterator[tuple[Row, Row]]:
    """Which steps (their beginning, their end) did the same often enough to be compared?"""
    begun: dict[str | None, Row] = {}
    times = pl.col("attrs").str.extract(rf"\b{STEP_TIMES}(\d+)").cast(pl.UInt32, strict=False)
    rows = recording.scan("step").filter(times >= OFTEN).collect()
    for row in rows.iter_rows(named=True):
        if row["status"] == STEP_BEGIN:
            begun[row["detail"]] = row
        elif row["detail"] in begun:
            yield begun.pop(row["detail"]), row


def _low_points(recording: Recording) -> Iterator[tuple[int, int]]:
    """Where did pages turn shared after others had turned private, and how many were shared then?

    Yields:
        the row of the event, and pages of 4 KiB.
    """
    shared: IntervalMap[bool] = IntervalMap()
    size, before = 0, SHARED
    rows = recording.scan("convert").filter(pl.col("status").is_in([SHARED, PRIVATE])).collect()
    for row in rows.iter_rows(named=True):
        if row["status"] == SHARED and before == PRIVATE:
            yield row[NUMBER], size // PAGE
        before, first, length = row["status"], row["phys"], row["size"] or 0
        pieces = shared.overlapping(first, length)
        size -= sum(min(end, first + length) - max(start, first) for start, end, _ in pieces)
        if row["status"] == SHARED:
            shared.set(first, length, True)
            size += length
        else:
            shared.clear(first, length)


@rule(
    "P4",
    "No untrusted device reaches private memory.",
    source="DEN0137 1.0, granule protection; DDI0487 GPT; Linux Documentation/arch/arm64/"
    "arm-cca.rst",
    needs=[any_event("access")],
)
def private_memory_is_not_reached(recording: Recording) -> Iterator[Finding]:
    """Which untrusted devices reached a private page, or were led to one and stopped?"""
    trusted = devices_where(recording.platform, trusted=True)
    private = (pl.col("status") == OK) & (pl.col("attrs") == PRIVATE)
    by_untrusted = ~pl.col("device").fill_null("").is_in(trusted)
    led_there = by_untrusted & ((pl.col("status") == GPF) | private)
    for row in recording.of_kind("access", where=led_there).iter_rows(named=True):
        stopped = row["status"] == GPF
        reached = "" if row["pa"] is None else f" (physical {address(row['pa'])})"
        yield Finding(
            "P4",
            "violation",
            "vmm",
            "the VMM let an untrusted device through to private memory; granule protection "
            "stopped it"
            if stopped
            else "the VMM let an untrusted device reach private memory",
            device=device_name(recording, row["device"], row["sid"]),
            seen=f"{address(row['address'])}{reached}: {row['status']}",
            expected="shared memory, or an SMMU fault",
            evidence=[evidence_of(row)],
            hint="map only shared pages; unmap a page and invalidate the SMMU's TLB before it "
            "becomes private",
        )
