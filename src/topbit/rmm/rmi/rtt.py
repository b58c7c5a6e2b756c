"""How do a Realm's tables grow, fold and go? RMI_RTT_CREATE, _DESTROY, _FOLD, _READ_ENTRY and
the unprotected mappings.

Source: DEN0137 1.0; the order in which several errors of one call are found is TF-RMM v0.8.0's.
"""

from __future__ import annotations

from typing import TypeGuard

import numpy as np

from topbit.arch.ipa import Ipa, Pa
from topbit.arch.rmi import Ripas, RmiStatus, RttState
from topbit.arch.stage2 import (
    LEAF_TYPES,
    TABLE,
    TABLE_OR_PAGE,
    TYPE,
    is_leaf,
    is_table,
    signed_level,
)
from topbit.rmm import s2tt as entries
from topbit.rmm.granules import DELEGATED, RTT
from topbit.rmm.realm import Realm
from topbit.rmm.s2tt import (
    ENTRIES,
    HIPAS_MASK,
    HOST_ATTRIBUTES,
    LAST,
    MEMATTR_MASK,
    MIN_BLOCK_LEVEL,
    NS,
    SHIFTS,
    UNASSIGNED_NS,
    Rtt,
    Walk,
    unassigned,
)
from topbit.rmm.state import RmmState

SUCCESS, ERROR_INPUT, ERROR_RTT = (
    int(RmiStatus.SUCCESS),
    int(RmiStatus.ERROR_INPUT),
    int(RmiStatus.ERROR_RTT),
)
MEMATTR_RESERVED = 0b0100 << 2  # FEAT_S2FWB: the one encoding that means nothing


def rtt_error(level: int) -> int:
    """Which X0 says that the walk, or the entry it found at `level`, is wrong?"""
    return ERROR_RTT | (level & 0xFF) << 8


def is_aligned(ipa: int, level: int) -> bool:
    """Does an entry of `level` begin at `ipa`?"""
    return not ipa & ((1 << SHIFTS[level]) - 1)


def next_live(rtt: Rtt, ipa: Ipa, walk: Walk) -> int:
    """Which is the next IPA that may hold a live entry? (`top` outputs; ends with the table)"""
    if walk.entry & (1 | HIPAS_MASK):
        return ipa
    live = entries.is_live(rtt.rest_of_table(walk.word))
    first = int(live.argmax())
    skipped = first if live[first] else len(live)
    shift = SHIFTS[walk.level]
    return ((ipa >> shift) + skipped) << shift


def _structure_arguments(
    rmm: RmmState, rd: int, ipa: int, level: int
) -> tuple[Realm, Ipa, int] | None:
    """Which Realm may have a table for which address, of which level? None: a wrong argument."""
    realm, level = rmm.realms.get(rd), signed_level(level)
    if realm is None or not realm.rtt.start_level < level <= LAST:
        return None
    if not realm.rtt.space.contains(ipa) or not is_aligned(ipa, level - 1):
        return None
    return realm, ipa, level


def rtt_create(rmm: RmmState, rd: int, table: int, ipa: int, level: int) -> tuple[int, ...]:
    """RMI_RTT_CREATE(rd, rtt, ipa, level): a table of `level` whose entries say what its parent
    entry said."""
    found = _structure_arguments(rmm, rd, ipa, level)
    if found is None or not rmm.granules.has(table, DELEGATED):
        return (ERROR_INPUT,)
    realm, ipa, level = found
    rtt = realm.rtt
    at, index, entry = rtt.walk(ipa, level - 1)
    if at < level - 1 or entry & TYPE == TABLE:
        return (rtt_error(at),)
    words = rtt.table(table)
    if entry & 1:
        words[:] = rtt.address_run(rtt.pa_of(entry), ENTRIES, level)
        words |= np.uint64(_attributes(rtt, entry) | LEAF_TYPES[level])
    elif entry & HIPAS_MASK:
        words[:] = rtt.address_run(rtt.pa_of(entry), ENTRIES, level)
        words |= np.uint64(entry & (HIPAS_MASK | entries.RIPAS_MASK))
    else:
        words[:] = entry
    rtt.write(index, rtt.address(table) | TABLE)
    if entry & 1:
        rmm.invalidate(realm, ipa, ENTRIES << SHIFTS[level])
    rmm.granules.set(table, RTT)
    return (SUCCESS,)


