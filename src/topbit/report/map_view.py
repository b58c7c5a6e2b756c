"""How is the address map laid out on a page: which panels, rows, paths and pins?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from string import ascii_uppercase

import numpy as np

from topbit.report.address_map import (
    ALL_STREAMS,
    HALVES,
    PROTECTED,
    UNPROTECTED,
    AddressMap,
    HalfOfDevice,
    MapDevice,
)
from topbit.report.map_windows import Window
from topbit.report.spans import Spans, counted
from topbit.report.svg import HEIGHT, blocks, ticks
from topbit.rules.wording import address

PLACES = 480
MOST_DEVICES = 8
TOGETHER = 4.0
"""Parts of 100 of the width: what is nearer would hide each other."""
_LOWER = HEIGHT // 2


@dataclass(frozen=True, slots=True)
class Shape:
    """Which path is drawn in which style? `style`: a class of the style sheet."""

    style: str
    path: str


@dataclass(frozen=True, slots=True)
class TrackRow:
    """Which row is it? `label` names it, `detail` is said below, `told` is what the row shows."""

    label: str
    detail: str
    told: str
    shapes: tuple[Shape, ...]
    troubled: bool = False


@dataclass(frozen=True, slots=True)
class Pin:
    """Which findings show at this part (0 to 100) of the width, by number?"""

    left: float
    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class HalfView:
    """How is one half shown? `first`, `last`: the addresses at its ends, as they are in it."""

    half: str
    meaning: str
    first: str
    last: str
    rows: tuple[TrackRow, ...]
    pins: tuple[Pin, ...]


@dataclass(frozen=True, slots=True)
class Sliver:
    """Where in the whole space, or in another panel, in parts of 0 to 100, does a panel lie?"""

    letter: str
    left: float
    width: float


@dataclass(frozen=True, slots=True)
class Panel:
    """How is a window shown?

    Attributes:
        inside: the letter of the panel that it is a part of; empty for none.
        enlarged: where in it lie the panels that are parts of it.
    """

    letter: str
    title: str
    size: str
    inside: str
    halves: tuple[HalfView, ...]
    enlarged: tuple[Sliver, ...]


@dataclass(frozen=True, slots=True)
class MapView:
    """How is the map shown?

    Attributes:
        bit: number of the shared bit; None if it is unknown, and there are no halves.
        ends: the addresses at which the halves begin, and the last one of the space.
        slivers: where the panels lie in one half.
        panels: what is enlarged.
        left_out: devices that have no row.
        beyond: addresses above the IPA space.
    """

    bit: int | None
    ends: tuple[str, ...]
    slivers: tuple[Sliver, ...]
    panels: tuple[Panel, ...]
    left_out: int
    beyond: int

    @property
    def styles(self) -> frozenset[str]:
        """Which styles are drawn, and need a legend?"""
        rows = (row for panel in self.panels for half in panel.halves for row in half.rows)
        return frozenset(s.style.removesuffix("-part") for row in rows for s in row.shapes)


def map_view(whole: AddressMap) -> MapView:
    """How is the map laid out?"""
    space = whole.space
    limit = space.shared_bit if space else 1 << 48
    ends = (0, space.shared_bit, space.size - 1) if space else (0,)
    slivers = _slivers(whole, None, 0, limit)
    panels = tuple(_panel(whole, window, n) for n, window in enumerate(whole.windows))
    left_out = max(0, len(whole.devices) - MOST_DEVICES)
    bit = space.bit_number if space else None
    return MapView(bit, tuple(map(address, ends)), slivers, panels, left_out, whole.beyond)


def _slivers(whole: AddressMap, inside: int | None, start: int, size: int) -> tuple[Sliver, ...]:
    """Which panels lie directly in this window (None: in none), and where in [start, +size)?

    Letters that would hide each other stand together, at the first of the panels.
    """
    found = sorted(
        (100 * (window.start - start) / size, 100 * window.size / size, letter)
        for letter, window in zip(ascii_uppercase, whole.windows, strict=False)
        if window.inside == inside
    )
    slivers: list[Sliver] = []
    named = 0
    for left, width, letter in found:
        if slivers and left - slivers[named].left < TOGETHER:
            slivers[named] = replace(slivers[named], letter=f"{slivers[named].letter} {letter}")
            slivers.append(Sliver("", left, width))
        else:
            named = len(slivers)
            slivers.append(Sliver(letter, left, width))
    return tuple(slivers)


def _panel(whole: AddressMap, window: Window, number: int) -> Panel:
    halves = [_half(whole, window, half) for half in (HALVES if whole.space else (PROTECTED,))]
    inside = "" if window.inside is None else ascii_uppercase[window.inside]
    return Panel(
        ascii_uppercase[number],
        window.title,
        amount(window.size),
        inside,
        tuple(half for half in halves if half.rows),
        _slivers(whole, number, window.start, window.size),
    )


def _half(whole: AddressMap, window: Window, half: str) -> HalfView:
    meaning = {UNPROTECTED: "shared with the host", PROTECTED: "private to the Realm"}[half]
    if whole.space is None:
        meaning = ""
    every = [each.halves[half].mapped for each in whole.devices if each.name == ALL_STREAMS]
    known = any(len(each.halves[h].mapped) for each in whole.devices for h in HALVES)
    rows = [_memory(whole, window, half)]
    for device in whole.devices[:MOST_DEVICES]:
        told = known and not any(len(spans.within(window.start, window.end)) for spans in every)
        rows.append(_device(device, device.halves[half], window, told))
    return HalfView(
        half,
        meaning,
        address(whole.in_half(window.start, half)),
        address(whole.in_half(window.end - 1, half)),
        tuple(row for row in rows if row is not None),
        _pins(whole, window, half),
    )


def _memory(whole: AddressMap, window: Window, half: str) -> TrackRow | None:
    """Which memory has the half: shared pages above; below RAM, and what of it was shared?"""
    shared = whole.shared.within(window.start, window.end)
    ram = whole.ram.within(window.start, window.end)
    pools = whole.pools.within(window.start, window.end)
    if not len(ram) and not len(shared) and not len(pools):
        return None
    shapes = [Shape("ram", "".join(blocks(_drawn(ram, window))))]
    if half == UNPROTECTED:
        told = f"shared at some time: {amount(shared.size)}" if len(shared) else "not seen shared"
        whole_places, in_part = blocks(_drawn(shared, window))
        shapes = [Shape("alias", shapes[0].path), Shape("shared", whole_places)]
        shapes.append(Shape("shared-part", in_part))
    else:
        told = f"RAM: {amount(ram.size)}" if len(ram) else "RAM not known"
        shapes.append(Shape("was-shared", "".join(blocks(_drawn(shared, window)))))
    if len(pools):
        shapes.append(Shape("pool", "".join(blocks(_drawn(pools, window)))))
        told += f"; swiotlb pool: {amount(pools.size)}"
    return TrackRow("memory", "", told, tuple(s for s in shapes if s.path))


def _device(device: MapDevice, own: HalfOfDevice, window: Window, lacks: bool) -> TrackRow | None:
    """What did a device have and do in the half? `lacks`: no mapping of all streams is there."""
    mapped = own.mapped.within(window.start, window.end)
    given, reached, refused = (
        counted(points, window.start, window.end, PLACES)
        for points in (own.given, own.reached, own.refused)
    )
    counts = {
        "refused": int(refused.sum()),
        "let through": int(reached.sum()),
        "given": int(given.sum()),
    }
    told = [f"{count:,} {what}" for what, count in counts.items() if count]
    if len(mapped):
        told.append(f"stage 2 maps {amount(mapped.size)}")
    elif lacks and counts["refused"]:
        told.append("no stage-2 mapping")
    if not told:
        return None
    whole_places, in_part = blocks(_drawn(mapped, window))
    shapes = (
        Shape("mapped", whole_places),
        Shape("mapped-part", in_part),
        Shape("given", ticks(given, 0, _LOWER)),
        Shape("reached", ticks(reached, _LOWER, HEIGHT)),
        Shape("refused", ticks(refused)),
    )
    detail = "" if device.stream is None else f"StreamID 0x{device.stream:x}"
    return TrackRow(
        device.name,
        detail,
        ", ".join(told),
        tuple(shape for shape in shapes if shape.path),
        bool(counts["refused"]),
    )


def _drawn(spans: Spans, window: Window) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return spans.covered(window.start, window.end, PLACES)


def _pins(whole: AddressMap, window: Window, half: str) -> tuple[Pin, ...]:
    """Where are the findings' pins? Those that would hide each other are one."""
    at = sorted(
        (100 * (marker.address - window.start) / window.size, marker.number)
        for marker in whole.markers
        if marker.half == half and window.start <= marker.address < window.end
    )
    return gathered(at)


def gathered(at: Sequence[tuple[float, int]], apart: float = TOGETHER) -> tuple[Pin, ...]:
    """Which pins are there, for findings at these parts of the width, in order?"""
    pins: list[Pin] = []
    for left, number in at:
        if pins and left - pins[-1].left < apart:
            pins[-1] = Pin(pins[-1].left, tuple(sorted({*pins[-1].numbers, number})))
        else:
            pins.append(Pin(left, (number,)))
    return tuple(pins)


def amount(size: int) -> str:
    """How is a number of bytes said: in the largest unit that leaves at most one decimal?"""
    for unit, shift in (("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >= 1 << shift:
            return f"{size / (1 << shift):.1f}".removesuffix(".0") + f" {unit}"
    return f"{size} bytes"
