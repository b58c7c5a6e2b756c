"""P: do shared and private pages change as they must, one change at a time and none lost?"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from topbit.events import Agent
from topbit.recording import Recording
from topbit.recording.schema import ERROR, PRIVATE, SHARED
from topbit.replay.columns import MAPS, PAGE, canonical_of, exempt_devices
from topbit.replay.intervals import IntervalMap
from topbit.replay.page_set import pages_of
from topbit.replay.replay import RAM, Row, states_at
from topbit.rules.finding import Finding
from topbit.rules.rule import a_realm, any_event, one_clock, rule, the_shared_bit
from topbit.rules.troubles import of_trouble
from topbit.rules.wording import address, evidence, evidence_of, places

PAGEATTR = "Linux 7.2 arch/arm64/mm/pageattr.c:__set_memory_enc_dec"
EMPTY = "EMPTY"
"""RIPAS of a page that the Realm shares (DEN0137, RmiRipas)."""


@rule(
    "P2",
    "Pages whose state could not be changed are given up: never mapped, never used again.",
    source=f'{PAGEATTR} ("Failed to decrypt memory, … pages will be leaked"); kernel/dma/direct.c:'
    "dma_direct_alloc; CVE-2024-35939",
    needs=[any_event("set_memory", "trouble")],
)
def failed_pages_are_given_up(recording: Recording) -> Iterator[Finding]:
    """Which changes failed, and which pages were given to a device all the same?"""
    yield from _told_failures(recording)
    failed = recording.of_kind("set_memory", where=pl.col("status") == ERROR)
    if failed.is_empty():
        return
    platform, exempt = recording.platform, exempt_devices(recording.platform)
    lost: IntervalMap[Row] = IntervalMap()
    near = pages_of(platform, failed)
    numbers = recording.scan("set_memory", *MAPS).select("number").collect()["number"]
    for row, _ in states_at(recording, numbers, near):
        if row["event"] == "set_memory":
            if row["status"] == ERROR:
                lost.set(row["phys"], row["size"] or 1, row)
            else:
                lost.clear(row["phys"], row["size"] or 1)
        elif row["address"] is not None and row["status"] != ERROR and row["device"] not in exempt:
            ipa = canonical_of(platform, row["address"])
            for _, _, change in lost.overlapping(ipa, row["size"] or 1):
                yield Finding(
                    "P2",
                    "violation",
                    "guest",
                    "the guest gave a device a page whose state could not be changed",
                    device=row["device"],
                    seen=f"IPA {address(change['phys'])} could not be made {change['attrs']}; then "
                    f"dma_addr={address(row['address'])}",
                    expected="the page left alone for ever",
                    evidence=[evidence_of(change), evidence_of(row)],
                    hint="check what set_memory_decrypted() and set_memory_encrypted() return",
                )
                break


def _told_failures(recording: Recording) -> Iterator[Finding]:
    """Which failed changes does the kernel tell of?"""
    for status, message, hint in (
        ("share_failed", "memory could not be made shared or private, and its pages are lost",
         "look at why RMM and host (or TDX module, or SEV firmware) refused it: alignment to the "
         "host's pages, or a device mapping that the VMM could not make"),
        ("leaked", "memory is lost, since it could not be made private again",
         "look at why RMM or host refused the change"),
        ("ripas", "the Realm could not set up the state of its memory at boot",
         "look at what the host gave the Realm as RAM, and at the RMM's log"),
    ):  # fmt: skip
        rows = of_trouble(recording, status)
        if rows.is_empty():
            continue
        yield Finding(
            "P2",
            "warning",
            "guest",
            message,
            count=len(rows),
            seen=str(rows["detail"][0]),
            expected="each change of state done",
            evidence=evidence(rows),
            hint=hint,
            judged=places(rows),
        )


@rule(
    "P3",
    "Pages turn shared and private in whole pages, and each change changes something.",
    source=f"{PAGEATTR}; arch/arm64/mm/mem_encrypt.c:set_memory_decrypted (warns of an address "
    "within a page, and returns 0)",
    needs=[any_event("set_memory")],
)
def changes_are_balanced(recording: Recording) -> Iterator[Finding]:
    """Which changes begin or end within a page, or change what is so already?"""
    rows = recording.of_kind("set_memory", where=pl.col("status").is_in([SHARED, PRIVATE]))
    now: IntervalMap[str] = IntervalMap()
    for row in rows.iter_rows(named=True):
        start, size, status = row["phys"], row["size"] or 0, row["status"]
        if start % PAGE or size % PAGE:
            yield _unbalanced(
                row, "violation", "the guest changed the state of a part of a page",
                f"a start and a size in multiples of {PAGE} bytes",
            )  # fmt: skip
        held = now.overlapping(start, size or 1)
        if sum(min(end, start + size) - max(low, start) for low, end, each in held
               if each == status) == size > 0:  # fmt: skip
            yield _unbalanced(
                row, "warning", f"the guest made pages {status} that it had made {status} before",
                "one set_memory_encrypted() for each set_memory_decrypted()",
            )  # fmt: skip
        now.set(start, size or 1, status)


def _unbalanced(row: Row, severity: str, message: str, expected: str) -> Finding:
    return Finding(
        "P3",
        "violation" if severity == "violation" else "warning",
        "guest",
        message,
        seen=f"IPA {address(row['phys'])}, {row['size']} bytes: {row['status']}",
        expected=expected,
        evidence=[evidence_of(row)],
        hint="look at who shares the range and who takes it back (a restricted-dma-pool does so "
        "twice before Linux 7.3, a7139dbbb1c6)",
    )


@rule(
    "P6",
    "The whole bounce pool is shared, once, when the guest boots.",
    source="Linux 7.2 kernel/dma/swiotlb.c:swiotlb_update_mem_attributes (its failure is ignored "
    "up to 7.2); 7.3 disables the pool",
    needs=[any_event("trouble")],
)
def the_pool_is_shared(recording: Recording) -> Iterator[Finding]:
    """Does the kernel tell that its pool, or a part of it, could not be shared?"""
    rows = of_trouble(recording, "pool_disabled")
    if rows.is_empty():
        return
    yield Finding(
        "P6",
        "warning",
        "guest",
        "a bounce pool could not be shared: nothing can be bounced through it",
        count=len(rows),
        seen=str(rows["detail"][0]),
        expected="a pool that is shared",
        evidence=evidence(rows),
        hint="look at why the change was refused; with CONFIG_SWIOTLB_DYNAMIC at how much memory "
        "below the DMA limit is free",
        judged=places(rows),
    )


@rule(
    "P7",
    "Before the next kernel starts, every shared page is private again.",
    source='Linux 7.2 arch/x86/coco/tdx/tdx.c:tdx_kexec_finish ("Failed to stop shared<->private '
    'conversions"); a Realm has no such way',
    needs=[any_event("trouble")],
)
def kexec_leaves_no_shared_page(recording: Recording) -> Iterator[Finding]:
    """Does the kernel tell that it could not take its shared pages back?"""
    rows = of_trouble(recording, "conversion_stopped")
    if rows.is_empty():
        return
    yield Finding(
        "P7",
        "warning",
        "guest",
        "shared pages may be left for the next kernel, which takes them for private: its first "
        "access to one ends the machine",
        count=len(rows),
        seen=str(rows["detail"][0]),
        expected="all conversions ended and undone before the jump",
        evidence=evidence(rows),
        hint="stop the devices and their drivers before kexec",
        judged=places(rows),
    )


@rule(
    "P8",
    "The guest reaches shared pages with the shared bit, and private ones without.",
    source="Linux 7.2 arch/arm64/kernel/rsi.c:realm_ioremap_hook (RIPAS EMPTY <=> the bit is set); "
    "DEN0137 1.0, RIPAS and the two halves",
    needs=[a_realm, the_shared_bit, one_clock, any_event("sea"), any_event("ripas")],
)
def page_tables_follow_the_state(recording: Recording) -> Iterator[Finding]:
    """Which accesses of the guest's CPUs ended in an abort since they used the wrong half?"""
    platform = recording.platform
    state: IntervalMap[str] = IntervalMap()
    for row in recording.scan("sea", "ripas").collect().iter_rows(named=True):
        if row["event"] == "ripas":
            if row["phys"] is not None:
                state.set(row["phys"], row["size"] or 1, row["attrs"] or "")
            continue
        if row["address"] is None:
            continue
        ipa, alias = platform.protected(row["address"]), platform.has_shared_bit(row["address"])
        wrong = RAM if alias else EMPTY
        if state.at(ipa) != wrong:
            continue
        agent: Agent = "guest"
        yield Finding(
            "P8",
            "violation",
            agent,
            "the guest reached a page through the half that its state does not have",
            seen=f"{address(row['address'])}: RIPAS {wrong}, the shared bit "
            f"{'set' if alias else 'clear'}",
            expected=f"{address(platform.alias(row['address']))}",
            evidence=[evidence_of(row)],
            hint="look at how the page is mapped in the guest (PROT_NS_SHARED, ioremap)",
        )
