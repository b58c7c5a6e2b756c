"""What does one call of RMI 2.0 map? Data, device memory and unprotected mappings by the range.

The same states and the same words as the single-page calls of 1.0.
Source: DEN0137 2.0 beta 0; observed on TF-RMM v0.9.0.
"""

from __future__ import annotations

import numpy as np

from topbit.arch.rmi import AddrRange, MapFlags, Ripas, RmiStatus
from topbit.arch.stage2 import S2AP_READ, S2AP_WRITE
from topbit.memory import Words
from topbit.rmm import s2tt as entries
from topbit.rmm.granules import DATA, DELEGATED, State
from topbit.rmm.rmi.addr_range import (
    Chunk,
    chunks,
    leading,
    map_arguments,
    uniform,
    write_run,
)
from topbit.rmm.rmi.rtt import descriptor_is_valid, rtt_error
from topbit.rmm.s2tt import (
    HIPAS_ASSIGNED,
    HIPAS_ASSIGNED_DEV,
    HIPAS_MASK,
    NOWHERE,
    RIPAS_MASK,
    SHIFTS,
    UNASSIGNED_NS,
    Rtt,
)
from topbit.rmm.state import RmmState

SUCCESS, ERROR_INPUT = int(RmiStatus.SUCCESS), int(RmiStatus.ERROR_INPUT)


def rtt_data_map(
    rmm: RmmState, rd: int, base: int, top: int, flags: int, oaddr: int
) -> tuple[int, ...]:
    """RMI_RTT_DATA_MAP(rd, base, top, flags, oaddr) -> out_top: wiped memory for the Realm.

    Pages and blocks alike; RIPAS stays as it is. The same page at the same IPA again succeeds.
    """
    found = map_arguments(rmm, rd, base, top, flags, oaddr, AddrRange.DELEGATED, protected=True)
    if isinstance(found, int):
        return (found, 0)
    realm, base, level, runs = found
    rtt, shift = realm.rtt, SHIFTS[level]
    status, out_top = ERROR_INPUT, base
    dirty, dirty_bytes = rmm.granules.base, 0  # contiguous memory still to be wiped
    for chunk in chunks(rtt, base, top, level, runs):
        if isinstance(chunk, int):
            status = chunk
            break
        done, fresh, status = _data_map(rmm, rtt, chunk, level)
        if fresh and chunk.pa != dirty + dirty_bytes:
            rmm.granules.wipe(dirty, dirty_bytes)
            dirty, dirty_bytes = chunk.pa, 0
        dirty_bytes += fresh << shift
        if done and rmm.listening:
            rmm.say_rtt("rtt_map", realm, chunk.ipa, chunk.pa, done << shift)
        out_top = chunk.ipa + (done << shift)
        if done < len(chunk.words):
            break
    rmm.granules.wipe(dirty, dirty_bytes)
    return (SUCCESS, out_top) if out_top > base else (status, 0)


def _data_map(rmm: RmmState, rtt: Rtt, chunk: Chunk, level: int) -> tuple[int, int, int]:
    """How many entries of the chunk are mapped, how many of them are new, what stopped it?"""
    granules, words = rmm.granules, chunk.words
    shift = SHIFTS[level]
    leaf = rtt.assigned(NOWHERE, Ripas.RAM, level)
    ram = entries.unassigned(Ripas.RAM)
    first, size = int(words[0]), len(words) << shift
    if not first & ~RIPAS_MASK and uniform(words) and granules.all_delegated(chunk.pa, size):
        granules.span(chunk.pa, size)[:] = DATA
        write_run(rtt, words, chunk.pa, level, leaf if first == ram else HIPAS_ASSIGNED | first)
        return len(words), len(words), SUCCESS
    oa = rtt.address_run(chunk.pa, len(words), level)
    free = words & ~np.uint64(RIPAS_MASK) == 0  # unassigned protected: nothing but a RIPAS
    if not free.all():
        same = _same_data(rtt, words, oa, level)
        count = leading(free | same)
        if not count:
            return 0, 0, rtt_error(level)
        if not free[0]:
            # Mapped before, to the same page: nothing to do for those.
            return leading(same[:count]), 0, SUCCESS
        words, oa = words[: leading(free)], oa[: leading(free)]
    count = granules.run(chunk.pa, len(words) << shift, DELEGATED) >> shift
    if not count:
        return 0, 0, ERROR_INPUT
    words, oa = words[:count], oa[:count]
    granules.span(chunk.pa, count << shift)[:] = DATA
    assigned = np.where(words == ram, np.uint64(leaf), np.uint64(HIPAS_ASSIGNED) | words)
    words[:] = oa | assigned
    return count, count, ERROR_INPUT