def _attributes(rtt: Rtt, entry: int) -> int:
    """Which bits of a valid leaf are neither its address nor its type?"""
    return entry & ~rtt.address(rtt.pa_of(entry)) & ~TYPE


def _is_root(rmm: RmmState, table: Pa) -> bool:
    """Is it a root table, which goes only with its Realm? (no intact entry leads to one)"""
    return any(realm.rtt.is_root(table) for realm in rmm.realms.values())


def rtt_destroy(rmm: RmmState, rd: int, ipa: int, level: int) -> tuple[int, ...]:
    """RMI_RTT_DESTROY(rd, ipa, level) -> rtt, top: an empty table goes, and with it what its
    entries said: DESTROYED below the half, unassigned above."""
    found = _structure_arguments(rmm, rd, ipa, level)
    if found is None:
        return (ERROR_INPUT, 0, 0)
    realm, ipa, level = found
    rtt = realm.rtt
    walk = rtt.walk(ipa, level - 1)
    if walk.level < level - 1 or walk.entry & TYPE != TABLE:
        return (rtt_error(walk.level), 0, next_live(rtt, ipa, walk))
    table = rtt.pa_of(walk.entry)
    words = rtt.table(table)
    if entries.is_held(words, level).any() or _is_root(rmm, table):
        return (rtt_error(level), 0, ipa)
    entry = unassigned(Ripas.DESTROYED) if rtt.space.in_par(ipa) else UNASSIGNED_NS
    if rmm.listening:
        rmm.say_table_gone(realm, ipa, words, level)
    rtt.write(walk.word, entry)
    rmm.invalidate(realm, ipa, ENTRIES << SHIFTS[level])
    rmm.granules.set(table, DELEGATED)
    return (SUCCESS, table, next_live(rtt, ipa, walk._replace(entry=entry)))


def rtt_fold(rmm: RmmState, rd: int, ipa: int, level: int) -> tuple[int, ...]:
    """RMI_RTT_FOLD(rd, ipa, level) -> rtt: 512 entries that say one thing become one entry."""
    found = _structure_arguments(rmm, rd, ipa, level)
    if found is None:
        return (ERROR_INPUT, 0)
    realm, ipa, level = found
    rtt = realm.rtt
    at, index, entry = rtt.walk(ipa, level - 1)
    if at < level - 1 or entry & TYPE != TABLE:
        return (rtt_error(at), 0)
    table = rtt.pa_of(entry)
    if _is_root(rmm, table):
        return (rtt_error(level), 0)
    words = rtt.table(table)
    first = int(words[0])
    if first & (1 | HIPAS_MASK):
        pa = rtt.pa_of(first)
        step = 1 << SHIFTS[level]
        rest = first & ~rtt.address(pa)
        held = first & NS or entries.is_held(words, level).all()
        if held and not first & NS and level <= MIN_BLOCK_LEVEL:
            return (rtt_error(at), 0)
        if is_table(first, level):
            return (rtt_error(level), 0)
        run = rtt.address_run(pa, ENTRIES, level)
        if pa & (ENTRIES * step - 1) or (words != (run | np.uint64(rest))).any():
            return (rtt_error(level), 0)
        if level <= MIN_BLOCK_LEVEL:
            return (rtt_error(at), 0)
        folded = first & ~TABLE_OR_PAGE if first & 1 else first
    else:
        if (words != words[0]).any():
            return (rtt_error(level), 0)
        folded = first
    rtt.write(index, folded)
    rmm.invalidate(realm, ipa, ENTRIES << SHIFTS[level])
    rmm.granules.set(table, DELEGATED)
    return (SUCCESS, table)


