"""V: does the VMM keep to shared memory where it serves a device itself?"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from topbit.recording import Recording
from topbit.recording.schema import OK, PRIVATE
from topbit.replay.columns import other_bits, with_shared_bit
from topbit.rules.finding import Finding
from topbit.rules.rule import a_realm, any_event, rule, the_shared_bit
from topbit.rules.wording import address, evidence_of, shared_bit_name


@rule(
    "V8",
    "The VMM masks the shared bit off every address that an emulated device is given.",
    source='cover letter of "arm64: realm: Fix DMA address for devices": the VMM must always '
    "mask the top bit off any IPA used for DMA",
    needs=[a_realm, the_shared_bit, any_event("vmm_dma")],
)
def emulated_devices_mask(recording: Recording) -> Iterator[Finding]:
    """Which addresses did the VMM use with the shared bit still on, or reach private memory by?"""
    platform = recording.platform
    used_address = pl.coalesce("phys", "address")
    unmasked = with_shared_bit(platform) & ((used_address & other_bits(platform)) != used_address)
    served = (pl.col("status") == OK) & (pl.col("attrs") == PRIVATE)
    rows = recording.of_kind("vmm_dma", where=pl.col("address").is_not_null() & (unmasked | served))
    for row in rows.iter_rows(named=True):
        used = row["phys"] if row["phys"] is not None else row["address"]
        if platform.has_shared_bit(row["address"]) and platform.has_shared_bit(used):
            message = "the VMM did not mask the shared bit off an emulated device's address"
            expected = f"guest address {address(platform.protected(row['address']))}"
            hint = f"clear {shared_bit_name(platform)}, before the lookup of the memory slot"
        else:
            message = "the VMM served an emulated device from private memory"
            expected = "a check that every page is shared"
            hint = "check that the page is shared before it is used"
        yield Finding(
            "V8",
            "violation",
            "vmm",
            message,
            device=row["device"],
            seen=f"{address(row['address'])} used as guest address {address(used)}: "
            f"{row['status']}",
            expected=expected,
            evidence=[evidence_of(row)],
            hint=hint,
        )
