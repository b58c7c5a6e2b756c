"""Which columns have events whose forms are known?"""

from __future__ import annotations

import numpy as np

from topbit.readers.bulk.known import Known
from topbit.readers.bulk.trace_forms import FORMS, Form
from topbit.readers.bulk.words import U64, Mask, Places
from topbit.readers.columns import BITS, EXACT, HAS
from topbit.readers.growing import Array
from topbit.recording.schema import DMA_MAPPING_ERROR

NUMBERS = {"dma_addr": "address", "phys_addr": "phys", "dev_addr": "phys", "size": "size"}
LISTS = {"dma_addrs": "address", "sizes": "size", "phys_addrs": "phys"}
"""Fields that are numbers, or arrays of them, and what the event table calls them."""
_OTHERS = {"dma_mask": "mask", "iova": "address", "paddr": "pa"}


def each(what: list[int], none: int = 0) -> Places:
    """What has each form, and what has none?"""
    return np.array([*what, none], np.int64)


def _has(form: Form) -> int:
    columns = (NUMBERS.get(key) or _OTHERS.get(key) for key in form.keys)
    return sum(int(BITS[name]) for name in {"line", "time", *filter(None, columns)})


HAS_OF = each([_has(form) for form in FORMS]).astype(np.uint16)
ALLOCATIONS = each([form.event == "dma_alloc" for form in FORMS]) != 0
_CAN_FAIL = each([form.event in ("dma_map", "dma_alloc") for form in FORMS]) != 0


def columns_of(known: Known, leads: Array, line: Array, time: Array) -> dict[str, Array]:
    """Which columns have events, but for the numbers and what a tail tells?

    Args:
        known: what the leads mean.
        leads: of each event, the column of their table.
        line, time: of each event (seconds).
    """
    form, device, direction, mask = known.leads.table
    # Of each lead first: there are few.
    form = form.astype(np.int64)
    told = {
        "device": narrow(device),
        "direction": direction.astype(np.uint8),
        "mask": mask,
        HAS: HAS_OF[form],
    }
    for column in ("agent", "event", "detail", EXACT):
        words = ["yes" if column == EXACT else getattr(one, column) for one in FORMS]
        told[column] = each([known.number(column, word) for word in words]).astype(np.uint8)[form]
    columns = {name: of_leads[leads] for name, of_leads in told.items()}
    return columns | {"line": line.astype(np.uint32), "time": time}


def failed_maps(columns: dict[str, Array], form: Places) -> Mask:
    """Which mappings and allocations gave no address?"""
    address = columns.get("address", np.zeros(len(form), np.uint64))
    failed: Mask = _CAN_FAIL[form] & (address == np.uint64(DMA_MAPPING_ERROR))
    return failed


def narrow(numbers: U64) -> Array:
    """Which array are numbers of words, which are nearly always few?"""
    return numbers.astype(np.uint8 if numbers.max(initial=0) < 256 else np.uint16)
