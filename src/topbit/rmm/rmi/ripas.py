"""What does the Realm expect at its protected IPAs (RIPAS), and who may change that?

The host initialises a NEW Realm's RAM (RMI_RTT_INIT_RIPAS). Afterwards only the Realm may ask for
a change (RSI_IPA_STATE_SET), which the host then carries out as far as it likes
(RMI_RTT_SET_RIPAS). Each call goes no further than the end of one table.
Source: DEN0137 1.0; the order in which several errors of one call are found is TF-RMM v0.8.0's.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from topbit.arch.rmi import Ripas, RmiStatus, RttState
from topbit.arch.stage2 import output_array
from topbit.memory import Words
from topbit.rmm import s2tt as entries
from topbit.rmm.granules import DATA
from topbit.rmm.realm import RealmState, RipasChange
from topbit.rmm.rmi.addr_range import leading
from topbit.rmm.rmi.rtt import is_aligned, rtt_error
from topbit.rmm.s2tt import (
    HIPAS_ASSIGNED,
    HIPAS_ASSIGNED_DEV,
    HIPAS_MASK,
    LAST,
    NOWHERE,
    SHIFTS,
    Rtt,
)
from topbit.rmm.state import RmmState

SUCCESS, ERROR_INPUT, ERROR_REALM, ERROR_REC = (
    int(RmiStatus.SUCCESS),
    int(RmiStatus.ERROR_INPUT),
    int(RmiStatus.ERROR_REALM),
    int(RmiStatus.ERROR_REC),
)

_STEPS = np.arange(entries.ENTRIES, dtype=np.uint64)


def rtt_init_ripas(rmm: RmmState, rd: int, base: int, top: int) -> tuple[int, ...]:
    """RMI_RTT_INIT_RIPAS(rd, base, top) -> top reached: memory of a NEW Realm is RAM.

    In 1.0 only where none is assigned yet; in 2.0 the host may assign it first.
    """
    realm = rmm.realms.get(rd)
    if realm is None or top <= base:
        return (ERROR_INPUT, 0)
    rtt = realm.rtt
    if (base | top) & 0xFFF or not rtt.space.in_par(base, top - base):
        return (ERROR_INPUT, 0)
    if realm.state != RealmState.NEW:
        return (ERROR_REALM, 0)
    level, index, _ = rtt.walk(base, LAST)
    if not is_aligned(base, level):
        return (rtt_error(level), 0)
    shift = SHIFTS[level]
    words = rtt.rest_of_table(index)[: (top - base) >> shift]
    unassigned = words <= np.uint64(entries.unassigned(Ripas.RAM))
    count = leading(unassigned)
    if count < len(words) and rmm.revision.ranges:
        count = leading(unassigned | _is_assigned(rtt, words, level))
        change_words(rtt, words[:count], level, Ripas.RAM, change_destroyed=False)
    else:
        words[:count] = entries.unassigned(Ripas.RAM)
    if not count:
        return (rtt_error(level), 0)
    for i in range(count):
        realm.measurements.ripas(base + (i << shift), 1 << shift)
    reached = base + (count << shift)
    if rmm.listening:
        rmm.say_ripas(realm, base, reached - base, Ripas.RAM)
    return (SUCCESS, reached)


def _is_assigned(rtt: Rtt, words: Words, level: int) -> NDArray[np.bool_]:
    """Which words of a table have data assigned whose RIPAS is EMPTY or RAM?"""
    found = np.zeros(len(words), np.bool_)
    for i, word in enumerate(words):
        entry = rtt.decode(int(word), level)
        is_data = entry.state == RttState.ASSIGNED and not entry.ns
        if not is_data or entry.ripas not in (Ripas.EMPTY, Ripas.RAM):
            continue
        size = 1 << SHIFTS[level]
        found[i] = rtt.granules.run(entry.oa, size, DATA) == size
    return found


def rtt_set_ripas(rmm: RmmState, rd: int, rec_pa: int, base: int, top: int) -> tuple[int, ...]:
    """RMI_RTT_SET_RIPAS(rd, rec, base, top) -> top reached: do (part of) what the Realm asked."""
    if top <= base or top & 0xFFF:
        return (ERROR_INPUT, 0)
    realm = rmm.realms.get(rd)
    rec = rmm.recs.get(rec_pa)
    if realm is None or rec is None:
        return (ERROR_INPUT, 0)
    if rec.running or rec.realm is not realm:
        return (ERROR_REC, 0)
    change = rec.pending
    if not isinstance(change, RipasChange) or base != change.progress or top > change.top:
        return (ERROR_INPUT, 0)
    rtt, base = realm.rtt, change.progress
    level, index, _ = rtt.walk(base, LAST)
    if not is_aligned(base, level):
        return (rtt_error(level), 0)
    shift = SHIFTS[level]
    words = rtt.rest_of_table(index)[: (top - base) >> shift]
    if change.ripas == Ripas.RAM and len(words) > 1 and _is_ram(rtt, words, level):
        change.progress = base + (len(words) << shift)
        return (SUCCESS, change.progress)
    count = change_words(rtt, words, level, change.ripas, change.change_destroyed)
    if not count:
        return (rtt_error(level), 0)
    change.progress = base + (count << shift)
    if change.ripas == Ripas.EMPTY:
        rmm.invalidate(realm, base, count << shift)
    if rmm.listening:
        rmm.say_ripas(realm, base, count << shift, Ripas(change.ripas))
    return (SUCCESS, change.progress)


def change_words(rtt: Rtt, words: Words, level: int, ripas: int, change_destroyed: bool) -> int:
    """Give the first words of a table another RIPAS; how many took it before one refused?

    A table refuses, memory of a device (and what is no memory of a Realm) refuses RAM, and
    DESTROYED refuses RAM unless the Realm said CHANGE_DESTROYED.
    """
    if len(words) == 1:  # the usual call of a host: one page
        return _change_word(rtt, words, level, ripas, change_destroyed)
    now = entries.ripas_of(words, level)
    valid = (words & np.uint64(1)) != np.uint64(0)
    hipas = np.where(valid, np.uint64(0), words & np.uint64(HIPAS_MASK))
    device = (hipas == np.uint64(HIPAS_ASSIGNED_DEV)) | (valid & (now == Ripas.DEV))
    if ripas == Ripas.RAM:
        refused = (now == entries.IS_TABLE) | device
        if not change_destroyed:
            refused |= now == Ripas.DESTROYED
    else:
        refused = now == entries.IS_TABLE
    assigned = valid | (hipas != np.uint64(0))
    if ripas == Ripas.RAM and assigned.any():
        held = rtt.granules.are(output_array(words, rtt.granule), 1 << SHIFTS[level], DATA)
        refused |= assigned & ~held
    count = leading(~refused)
    part = words[:count]
    device, assigned = device[:count], assigned[:count]
    # What stays of a word is its output address; with LPA2 part of that is in [9:8].
    address = np.uint64(rtt.address_mask)
    oa = part & address
    if ripas == Ripas.RAM:
        leaf = np.uint64(rtt.assigned(NOWHERE, Ripas.RAM, level))
        part[:] = np.where(assigned, oa | leaf, np.uint64(entries.unassigned(Ripas.RAM)))
    else:
        hipas = np.where(device, np.uint64(HIPAS_ASSIGNED_DEV), np.uint64(HIPAS_ASSIGNED))
        part[:] = np.where(assigned, oa | hipas, np.uint64(entries.unassigned(Ripas.EMPTY)))
    return count


def _is_ram(rtt: Rtt, words: Words, level: int) -> bool:
    """Do all the words map memory as RAM, one block behind the other, so that nothing changes?

    The usual case: a guest's first call names all of its memory.
    """
    first, shift = int(words[0]), SHIFTS[level]
    pa, size = rtt.pa_of(first), len(words) << shift
    if first != rtt.assigned(pa, Ripas.RAM, level):
        return False
    if not (words - words[0] == _STEPS[: len(words)] << np.uint64(shift)).all():
        return False
    return rtt.granules.run(pa, size, DATA) == size


def _change_word(rtt: Rtt, words: Words, level: int, ripas: int, change_destroyed: bool) -> int:
    found = rtt.decode(int(words[0]), level)
    device = found.state == RttState.ASSIGNED_DEV
    if found.state == RttState.TABLE or (ripas == Ripas.RAM and device):
        return 0
    if ripas == Ripas.RAM and found.ripas == Ripas.DESTROYED and not change_destroyed:
        return 0
    size = 1 << SHIFTS[level]
    held = found.state != RttState.UNASSIGNED
    if held and ripas == Ripas.RAM and rtt.granules.run(found.oa, size, DATA) != size:
        return 0
    if found.state == RttState.UNASSIGNED:
        words[0] = entries.unassigned(ripas)
    else:
        words[0] = rtt.assigned(found.oa, ripas, level, dev=device)
    return 1
