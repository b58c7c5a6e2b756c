"""How is the address map drawn in characters, for a terminal?

A panel for each enlarged part, in it both halves, a page at the same column in both; a row for the
memory and for each device, and beside it, where there is room, what it shows in words.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from topbit.report.address_map import (
    HALVES,
    PROTECTED,
    UNPROTECTED,
    AddressMap,
    address_map,
    why_one_half,
)
from topbit.report.boot import BootReport
from topbit.report.map_view import amount
from topbit.report.map_windows import Window
from topbit.report.spans import Spans, counted
from topbit.rules.wording import address

Drawn: TypeAlias = npt.NDArray[np.str_]

NARROWEST = 80
"""Columns that a terminal must have for the map."""
NAME, WORDS = 16, 30
MOST_WINDOWS, MOST_DEVICES = 4, 6


@dataclass(frozen=True, slots=True)
class Glyphs:
    """Which characters stand for what?"""

    nothing: str
    private: str
    shared: str
    mapped: str
    given: str
    reached: str
    refused: str


BLOCKS = Glyphs("·", "░", "█", "▒", "╵", "+", "×")
ASCII = Glyphs(".", "-", "#", "=", "'", "+", "x")


def map_lines(boot: BootReport, width: int, glyphs: Glyphs = BLOCKS) -> Iterator[str]:
    """Which lines draw the map, none longer than `width`? None if nothing has an address."""
    whole = address_map(boot.recording, boot.checked.findings, MOST_WINDOWS)
    if not whole.windows:
        return
    words = WORDS if width >= NARROWEST + WORDS else 0
    columns = width - NAME - 3 - (words + 2 if words else 0)
    why = "" if whole.space else f", in one half: {why_one_half(boot.platform)}"
    yield f"address map{why}"
    legend = {
        "private RAM": glyphs.private, "shared": glyphs.shared, "in stage 2": glyphs.mapped,
        "given": glyphs.given, "let through": glyphs.reached, "refused": glyphs.refused,
    }  # fmt: skip
    yield "  " + ", ".join(f"{glyph} {what}" for what, glyph in legend.items())
    for window in whole.windows:
        yield ""
        yield f"  {window.title}, {amount(window.size)}"
        for half in HALVES if whole.space else (PROTECTED,):
            yield from _half(whole, window, half, columns, glyphs, words)
    if len(whole.devices) > MOST_DEVICES:
        yield f"  {len(whole.devices) - MOST_DEVICES} more devices have no row here"


def _half(
    whole: AddressMap, window: Window, half: str, columns: int, glyphs: Glyphs, words: int
) -> Iterator[str]:
    rows = [*_memory(whole, window, half, columns, glyphs)]
    for device in whole.devices[:MOST_DEVICES]:
        own = device.halves[half]
        given, reached, refused = (
            counted(points, window.start, window.end, columns)
            for points in (own.given, own.reached, own.refused)
        )
        drawn = _bar(own.mapped, window, columns, glyphs.mapped, glyphs.nothing)
        for counts, glyph in ((given, glyphs.given), (reached, glyphs.reached)):
            drawn[np.flatnonzero(counts)] = glyph
        drawn[np.flatnonzero(refused)] = glyphs.refused
        told = {"refused": refused.sum(), "let through": reached.sum(), "given": given.sum()}
        if any(told.values()) or len(own.mapped.within(window.start, window.end)):
            said = ", ".join(f"{count} {what}" for what, count in told.items() if count)
            rows.append((device.name, "".join(drawn), said))
    if not rows:
        return
    first, last = (whole.in_half(at, half) for at in (window.start, window.end - 1))
    ends = f"{address(first)}-{address(last)}"
    yield f"  {half + ' half ' if whole.space else ''}{ends}"
    for name, drawn_row, said in rows:
        beside = f"  {said[:words]}" if words else ""
        yield f"   {name[:NAME]:<{NAME}}{drawn_row}{beside}".rstrip()


def _memory(
    whole: AddressMap, window: Window, half: str, columns: int, glyphs: Glyphs
) -> Iterator[tuple[str, str, str]]:
    """Which row is the memory: what is shared above, RAM without what is shared below?"""
    ram = _bar(whole.ram, window, columns, glyphs.private, glyphs.nothing)
    if half == UNPROTECTED:
        drawn = _bar(whole.shared, window, columns, glyphs.shared, glyphs.nothing)
    else:
        gone = whole.shared.covered(window.start, window.end, columns) > 0.5
        drawn = np.where(gone, glyphs.nothing, ram)
    size = whole.shared if half == UNPROTECTED else whole.ram
    inside = size.within(window.start, window.end)
    if len(inside):
        what = "shared" if half == UNPROTECTED else "RAM"
        yield "memory", "".join(drawn), f"{amount(inside.size)} {what}"


def _bar(spans: Spans, window: Window, columns: int, glyph: str, other: str) -> Drawn:
    covered = spans.covered(window.start, window.end, columns) > 0
    return np.where(covered, glyph, other)
