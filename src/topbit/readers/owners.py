"""Which events of a run are whose, once it is known whose each file is?

A host's trace holds the DMA of the host's own devices beside the mappings that the VMM makes for
the guest's. The IOMMU's events name no domain: those whose IOVAs the host itself gave to a device
are its own, all others are taken for the VMM's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from topbit.events import AGENTS as AGENTS_OF_EVENTS
from topbit.events import Agent
from topbit.readers.columns import TASK
from topbit.readers.growing import Array
from topbit.recording import Platform
from topbit.recording.schema import KINDS

if TYPE_CHECKING:
    import polars

AGENTS: dict[str, Agent] = {
    "guest": "guest",
    "host": "host",
    "vmm": "vmm",
    "firmware": "firmware",
}
DMA = [kind for kind in KINDS if kind.startswith(("dma_", "swiotlb_"))]
IOMMU = ["iommu_map", "iommu_unmap"]
GIVE_ADDRESSES = ["dma_map", "dma_alloc", "dma_unmap", "dma_free"]
LATEST = 64
"""How many of a host's own mappings are compared with what it unmaps."""


def assign(table: polars.DataFrame, role: str) -> tuple[polars.DataFrame, set[str]]:
    """Whose is each event of a file?

    Args:
        table: `Boot.table` of the file.
        role: whose the file is.

    Returns:
        the table with the agents changed, and the devices that the guest's own IOMMU stands
        before, going by its trace.
    """
    import polars

    column = polars.col
    agent, behind = AGENTS.get(role), set[str]()
    changes: list[tuple[polars.Expr, Agent]] = []
    if agent is not None and agent != "guest":
        changes.append(((column("event") == "trouble") & (column("agent") == "guest"), agent))
    if role == "host":
        changes.append((column("event").is_in(DMA), "host"))
    # A VMM's own trace lines keep what they say in `detail`.
    of_iommu = column("event").is_in(IOMMU) & column("detail").is_null()
    numbers = table.select(of_iommu).to_series().arg_true()
    rows = table[numbers]
    if len(rows):
        own = _own_addresses(table) if role in ("guest", "host") else _OwnAddresses([], [])
        if role == "guest":
            behind = own.devices_in(rows)
            changes.append((of_iommu, "guest"))
        else:
            mine = np.zeros(len(table), np.bool_)
            mine[numbers.to_numpy()[_are_own(rows, own)]] = True
            changes.append((polars.lit(polars.Series(mine)), "host"))
    for rows_of, whose in changes:
        if table.select(rows_of.any()).item():
            words = column("agent").cast(polars.Enum(AGENTS_OF_EVENTS))
            other = polars.lit(whose, polars.Enum(AGENTS_OF_EVENTS))
            table = table.with_columns(agent=polars.when(rows_of).then(other).otherwise(words))
    return table, behind


class _OwnAddresses:
    """Which DMA addresses did this machine give to its own devices?

    Args:
        addresses: sorted.
        devices: whose each is.
    """

    def __init__(self, addresses: Any, devices: list[str | None]) -> None:
        self.addresses = np.asarray(addresses, np.uint64)
        self._devices = devices

    def among(self, rows: polars.DataFrame) -> tuple[Array, Array]:
        """Which of the addresses lie in each of these ranges of IOVAs: from where, to where?"""
        start = rows["address"].fill_null(0).to_numpy()
        size = rows["size"].fill_null(0).to_numpy()
        end = start + size
        first = np.searchsorted(self.addresses, start)
        behind = np.searchsorted(self.addresses, end)
        return first, np.where(end < start, len(self.addresses), behind)

    def devices_in(self, rows: polars.DataFrame) -> set[str]:
        """Whose are the addresses in these ranges?"""
        names = np.array([name or "" for name in self._devices], dtype=object)
        found: set[str] = set()
        for name in set(filter(None, self._devices)):
            first, behind = _OwnAddresses(self.addresses[names == name], []).among(rows)
            if (behind > first).any():
                found.add(name)
        return found


def _own_addresses(table: polars.DataFrame) -> _OwnAddresses:
    import polars

    given = (
        table.lazy()
        .filter(polars.col("event").is_in(GIVE_ADDRESSES) & polars.col("address").is_not_null())
        .select("address", polars.col("device").cast(polars.String))
        .unique()
        .sort("address", "device")
        .collect()
    )
    return _OwnAddresses(given["address"].to_numpy(), given["device"].to_list())


def _are_own(rows: polars.DataFrame, own: _OwnAddresses) -> Array:
    """Which of a host's IOMMU events concern one of its own devices?"""
    first, behind = own.among(rows)
    is_map = (rows["event"] == "iommu_map").to_numpy()
    by_kernel = (rows[TASK] == "kernel").fill_null(False).to_numpy()
    by_vmm = (rows[TASK] == "vmm").fill_null(False).to_numpy()
    found: Array = is_map & (by_kernel | (~by_vmm & (behind > first)))
    if not found.any() or is_map.all():
        return found
    starts = rows["address"].fill_null(0).to_list()
    sizes = rows["size"].fill_null(0).to_list()
    maps: list[tuple[int, int]] = []
    for row in np.flatnonzero(found | ~is_map).tolist():
        start, size = starts[row], sizes[row]
        if is_map[row]:
            maps.append((start, size))
        else:
            latest = maps[-LATEST:]
            found[row] = any(
                base < start + size and start < base + length for base, length in latest
            )
    return found


def mark_viommu(platform: Platform, devices: set[str]) -> None:
    """Note that a guest's own IOMMU stands before these devices."""
    for name in devices:
        if name in platform.devices:
            platform.devices[name].behind_iommu = True
            platform.origins.setdefault(f"viommu {name}", "its trace's IOMMU events")
