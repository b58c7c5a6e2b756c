"""What does one call of RMI 2.0 map? Data, device memory and unprotected mappings by the range.

The same states and the same words as the single-page calls of 1.0.
Source: DEN0137 2.0 beta 0; observed on TF-RMM v0.9.0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from topbit.arch.ipa import Pa
from topbit.arch.rmi import Ripas, RmiStatus
from topbit.arch.rmi_range import AddrRange, MapFlags
from topbit.arch.stage2 import S2AP_READ, S2AP_WRITE
from topbit.memory import Words
from topbit.rmm import s2tt as entries
from topbit.rmm.granules import DATA, DELEGATED, Granules, State
from topbit.rmm.rmi.addr_range import Chunk, leading, map_call, uniform, write_run
from topbit.rmm.rmi.op import BLOCKED, is_blocked
from topbit.rmm.rmi.rtt import descriptor_is_valid, rtt_error
from topbit.rmm.s2tt import (
    HIPAS_ASSIGNED,
    HIPAS_ASSIGNED_DEV,
    HIPAS_MASK,
    NOWHERE,
    RIPAS_MASK,
    RIPAS_SHIFT,
    SHIFTS,
    UNASSIGNED_NS,
    Rtt,
)
from topbit.rmm.state import RmmState

SUCCESS, ERROR_INPUT = int(RmiStatus.SUCCESS), int(RmiStatus.ERROR_INPUT)


@dataclass(slots=True)
class _Wiper:
    """Which memory is still to be wiped? Contiguous memory is wiped at once, at the end."""

    granules: Granules
    pa: Pa
    size: int = 0

    def add(self, pa: Pa, size: int) -> None:
        """Wipe [pa, pa + size), now or later."""
        if pa != self.pa + self.size:
            self.flush()
            self.pa = pa
        self.size += size

    def flush(self) -> None:
        """Wipe what is still to be wiped."""
        self.granules.wipe(self.pa, self.size)
        self.size = 0


def rtt_data_map(
    rmm: RmmState, rd: int, base: int, top: int, flags: int, oaddr: int
) -> tuple[int, ...]:
    """RMI_RTT_DATA_MAP(rd, base, top, flags, oaddr) -> out_top: wiped memory for the Realm.

    Pages and blocks alike; RIPAS stays as it is. The same page at the same IPA again is taken as
    done.
    """
    if is_blocked(rmm):
        return (BLOCKED, 0)
    call = map_call(rmm, rd, base, top, flags, oaddr, AddrRange.DELEGATED, protected=True)
    if isinstance(call, int):
        return (call, 0)
    shift = SHIFTS[call.level]
    status, out_top = ERROR_INPUT, call.base
    wiper = _Wiper(rmm.granules, rmm.granules.base)
    for chunk in call.chunks():
        if isinstance(chunk, int):
            status = chunk
            break
        done, status = _data_map(rmm, call.rtt, chunk, call.level, wiper)
        if done and rmm.listening:
            rmm.say_rtt("rtt_map", call.realm, chunk.ipa, chunk.pa, done << shift)
        out_top = chunk.ipa + (done << shift)
        if done < len(chunk.words):
            break
    wiper.flush()
    return (SUCCESS, out_top) if out_top > base else (status, 0)


def _data_map(rmm: RmmState, rtt: Rtt, chunk: Chunk, level: int, wiper: _Wiper) -> tuple[int, int]:
    """How many entries of the chunk are mapped now, and what stopped it?"""
    granules, words = rmm.granules, chunk.words
    shift = SHIFTS[level]
    leaf = rtt.assigned(NOWHERE, Ripas.RAM, level)
    ram = entries.unassigned(Ripas.RAM)
    first, size = int(words[0]), len(words) << shift
    if not first & ~RIPAS_MASK and uniform(words) and granules.all_delegated(chunk.pa, size):
        granules.span(chunk.pa, size)[:] = DATA
        write_run(rtt, words, chunk.pa, level, leaf if first == ram else HIPAS_ASSIGNED | first)
        wiper.add(chunk.pa, size)
        return len(words), SUCCESS
    oa = rtt.address_run(chunk.pa, len(words), level)
    free = words & ~np.uint64(RIPAS_MASK) == 0  # unassigned protected: nothing but a RIPAS
    same = _same_data(rtt, words, oa, level)
    at = 0
    while at < len(words):
        if same[at]:  # mapped before, to the same memory: nothing to do
            at += leading(same[at:])
            continue
        count = leading(free[at:])
        if not count:
            return at, rtt_error(level)
        pa = chunk.pa + (at << shift)
        backed = granules.run(pa, count << shift, DELEGATED) >> shift
        part, where = words[at : at + backed], oa[at : at + backed]
        if backed:
            granules.span(pa, backed << shift)[:] = DATA
            part[:] = where | np.where(
                part == ram, np.uint64(leaf), np.uint64(HIPAS_ASSIGNED) | part
            )
            wiper.add(pa, backed << shift)
        at += backed
        if backed < count:
            return at, ERROR_INPUT
    return at, SUCCESS


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
    """RMI_RTT_UNPROT_MAP(rd, base, top, flags, oaddr) -> out_top: memory of the host's choice.

    What the descriptors say of its state is not looked at, as the output address is not.
    """
    if is_blocked(rmm):
        return (BLOCKED, 0)
    call = map_call(rmm, rd, base, top, flags, oaddr, None, protected=False)
    if isinstance(call, int):
        return (call, 0)
    rtt, level = call.rtt, call.level
    shift = SHIFTS[level]
    attributes = MapFlags.MEMATTR.get(flags) << 2
    attributes |= S2AP_READ if MapFlags.S2AP_READ.get(flags) else 0
    attributes |= S2AP_WRITE if MapFlags.S2AP_WRITE.get(flags) else 0
    indirect = MapFlags.S2AP_INDEX.get(flags)
    if indirect or not descriptor_is_valid(rtt, attributes, level, rmm.pa_bits):
        return (ERROR_INPUT, 0)
    leaf = np.uint64(rtt.assigned_ns(attributes, level))
    status, out_top = ERROR_INPUT, call.base
    for chunk in call.chunks():
        if isinstance(chunk, int):
            status = chunk
            break
        new = rtt.address_run(chunk.pa, len(chunk.words), level) | leaf
        fits = (chunk.words == np.uint64(UNASSIGNED_NS)) | (chunk.words == new)
        count = leading(fits)
        chunk.words[:count] = new[:count]
        if count and rmm.listening:
            rmm.say_rtt("rtt_map", call.realm, chunk.ipa, chunk.pa, count << shift)
        out_top = chunk.ipa + (count << shift)
        if count < len(chunk.words):
            status = rtt_error(level)
            break
    return (SUCCESS, out_top) if out_top > base else (status, 0)


def rtt_dev_map(
    rmm: RmmState, rd: int, vdev: int, base: int, top: int, flags: int, oaddr: int
) -> tuple[int, ...]:
    """RMI_RTT_DEV_MAP(rd, vdev, base, top, flags, oaddr) -> out_top: a device's registers.

    Only of that device, and where RIPAS is EMPTY or DESTROYED; the Realm cannot reach them before
    it has validated the mapping. What is mapped already is not mapped again.
    """
    if is_blocked(rmm):
        return (BLOCKED, 0)
    device = rmm.vdevs.get(vdev)
    if device is None or device.realm.rd != rd:
        return (ERROR_INPUT, 0)
    call = map_call(rmm, rd, base, top, flags, oaddr, AddrRange.DELEGATED, protected=True)
    if isinstance(call, int):
        return (call, 0)
    call.within = device.ranges
    shift = SHIFTS[call.level]
    status, out_top = ERROR_INPUT, call.base
    for chunk in call.chunks():
        if isinstance(chunk, int):
            status = chunk
            break
        done, status = _dev_map(rmm, call.rtt, chunk, call.level)
        if done and rmm.listening:
            rmm.say_rtt("rtt_map", call.realm, chunk.ipa, chunk.pa, done << shift)
        out_top = chunk.ipa + (done << shift)
        if done < len(chunk.words):
            break
    return (SUCCESS, out_top) if out_top > base else (status, 0)


def _dev_map(rmm: RmmState, rtt: Rtt, chunk: Chunk, level: int) -> tuple[int, int]:
    """How many entries of the chunk map the device's registers now, and what stopped it?"""
    oa, size = rtt.address_run(chunk.pa, len(chunk.words), level), 1 << SHIFTS[level]
    for i, word in enumerate(chunk.words):
        ripas = int(word) >> RIPAS_SHIFT
        if int(word) & ~RIPAS_MASK or ripas not in (Ripas.EMPTY, Ripas.DESTROYED):
            return i, rtt_error(level)
        pa = chunk.pa + i * size
        if not rmm.granules.move_device(pa, size, State.DEV_DELEGATED, State.DEV_MAPPED):
            return i, ERROR_INPUT
        chunk.words[i] = oa[i] | np.uint64(HIPAS_ASSIGNED_DEV) | word
    return len(chunk.words), SUCCESS
