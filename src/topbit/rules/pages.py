"""P: do pages stay shared while devices use them, and private while they must not?"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from topbit.recording import Recording
from topbit.replay.columns import MAPS, canonical_of, devices_where
from topbit.replay.intervals import IntervalMap
from topbit.replay.replay import MAPPING_KINDS, replay
from topbit.rules.finding import Finding
from topbit.rules.rule import a_realm, any_event, rule, the_shared_bit
from topbit.rules.wording import address, device_name, evidence_of


@rule(
    "P1",
    "A page stays shared as long as a device mapping of it lives.",
    source="Linux 7.2 kernel/dma/direct.c:dma_direct_free, arch/arm64/mm/pageattr.c:"
    "__set_memory_enc_dec",
    needs=[
        a_realm,
        the_shared_bit,
        any_event("set_memory", "ripas"),
        any_event("dma_map", "dma_alloc"),
    ],
)
def shared_while_mapped(recording: Recording) -> Iterator[Finding]:
    """Which pages did the guest make private under a live mapping, or map while private?"""
    platform = recording.platform
    other = set(devices_where(platform, trusted=True)) | set(
        devices_where(platform, behind_iommu=True)
    )
    private = (pl.col("event") == "set_memory") & (pl.col("status") == "private")
    if not recording.frame.select(private.any()).item():
        return
    kinds = (*MAPPING_KINDS, "set_memory")
    for row, state in replay(recording, "set_memory", *MAPS, state_kinds=kinds):
        if row["event"] == "set_memory":
            if row["status"] != "private":
                continue
            alias = platform.unprotected(row["phys"])
            for _, _, number in state.live.overlapping(alias, row["size"] or 1):
                mapping = state.rows[number]
                if mapping["device"] in other:
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
                    mend="unmap or free the device's buffer before set_memory_encrypted()",
                )
        elif platform.has_shared_bit(row["address"] or 0) and row["status"] != "error":
            if row["device"] in other or row["address"] == (1 << 64) - 1:
                continue
            ipa = canonical_of(platform, row["address"])
            states = state.guest.overlapping(ipa, row["size"] or 1)
            if any(now == "private" for _, _, now in states):
                yield Finding(
                    "P1",
                    "violation",
                    "guest",
                    "the guest gave a device the alias of a page that it had made private",
                    device=row["device"],
                    seen=f"dma_addr={address(row['address'])}; IPA {address(ipa)} is private",
                    expected="a shared page (set_memory_decrypted() first)",
                    evidence=[evidence_of(row)],
                    mend="share the page before it is mapped for a device",
                )


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
    rows = recording.of_kind("access").filter(
        ~pl.col("device").fill_null("").is_in(trusted)
        & (
            (pl.col("status") == "GPF")
            | ((pl.col("status") == "ok") & (pl.col("attrs") == "private"))
        )
    )
    for row in rows.iter_rows(named=True):
        stopped = row["status"] == "GPF"
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
            mend="map only shared pages; unmap a page and invalidate the SMMU's TLB before it "
            "becomes private",
        )


@rule(
    "P5",
    "The host destroys no page that the Realm holds as its RAM.",
    source="DEN0137 1.0, RIPAS DESTROYED: only RMI_DATA_DESTROY of RAM, which the Realm did not "
    "ask for, leads there",
    needs=[any_event("ripas")],
)
def ram_is_not_destroyed(recording: Recording) -> Iterator[Finding]:
    """Which pages did the host take away that the Realm had not given up?"""
    rows = recording.of_kind("ripas").filter(pl.col("attrs") == "DESTROYED")
    for row in rows.iter_rows(named=True):
        yield Finding(
            "P5",
            "violation",
            "host",
            "the host destroyed a page of the Realm's RAM",
            seen=f"IPA {address(row['phys'])}, {row['size']} bytes: RIPAS DESTROYED",
            expected="RIPAS RAM until the Realm asks for another (RSI_IPA_STATE_SET)",
            evidence=[evidence_of(row)],
            mend="look at what the host reclaims (guest_memfd, ballooning); the Realm cannot go on "
            "without the page's content",
        )


@rule(
    "P6",
    "A page that the Realm shares stays mapped for it.",
    source="DEN0137 1.0, RMI_RTT_UNMAP_UNPROTECTED; Linux arch/arm64/kvm: a page turns private "
    "only when the Realm asks for RIPAS RAM",
    needs=[a_realm, any_event("rmm_exit"), any_event("rtt_unmap")],
)
def shared_pages_stay_mapped(recording: Recording) -> Iterator[Finding]:
    """Which shared pages did the host unmap although the Realm had not taken them back?"""
    wanted: IntervalMap[str] = IntervalMap()
    unmap = (pl.col("event") == "rtt_unmap") & (pl.col("attrs") == "unprotected")
    ask = (pl.col("event") == "rmm_exit") & (pl.col("status") == "RIPAS_CHANGE")
    for row in recording.frame.filter(unmap | ask).iter_rows(named=True):
        if row["phys"] is None or not row["size"]:
            continue
        if row["event"] == "rmm_exit":
            wanted.set(row["phys"], row["size"], row["attrs"] or "")
            continue
        asked = wanted.overlapping(row["phys"], row["size"])
        if all(state == "RAM" for _, _, state in asked):
            continue
        yield Finding(
            "P6",
            "violation",
            "host",
            "the host unmapped a page that the Realm shares",
            seen=f"IPA {address(row['address'])}, {row['size']} bytes, unmapped; the Realm had "
            "not asked for it as RAM",
            expected="mapped until the Realm takes it back (RSI_IPA_STATE_SET to RAM)",
            evidence=[evidence_of(row)],
            mend="look at what the host reclaims; the Realm's CPUs get an external abort there",
        )


@rule(
    "D1",
    "What a device transfers is what arrives.",
    source="end-to-end comparison of each transfer",
    needs=[any_event("payload")],
)
def payload_arrives(recording: Recording) -> Iterator[Finding]:
    """On which devices did wrong data arrive?"""
    rows = recording.of_kind("payload").filter(pl.col("status") == "wrong")
    for row in rows.iter_rows(named=True):
        yield Finding(
            "D1",
            "warning",
            "device",
            "wrong data arrived",
            device=device_name(recording, row["device"], row["sid"]),
            seen=f"{row['size']} bytes, {row['direction'] or 'both ways'}: {row['status']}",
            expected="the data that was sent",
            evidence=[evidence_of(row)],
            mend="the other findings tell who sent it to the wrong place",
        )