def rtt_read_entry(rmm: RmmState, rd: int, ipa: int, level: int) -> tuple[int, ...]:
    """RMI_RTT_READ_ENTRY(rd, ipa, level) -> walk level, state, descriptor, RIPAS."""
    realm = rmm.realms.get(rd)
    level = signed_level(level)
    if realm is None or not realm.rtt.start_level <= level <= LAST:
        return (ERROR_INPUT, 0, 0, 0, 0)
    rtt = realm.rtt
    if not rtt.space.contains(ipa) or not is_aligned(ipa, level):
        return (ERROR_INPUT, 0, 0, 0, 0)
    at, _, entry = rtt.walk(ipa, level)
    found = rtt.decode(entry, at)
    descriptor: int = found.oa
    if found.ns and found.state == RttState.ASSIGNED:
        descriptor |= entry & HOST_ATTRIBUTES
    return (SUCCESS, at & 0xFF, int(found.state), descriptor, int(found.ripas))


def rtt_map_unprotected(
    rmm: RmmState, rd: int, ipa: int, level: int, descriptor: int
) -> tuple[int, ...]:
    """RMI_RTT_MAP_UNPROTECTED(rd, ipa, level, desc): the host maps memory of its choice.

    The RMM does not ask what stands at the output address: the entry says NS = 1, and granule
    protection keeps such an access out of every Realm granule.
    """
    realm = rmm.realms.get(rd)
    if realm is None or not _may_map(ipa, realm.rtt, level):
        return (ERROR_INPUT,)
    rtt = realm.rtt
    if not descriptor_is_valid(rtt, descriptor, level, rmm.pa_bits):
        return (ERROR_INPUT,)
    at, index, entry = rtt.walk(ipa, level)
    if at != level or entry != UNASSIGNED_NS:
        return (rtt_error(at),)
    rtt.write(index, rtt.assigned_ns(descriptor, level))
    if rmm.listening:
        rmm.say_rtt("rtt_map", realm, ipa, Pa(descriptor & ~0xFFF), 1 << SHIFTS[level])
    return (SUCCESS,)


def rtt_unmap_unprotected(rmm: RmmState, rd: int, ipa: int, level: int) -> tuple[int, ...]:
    """RMI_RTT_UNMAP_UNPROTECTED(rd, ipa, level) -> top."""
    realm = rmm.realms.get(rd)
    if realm is None or not _may_map(ipa, realm.rtt, level):
        return (ERROR_INPUT, 0)
    rtt = realm.rtt
    walk = rtt.walk(ipa, level)
    mapped = is_leaf(walk.entry, level) and walk.entry & NS
    if walk.level != level or not mapped:
        return (rtt_error(walk.level), next_live(rtt, ipa, walk))
    rtt.write(walk.word, UNASSIGNED_NS)
    rmm.invalidate(realm, ipa, 1 << SHIFTS[level])
    if rmm.listening:
        rmm.say_rtt("rtt_unmap", realm, ipa, rtt.pa_of(walk.entry), 1 << SHIFTS[level])
    return (SUCCESS, next_live(rtt, ipa, walk._replace(entry=UNASSIGNED_NS)))


def _may_map(ipa: int, rtt: Rtt, level: int) -> TypeGuard[Ipa]:
    """May an unprotected leaf of `level` stand at `ipa`? Never above the start level."""
    if not max(MIN_BLOCK_LEVEL, rtt.start_level) <= level <= LAST:
        return False
    return rtt.space.in_unprotected(ipa) and is_aligned(ipa, level)


def descriptor_is_valid(rtt: Rtt, descriptor: int, level: int, pa_bits: int) -> bool:
    """May the host ask for this output address, MemAttr and S2AP?"""
    pa = descriptor & ~0xFFF
    if descriptor & 0xFFF & ~HOST_ATTRIBUTES or not is_aligned(pa, level):
        return False
    if pa >> (52 if rtt.lpa2 else pa_bits):
        return False
    # FWB: MemAttr[3] (bit 5) is not the host's to choose
    return descriptor & MEMATTR_MASK not in (MEMATTR_RESERVED,) and not descriptor & 1 << 5
