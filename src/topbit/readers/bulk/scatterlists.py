"""What are the entries of many arrays {0x1000,0x2000} at once?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from topbit.readers.bulk.words import U64, Mask, Places, Words

COMMA, OPENING, CLOSING = ord(","), ord("{"), ord("}")


@dataclass(frozen=True, slots=True)
class Lists:
    """Which entries have some arrays?

    Attributes:
        owners: for each entry, which array it is of; in order.
        places: which entry of its array it is, from 0.
        counts: entries of each array.
        values: of the entries.
        good: the array is whole, not empty, and all of its entries are numbers.
    """

    owners: Places
    places: Places
    counts: Places
    values: U64
    good: Mask


def lists_of(words: Words, commas: Places, starts: Places, ends: Places) -> Lists:
    """Which entries have the arrays from `starts` to `ends`?

    Args:
        words: the text.
        commas: where its commas are.
        starts, ends: of arrays that do not overlap, with their braces.
    """
    text = words.text
    good = (ends - starts > 2) & (text[starts] == OPENING) & (text[ends - 1] == CLOSING)
    first = np.searchsorted(commas, starts)
    counts = np.where(good, np.searchsorted(commas, ends) - first + 1, 0)
    owners = np.repeat(np.arange(len(starts)), counts)
    place = np.arange(len(owners)) - (np.cumsum(counts) - counts)[owners]
    # Behind the last comma of all there is none: what stands there is never asked.
    commas = np.append(commas, 0)
    comma = first[owners] + place
    begin = np.where(place == 0, starts[owners], commas[comma - 1]) + 1
    end = np.where(place == counts[owners] - 1, ends[owners] - 1, commas[comma])
    values, valid = words.hexadecimal(begin + 2, end)
    valid &= words.ends(begin + 2, b"0x")
    good[owners[~valid]] = False
    return Lists(owners, place, counts, values, good)
