"""How is a row of numbers drawn: as a path of SVG, a unit wide for each number?

The picture is stretched to the width of the page, so that paths have whole numbers and are short;
what must keep its width at any size is a line with `vector-effect: non-scaling-stroke`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from topbit.report.spans import Counts, Floats

HEIGHT = 24
"""Units of every row of a picture."""


def _runs(chosen: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Iterator[tuple[int, int]]:
    """Which runs of places are chosen, as [first, end)?"""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], chosen, [False]]).astype(np.int8)))
    return zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def blocks(covered: Floats) -> tuple[str, str]:
    """Which paths fill what is covered: the places that are whole, and those that are in part?"""
    whole = covered > 0.999
    partly = (covered > 0) & ~whole
    return _boxes(whole), _boxes(partly)


def _boxes(chosen: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> str:
    return "".join(f"M{first} 0H{end}V{HEIGHT}H{first}z" for first, end in _runs(chosen))


def ticks(counts: Counts, top: int = 0, bottom: int = HEIGHT) -> str:
    """Which path is a vertical line at each place that has any?"""
    places = np.flatnonzero(counts)
    return "".join(f"M{place}.5 {top}V{bottom}" for place in places.tolist())


def bars(counts: Counts, peak: int) -> str:
    """Which path is a bar for each place, `peak` being full height? None is too low to be seen."""
    places = np.flatnonzero(counts)
    heights = np.maximum(2, np.round(counts[places] * (HEIGHT / max(peak, 1)))).astype(np.int64)
    pairs = zip(places.tolist(), np.minimum(heights, HEIGHT).tolist(), strict=True)
    return "".join(f"M{place} {HEIGHT}v-{height}h1v{height}z" for place, height in pairs)


def area(levels: Counts, peak: int) -> str:
    """Which path is the area below the levels, `peak` being full height?"""
    if not levels.any():
        return ""
    heights = np.round(levels * (HEIGHT / max(peak, 1))).astype(np.int64)
    changes = np.flatnonzero(np.diff(heights, prepend=0))
    steps = "".join(f"H{place}V{HEIGHT - int(heights[place])}" for place in changes.tolist())
    return f"M0 {HEIGHT}{steps}H{len(levels)}V{HEIGHT}z"
