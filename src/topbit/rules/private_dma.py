"""Is what a trusted device does with each of its mappings known to the Realm and to it alone?

A mapping is *confidential* if, from the moment it was made to its end, everything that can be
known of it says so: the guest's trace (a plain address of the buffer itself), the RMM (the device
may make DMA, the page is the Realm's RAM in the Realm's own table, which the device's stream
walks), and the host's tables (none leads to that memory). One thing against it makes it *not
confidential*; one thing that nobody tells leaves it *inconclusive*. Nothing is taken for granted.
Sources: DEN0137 2.0 beta 0, "Realm device assignment", RIPAS; IHI0070 3.17, Realm streams; cover
letter of "arm64: realm: Fix DMA address for devices".
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator

import polars as pl

from topbit.recording import Recording
from topbit.recording.recording import NUMBER
from topbit.recording.schema import DMA, OK, PRIVATE, SHARED, TRUNCATED
from topbit.replay.columns import (
    MAPS,
    PAGE_SHIFT,
    canonical_of,
    devices_where,
    given,
    input_address,
    is_beyond_ipa_space,
    lies_in,
    usable,
)
from topbit.replay.host_tables import HostTables
from topbit.replay.interfaces import interfaces
from topbit.replay.page_set import numbers_near, pages_of
from topbit.replay.replay import (
    MAPPING_KINDS,
    RAM,
    REALM_TABLE_KINDS,
    TABLE_KINDS,
    UNPROTECTED,
    Replay,
    Row,
)
from topbit.rules.privacy import Mapping, Privacy, Reason
from topbit.rules.rule import a_realm, the_shared_bit
from topbit.rules.wording import shared_bit_name

NEAR = (*MAPPING_KINDS, *REALM_TABLE_KINDS, "convert", "set_memory", "access")
UNMAPS = ("dma_unmap", "dma_free", "dma_unmap_sg")


def private_dma(recording: Recording) -> tuple[Mapping, ...]:
    """Which mappings have the devices that the Realm trusts, and is each of them confidential?"""
    doubt = _doubt(recording)
    recording = usable(recording)
    trusted = devices_where(recording.platform, trusted=True)
    maps = recording.scan(*MAPS).filter(given & pl.col("device").is_in(trusted)).collect()
    if maps.is_empty():
        return ()
    judge = _Judge(recording, doubt)
    for row in _events(recording, maps):
        judge.take(row, wanted=row["event"] in MAPS and row["device"] in trusted)
    return tuple(judge.mappings)


def _doubt(recording: Recording) -> str:
    """What leaves all of it in doubt ("" if nothing)?"""
    if lack := a_realm(recording) or the_shared_bit(recording):
        return lack
    platform = recording.platform
    if not platform.one_clock:
        return "the recording does not tell in which order host and guest acted"
    if platform.lost_events:
        return f"{platform.lost_events} events of the trace were lost"
    if not recording.of_kind("iommu_map", where=pl.col("pa").is_null()).is_empty():
        return "the recording does not tell where the host's tables lead"
    return ""


def _events(recording: Recording, maps: pl.DataFrame) -> Iterator[Row]:
    """Which events can matter for these mappings? In their order."""
    pages = pages_of(recording.platform, maps)
    numbers = [
        numbers_near(recording, pages, *NEAR),
        numbers_near(recording, pages, "dma_unmap_sg", start=pl.col("phys")),
        recording.scan(*TABLE_KINDS, "vdev").select(NUMBER).collect()[NUMBER],
    ]
    yield from recording.rows(pl.concat(numbers).unique().sort()).iter_rows(named=True)


class _Judge:
    """What is known of each mapping while the events go by?"""

    def __init__(self, recording: Recording, doubt: str) -> None:
        self.mappings: list[Mapping] = []
        self._recording = recording
        self._row = functools.cache(recording.row)  # one event speaks against many mappings
        self._platform = recording.platform
        self._doubt = doubt
        self._state = Replay(recording.platform)
        self._host = HostTables()
        self._trusted = frozenset(devices_where(recording.platform, trusted=True))
        self._open: dict[int, set[int]] = {}
        self._memory: dict[int, set[int]] = {}
        self._in_use: set[int] = set()

    def take(self, row: Row, *, wanted: bool) -> None:
        """Take the next event. `wanted`: it makes a mapping to be judged."""
        kind = row["event"]
        if kind in TABLE_KINDS:
            self._host.apply(row)
            if kind == "iommu_map":
                self._led_to(row)
        elif kind == "vdev":
            self._device_changed(row)
        elif kind in UNMAPS:
            self._end(row)
        elif kind in (*MAPS, "access"):
            if wanted:
                self._begin(row)
            elif kind == "access":
                self._accessed(row)
        else:
            self._page_changed(row)
        if kind not in MAPPING_KINDS:  # the mappings that matter are kept here
            self._state.apply(row)

    # A mapping begins and ends.

    def _begin(self, row: Row) -> None:
        platform, size = self._platform, row["size"] or 1
        facts = platform.devices[row["device"]]
        mapping = Mapping(row, facts.sid, canonical_of(platform, row["address"]), size)
        self._end(row)
        number = len(self.mappings)
        self.mappings.append(mapping)
        start = input_address(platform, row["address"])
        for low, high, entry in self._state.realm.overlapping(start, size):
            if entry.offset is not None:
                low, high = max(low, start), min(high, start + size)
                mapping.pages.append((low + entry.offset, high - low))
        for reason in self._against(mapping, start):
            mapping.spoil(reason)
            if mapping.settled:
                return
        self._in_use.add(number)
        for place, page in self._places(mapping):
            place.setdefault(page, set()).add(number)

    def _places(self, mapping: Mapping) -> Iterator[tuple[dict[int, set[int]], int]]:
        """Where is a mapping found while it lives: by its guest pages, and by its memory?"""
        for page in _pages(mapping.ipa, mapping.size):
            yield self._open, page
        for pa, size in mapping.pages:
            for page in _pages(pa, size):
                yield self._memory, page

    def _end(self, row: Row) -> None:
        """Mappings of the same device at the same address, or of the same buffer, are over."""
        by_buffer = row["event"] == "dma_unmap_sg"
        key = "phys" if by_buffer else "address"
        if row[key] is None:
            return
        ipa = row["phys"] if by_buffer else canonical_of(self._platform, row["address"])
        for number in list(self._open.get(ipa >> PAGE_SHIFT, ())):
            made = self.mappings[number].row
            if made["device"] == row["device"] and made[key] == row[key]:
                self._close(number)

    def _close(self, number: int) -> None:
        mapping = self.mappings[number]
        self._in_use.discard(number)
        for place, page in self._places(mapping):
            place[page].discard(number)

    # What speaks against a mapping when it is made.

    def _against(self, mapping: Mapping, start: int) -> Iterator[Reason]:
        row, platform, state = mapping.row, self._platform, self._state
        ipa, size = mapping.ipa, mapping.size
        if platform.has_shared_bit(row["address"]):
            yield Reason(Privacy.NOT, f"its address has {shared_bit_name(platform)}, set")
        if is_beyond_ipa_space(platform, row["address"]):
            yield Reason(Privacy.NOT, "its address lies beyond the IPA space")
        bounced = row["event"] == "dma_map" and row["phys"] not in (None, ipa)
        if bounced or lies_in(ipa, platform.pools):
            yield Reason(Privacy.NOT, "it is bounced through shared memory")
        yield from self._of_the_device(mapping)
        for said in (state.guest, state.shared):
            if any(now == SHARED for _, _, now in said.overlapping(ipa, size)):
                yield Reason(Privacy.NOT, "its page is shared")
        if platform.space is not None:
            for _, _, entry in state.realm.overlapping(platform.unprotected(ipa), size):
                shown = self._row(entry.number)
                yield Reason(Privacy.NOT, "its page has a shared alias", shown)
        if state.realm_entry(start, size) is None:
            why = "the RMM is not known to have it in the Realm's own table as RAM"
            yield Reason(Privacy.INCONCLUSIVE, why)
        yield from self._through_the_host(mapping)
        if row["event"] == "dma_map" and row["phys"] is None:
            yield Reason(Privacy.INCONCLUSIVE, "the trace does not tell its buffer")
        if row["detail"] == TRUNCATED:
            yield Reason(Privacy.INCONCLUSIVE, "the trace tells only a part of its scatterlist")
        if self._doubt:
            yield Reason(Privacy.INCONCLUSIVE, self._doubt)

    def _of_the_device(self, mapping: Mapping) -> Iterator[Reason]:
        number, known = mapping.row[NUMBER], interfaces(self._recording)
        interface = None if mapping.sid is None else known.get(mapping.sid)
        if interface is None:
            yield Reason(Privacy.INCONCLUSIVE, "no RMM tells whether its device was accepted")
        elif not interface.may_make_dma(number):
            shown = interface.before(number)
            why = "it was made while the device's DMA was not enabled"
            yield Reason(Privacy.NOT, why, shown)

    def _through_the_host(self, mapping: Mapping) -> Iterator[Reason]:
        for pa, size in mapping.pages:
            number = self._host.leads_to(pa, size)
            if number is not None:
                why = "a table of the host leads to its memory"
                yield Reason(Privacy.NOT, why, self._row(number))

    # What speaks against it while it lives.

    def _led_to(self, row: Row) -> None:
        pa, size = row["pa"], row["size"] or 1
        for mapping in self._near(self._memory, pa, size):
            if mapping.holds(pa, size):
                mapping.spoil(Reason(Privacy.NOT, "a table of the host leads to its memory", row))

    def _device_changed(self, row: Row) -> None:
        if row["attrs"] == DMA:
            return
        for number in list(self._in_use):
            mapping = self.mappings[number]
            if mapping.sid == row["sid"]:
                why = "it outlived the device's DMA: whoever is accepted next finds it"
                mapping.spoil(Reason(Privacy.NOT, why, row))

    def _accessed(self, row: Row) -> None:
        if row["status"] != OK:
            return
        for mapping in self._touching(canonical_of(self._platform, row["address"]), row["size"]):
            own = row["device"] == mapping.row["device"]
            if own and row["attrs"] == SHARED:
                mapping.spoil(Reason(Privacy.NOT, "its device reached shared memory there", row))
            if not own and row["attrs"] == PRIVATE and row["device"] not in self._trusted:
                mapping.spoil(Reason(Privacy.NOT, "a device that is not trusted reached it", row))

    def _page_changed(self, row: Row) -> None:
        """Something was said of a page: is it still the Realm's alone?"""
        kind, status = row["event"], row["status"]
        why = ""
        if kind == "ripas" and row["attrs"] != RAM:
            why = f"RIPAS of its page became {row['attrs']} while it was mapped"
        elif kind in ("convert", "set_memory") and status == SHARED:
            why = "its page was shared while it was mapped"
        elif kind == "rtt_map" and row["attrs"] == UNPROTECTED:
            why = "its page got a shared alias while it was mapped"
        elif kind == "rtt_unmap" and row["attrs"] != UNPROTECTED:
            why = "its page was taken out of the Realm's table while it was mapped"
        if why and row["phys"] is not None:
            for mapping in self._touching(row["phys"], row["size"]):
                mapping.spoil(Reason(Privacy.NOT, why, row))

    def _touching(self, ipa: int, size: int | None) -> Iterator[Mapping]:
        for mapping in self._near(self._open, ipa, size or 1):
            if mapping.ipa < ipa + (size or 1) and ipa < mapping.ipa + mapping.size:
                yield mapping

    def _near(self, place: dict[int, set[int]], start: int, size: int) -> Iterable[Mapping]:
        """Which live mappings have a page of this range? All, where that is less work."""
        pages = _pages(start, size)
        if len(pages) > len(self._in_use):
            return [self.mappings[number] for number in self._in_use]
        found = {number for page in pages for number in place.get(page, ())}
        return [self.mappings[number] for number in found]


def _pages(start: int, size: int) -> range:
    return range(start >> PAGE_SHIFT, (start + size - 1 >> PAGE_SHIFT) + 1)
