"""A recording of as many events as are wanted, with twenty devices, made at once."""

from __future__ import annotations

import numpy as np
import polars as pl

from topbit.recording import DeviceFacts, Platform, Recording
from topbit.recording.schema import COLUMNS, polars_schema

S = 1 << 40
DEVICES = 20


def large_recording(events: int) -> Recording:
    """Each four events: a map, an access, an unmap, and a fault somewhere else."""
    at = np.arange(events)
    group, kind = at // 4, at % 4
    slot = np.random.default_rng(1).integers(0, 16384, events)[group * 4]
    pool = (S | 0x76B0_0000) + slot.astype(np.uint64) * 4096
    frame = pl.DataFrame(
        {
            "agent": np.array(["guest", "device", "guest", "smmu"])[kind],
            "event": np.array(["dma_map", "access", "dma_unmap", "smmu_event"])[kind],
            "device": np.char.add("nvme", (group % DEVICES).astype(str)),
            "address": np.where(kind == 3, pool + (1 << 27), pool),
            "size": np.full(events, 4096),
            "status": np.array(["", "ok", "", "F_TRANSLATION"])[kind],
            "time": at / 1000.0,
        }
    ).with_columns(status=pl.col("status").replace("", None))
    types = polars_schema()
    missing = {n: pl.lit(None, dtype=types[n]) for n in COLUMNS if n not in frame.columns}
    platform = Platform(
        realm=True,
        ipa_bits=41,
        ram=[(0x4000_0000, 1 << 30)],
        pools=[(0x76B0_0000, 64 << 20)],
        devices={f"nvme{n}": DeviceFacts(sid=8 * n) for n in range(DEVICES)},
    )
    frame = frame.with_columns(**missing).select(COLUMNS).cast(pl.Schema(types))
    return Recording(platform, frame)