def _same_data(
    rtt: Rtt, words: Words, oa: Words, level: int
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which words already map the same data?"""
    address = np.uint64(rtt.address_mask)
    valid = (words & np.uint64(1)) != 0
    leaf = np.uint64(rtt.assigned(NOWHERE, Ripas.RAM, level))
    held = (words & np.uint64(1 | HIPAS_MASK)) == np.uint64(HIPAS_ASSIGNED)
    same: np.ndarray[tuple[int], np.dtype[np.bool_]] = np.where(
        valid, words == (oa | leaf), held & ((words & address) == oa)
    )
    return same


def rtt_unprot_map(
    rmm: RmmState, rd: int, base: int, top: int, flags: int, oaddr: int
) -> tuple[int, ...]:
    """RMI_RTT_UNPROT_MAP(rd, base, top, flags, oaddr) -> out_top: memory of the host's choice."""
    found = map_arguments(rmm, rd, base, top, flags, oaddr, AddrRange.UNDELEGATED, protected=False)
    if isinstance(found, int):
        return (found, 0)
    realm, base, level, runs = found
    rtt, shift = realm.rtt, SHIFTS[level]
    attributes = MapFlags.MEMATTR.get(flags) << 2
    attributes |= S2AP_READ if MapFlags.S2AP_READ.get(flags) else 0
    attributes |= S2AP_WRITE if MapFlags.S2AP_WRITE.get(flags) else 0
    if flags >> 21 or not descriptor_is_valid(rtt, attributes, level, rmm.pa_bits):
        return (ERROR_INPUT, 0)
    leaf = np.uint64(rtt.assigned_ns(attributes, level))
    status, out_top = ERROR_INPUT, base
    for chunk in chunks(rtt, base, top, level, runs):
        if isinstance(chunk, int):
            status = chunk
            break
        new = rtt.address_run(chunk.pa, len(chunk.words), level) | leaf
        fits = (chunk.words == np.uint64(UNASSIGNED_NS)) | (chunk.words == new)
        count = leading(fits)
        chunk.words[:count] = new[:count]
        if count and rmm.listening:
            rmm.say_rtt("rtt_map", realm, chunk.ipa, chunk.pa, count << shift)
        out_top = chunk.ipa + (count << shift)
        if count < len(chunk.words):
            status = rtt_error(level)
            break
    return (SUCCESS, out_top) if out_top > base else (status, 0)


def rtt_dev_map(
    rmm: RmmState, rd: int, base: int, top: int, flags: int, oaddr: int
) -> tuple[int, ...]:
    """RMI_RTT_DEV_MAP(rd, base, top, flags, oaddr) -> out_top: delegated device memory.

    The Realm cannot reach it before it has validated the mapping; only where RIPAS is EMPTY or
    DESTROYED.
    """
    found = map_arguments(rmm, rd, base, top, flags, oaddr, AddrRange.DELEGATED, protected=True)
    if isinstance(found, int):
        return (found, 0)
    realm, base, level, runs = found
    if level < 2:
        return (ERROR_INPUT, 0)
    rtt, shift = realm.rtt, SHIFTS[level]
    status, out_top = ERROR_INPUT, base
    for chunk in chunks(rtt, base, top, level, runs):
        if isinstance(chunk, int):
            status = chunk
            break
        oa = rtt.address_run(chunk.pa, len(chunk.words), level)
        for i, word in enumerate(chunk.words):
            pa = chunk.pa + (i << shift)
            ripas = int(word) >> 1
            if int(word) & ~RIPAS_MASK or ripas not in (Ripas.EMPTY, Ripas.DESTROYED):
                status = rtt_error(level)
                break
            size = 1 << shift
            if not rmm.granules.move_device(pa, size, State.DEV_DELEGATED, State.DEV_MAPPED):
                status = ERROR_INPUT
                break
            chunk.words[i] = oa[i] | np.uint64(HIPAS_ASSIGNED_DEV) | word
            out_top = chunk.ipa + ((i + 1) << shift)
        else:
            continue
        break
    if out_top > base and rmm.listening:
        rmm.say_rtt("rtt_map", realm, base, runs[0].pa, out_top - base)
    return (SUCCESS, out_top) if out_top > base else (status, 0)
