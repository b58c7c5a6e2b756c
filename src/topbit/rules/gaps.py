"""Does the trace of a device show that lines of it are missing?

A trace is often filtered (by task, CPU or event), cut, or lossy (a serial line), and does not say
so. What was mapped and never unmapped looks like a leak there.
"""

from __future__ import annotations

import polars as pl

from topbit.recording import Recording
from topbit.replay.columns import given, has_attr
from topbit.replay.kept import kept

MAP, UNMAP, UNMAP_SG, BOUNCED = "dma_map", "dma_unmap", "dma_unmap_sg", "swiotlb_bounced"
BUFFER = ["phys", "size"]


def gaps_of(recording: Recording, device: str | None) -> str:
    """What shows that lines about a device are missing ("" if nothing does)?

    A machine of topbit's own traces everything.
    """
    if recording.platform.machine != "log":
        return ""
    if recording.platform.unparsed:
        return "some lines could not be read"
    if is_out_of_order(recording):
        return "its lines are not in the order of their times"
    theirs = pl.col("device").eq_missing(pl.lit(device))
    unmaps = recording.of_kind(UNMAP, where=given & theirs)
    maps = recording.of_kind(MAP, where=given & theirs)
    if unmaps.is_empty():
        return "no unmap of the device is in the trace"
    if not unmaps.join(maps, on="address", how="anti").is_empty():
        return "some unmaps have no map in the trace"
    if _is_reused(maps, unmaps):
        return "an address was given out again and its unmap is not in the trace"
    if not recording.has(UNMAP_SG) and _has_lists(maps):
        return "scatterlists are mapped, and no dma_unmap_sg is in the trace"
    return _unequal(recording.of_kind(BOUNCED, where=theirs), maps.filter(~has_attr("CC_SHARED")))


@kept
def is_out_of_order(recording: Recording) -> bool:
    """Do the mappings of a file stand in another order than that of their times?"""
    if recording.platform.machine != "log" or recording.frame["time"].is_sorted():
        return False
    latest: dict[str, float] = {}
    for part in recording.parts(MAP, UNMAP):
        times = part.select("source", "time").drop_nulls().collect()
        for (source,), rows in times.group_by("source", maintain_order=True):
            time = rows["time"]
            if time[0] < latest.get(source, time[0]) or not time.is_sorted():
                return True
            latest[source] = time[-1]
    return False


def _is_reused(maps: pl.DataFrame, unmaps: pl.DataFrame) -> bool:
    """Was an address given out again while nothing tells that it was unmapped?

    No slot of a pool is given out twice: the unmap happened and is not in the trace.
    """
    made = maps.group_by("address").agg(maps=pl.len())
    ended = unmaps.group_by("address").agg(unmaps=pl.len())
    both = made.join(ended, on="address", how="left").fill_null(0)
    return bool((both["maps"] > both["unmaps"] + 1).any())


def _has_lists(maps: pl.DataFrame) -> bool:
    """Did one line map several entries?"""
    lines = maps.filter(pl.col("line").is_not_null()).group_by("source", "line").len()
    return bool((lines["len"] > 1).any())


def _unequal(bounces: pl.DataFrame, maps: pl.DataFrame) -> str:
    """Was each buffer bounced as often as it was mapped, if bounces are traced?"""
    if bounces.is_empty():
        return ""
    counts = [
        rows.group_by(BUFFER).agg(pl.len().alias(name))
        for name, rows in (("bounced", bounces), ("mapped", maps))
    ]
    both = counts[0].join(counts[1], on=BUFFER, how="full", coalesce=True, nulls_equal=True)
    if (both.fill_null(0)["bounced"] < both.fill_null(0)["mapped"]).any():
        return "some maps have no swiotlb_bounced before them, as the others have"
    return ""
