"""What lies where in the guest's address space, in both of its halves?

The map knows addresses by the page that they mean: with the shared bit cleared, a page's two
aliases stand at the same place, one in each half. What is worth a closer look is enlarged
(`map_windows.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from topbit.arch.ipa import IpaSpace
from topbit.recording import Platform, Recording
from topbit.recording.schema import ERROR, OK, SHARED
from topbit.recording.trouble import TROUBLES
from topbit.replay.columns import MAPS, beyond_ipa_space, canonical, given, with_shared_bit
from topbit.report.evidence_events import events_of, key_of
from topbit.report.map_windows import Seen, Window, ranges, windows
from topbit.report.spans import U64, Spans
from topbit.rules.finding import Finding

PROTECTED, UNPROTECTED = "protected", "unprotected"
HALVES = (UNPROTECTED, PROTECTED)
ALL_STREAMS = "every stream"
_REFUSED_TROUBLE = [name for name, trouble in TROUBLES.items() if trouble.refused]


@dataclass(frozen=True, slots=True)
class HalfOfDevice:
    """What did one device have and do in one half?

    Attributes:
        mapped: what the VMM's stage 2 ever held for its stream.
        given: addresses that the guest gave it.
        reached: addresses that it used and that were let through.
        refused: addresses that it used and that were refused.
    """

    mapped: Spans
    given: U64
    reached: U64
    refused: U64

    @property
    def uses(self) -> int:
        """How many addresses are there?"""
        return len(self.given) + len(self.reached) + len(self.refused)


@dataclass(frozen=True, slots=True)
class MapDevice:
    """What did one device have and do?

    Attributes:
        name: its name, or "StreamID 0x..", or `ALL_STREAMS` for what no stream was named with.
        stream: its StreamID, where known.
        halves: by half; without a known shared bit all is in `PROTECTED`.
    """

    name: str
    stream: int | None
    halves: dict[str, HalfOfDevice]

    @property
    def refused(self) -> int:
        """How many refused accesses are there?"""
        return sum(len(half.refused) for half in self.halves.values())

    @property
    def uses(self) -> int:
        """How many addresses are there, in both halves?"""
        return sum(half.uses for half in self.halves.values())


@dataclass(frozen=True, slots=True)
class Marker:
    """Where does a finding show? `number`: of the finding in its report, from 1."""

    number: int
    address: int
    half: str


@dataclass(frozen=True, slots=True)
class AddressMap:
    """What lies where?

    Attributes:
        space: the IPA space, if its width is known.
        ram: where the guest has memory.
        pools: where its bounce pools lie.
        shared: what the guest ever shared with the host.
        devices: what each device had and did; those with refused accesses first.
        markers: where findings show.
        windows: what is enlarged.
        beyond: how many addresses have bits above the IPA space; they are on no map.
    """

    space: IpaSpace | None
    ram: Spans
    pools: Spans
    shared: Spans
    devices: tuple[MapDevice, ...]
    markers: tuple[Marker, ...]
    windows: tuple[Window, ...]
    beyond: int

    def in_half(self, at: int, half: str) -> int:
        """Which address has a place of a window in one of the halves?"""
        if self.space is None or half != UNPROTECTED:
            return at
        return self.space.unprotected(at)


def why_one_half(platform: Platform) -> str:
    """Why has the map of this platform one half, not two? Asked if it knows no IPA space."""
    if platform.realm is False or platform.scheme != "arm-cca":
        return "only a Realm's address space has two"
    return "which bit is the shared bit is not known (--ipa-bits N tells it)"


def address_map(recording: Recording, findings: Sequence[Finding], most: int) -> AddressMap:
    """What lies where? `most`: not more windows than this."""
    platform = recording.platform
    rows = _used(recording)
    beyond = len(rows.filter("beyond"))
    rows = rows.filter(~pl.col("beyond"))
    devices = tuple(_devices(recording, rows))
    markers = tuple(_markers(recording, findings))
    ram, pools = ranges(platform.ram), ranges(platform.pools)
    enlarged = windows(platform, _seen(devices, markers), most)
    return AddressMap(
        platform.space, ram, pools, _shared(recording), devices, markers, enlarged, beyond
    )


def _shared(recording: Recording) -> Spans:
    """What was ever shared: what the VMM converted, and what the guest asked for?"""
    known = pl.col("phys").is_not_null() & (pl.col("status") == SHARED)
    rows = recording.of_kind("convert", "set_memory", where=known)
    return _spans(rows.select(start="phys", size="size"))


def _spans(rows: pl.DataFrame) -> Spans:
    rows = rows.unique()
    return Spans.of(rows["start"].to_numpy(), rows["size"].fill_null(1).to_numpy())


def _used(recording: Recording) -> pl.DataFrame:
    """Which addresses were mapped for devices, given to them, and used by them, and how?

    Returns:
        `use` ("mapped", "given", "reached" or "refused"), `device`, `sid`, `start`, `size`,
        `shared` (it has the shared bit), `beyond` (it has bits above the IPA space).
    """
    platform = recording.platform
    kind, status = pl.col("event").cast(pl.String), pl.col("status").cast(pl.String)
    uses = {
        "mapped": (kind == "iommu_map") & status.ne_missing(ERROR),
        "given": kind.is_in(MAPS) & given,
        "reached": kind.is_in(["access", "vmm_dma"]) & (status == OK),
        "refused": (kind.is_in(["access", "vmm_dma"]) & status.ne_missing(OK))
        | (kind == "smmu_event")
        | ((kind == "trouble") & status.is_in(_REFUSED_TROUBLE)),
    }
    use = pl.coalesce(*(pl.when(which).then(pl.lit(name)) for name, which in uses.items()))
    names = {f.sid: name for name, f in platform.devices.items() if f.sid is not None}
    of_stream = pl.col("sid").replace_strict(names, default=None, return_dtype=pl.String)
    # The VMM's tables hold input addresses, to which the bus has done its part already.
    start = pl.when(kind == "iommu_map").then(_cleared(platform)).otherwise(canonical(platform))
    return (
        recording.frame.lazy()
        .with_columns(use=use)
        .filter(pl.col("use").is_not_null() & pl.col("address").is_not_null())
        .select(
            "use",
            "sid",
            "size",
            device=pl.coalesce(pl.col("device").cast(pl.String).replace("", None), of_stream),
            start=start,
            shared=with_shared_bit(platform),
            beyond=beyond_ipa_space(platform),
        )
        .collect()
    )


def _cleared(platform: Platform) -> pl.Expr:
    return pl.col("address") & pl.lit(platform.protected((1 << 64) - 1), dtype=pl.UInt64)


def _devices(recording: Recording, rows: pl.DataFrame) -> Iterable[MapDevice]:
    platform = recording.platform
    made = []
    for (device, sid), own in rows.group_by(pl.col("device"), _stream()):
        facts = platform.devices.get(str(device))
        stream = facts.sid if facts else sid
        name = str(device or (ALL_STREAMS if sid is None else f"StreamID 0x{sid:x}"))
        made.append(
            MapDevice(
                name,
                None if stream is None else int(str(stream)),
                {half: _half(own, half == UNPROTECTED) for half in HALVES},
            )
        )
    return sorted(made, key=lambda each: (-each.refused, -each.uses, each.name))


def _stream() -> pl.Expr:
    """Expression: which stream has a row without a device? Those with one are told by its name."""
    return pl.when(pl.col("device").is_null()).then(pl.col("sid")).alias("sid")


def _half(own: pl.DataFrame, shared: bool) -> HalfOfDevice:
    own = own.filter(pl.col("shared") == shared)
    by_use = {use: own.filter(pl.col("use") == use) for use in ("given", "reached", "refused")}
    points = {use: rows["start"].to_numpy() for use, rows in by_use.items()}
    mapped = own.filter(pl.col("use") == "mapped").select("start", "size")
    return HalfOfDevice(_spans(mapped), **points)


def _markers(recording: Recording, findings: Sequence[Finding]) -> Iterable[Marker]:
    """Where does each finding show first: the address of the first evidence that has one?"""
    platform = recording.platform
    events = events_of(recording, (piece for each in findings for piece in each.evidence))
    for number, finding in enumerate(findings, 1):
        for piece in finding.evidence:
            if (place := events.get(key_of(piece))) is None:
                continue
            row = recording.row(place)
            address = row["phys"] if row["address"] is None else row["address"]
            if address is not None and (platform.space is None or platform.space.contains(address)):
                half = UNPROTECTED if platform.has_shared_bit(address) else PROTECTED
                yield Marker(number, platform.protected(address), half)
                break


def _seen(devices: Sequence[MapDevice], markers: Sequence[Marker]) -> Seen:
    """What is worth a look? Of both halves, at the pages that the addresses mean."""
    halves = [half for device in devices for half in device.halves.values()]
    nothing = np.zeros(0, dtype=np.uint64)
    return Seen(
        [half.mapped for half in halves],
        np.concatenate([nothing, *(a for half in halves for a in (half.given, half.reached))]),
        np.concatenate([nothing, *(half.refused for half in halves)]),
        np.array([marker.address for marker in markers], dtype=np.uint64),
    )
