"""Which granule stands at a protected IPA? RMI_DATA_CREATE, _CREATE_UNKNOWN and _DESTROY of 1.0,
RMI_RTT_DATA_MAP_INIT of 2.0.

Source: DEN0137; the order in which several errors of one call are found is TF-RMM's.
"""

from __future__ import annotations

from topbit.arch.ipa import Ipa, Pa
from topbit.arch.rmi import Ripas, RmiStatus, RttState
from topbit.rmm.granules import DATA, DELEGATED, GRANULE, NS
from topbit.rmm.realm import Realm, RealmState
from topbit.rmm.rmi.rtt import next_live, rtt_error
from topbit.rmm.s2tt import HIPAS_MASK, LAST, RIPAS_SHIFT, unassigned
from topbit.rmm.state import RmmState

SUCCESS, ERROR_INPUT, ERROR_REALM = (
    int(RmiStatus.SUCCESS),
    int(RmiStatus.ERROR_INPUT),
    int(RmiStatus.ERROR_REALM),
)
ASSIGNED = RttState.ASSIGNED  # an enumeration's member costs much to look up
NOT_UNASSIGNED = 1 | HIPAS_MASK


def data_create(
    rmm: RmmState, rd: int, data: int, ipa: int, src: int, flags: int
) -> tuple[int, ...]:
    """RMI_DATA_CREATE(rd, data, ipa, src, flags): populate a NEW Realm, measured, RIPAS RAM."""
    if flags & ~1 or not rmm.granules.has(src, NS):
        return (ERROR_INPUT,)
    return _create(rmm, rd, data, ipa, src, flags)


def rtt_data_map_init(
    rmm: RmmState, rd: int, data: int, ipa: int, src: int, flags: int
) -> tuple[int, ...]:
    """RMI_RTT_DATA_MAP_INIT(rd, data, ipa, src, flags): DATA_CREATE of 2.0.

    The granule itself is looked at last.
    """
    if flags & ~1 or data == rd or not rmm.granules.has(src, NS):
        return (ERROR_INPUT,)
    realm = rmm.realms.get(rd)
    if realm is None:
        return (ERROR_INPUT,)
    if realm.state != RealmState.NEW:
        return (ERROR_REALM,)
    if not realm.rtt.space.in_par(ipa) or ipa & 0xFFF:
        return (ERROR_INPUT,)
    level, index, entry = realm.rtt.walk(ipa, LAST)
    if level != LAST or entry & NOT_UNASSIGNED:
        return (rtt_error(level),)
    if not rmm.granules.has(data, DELEGATED):
        return (ERROR_INPUT,)
    return _put(rmm, realm, data, ipa, src, flags, index, Ripas.RAM)


def data_create_unknown(rmm: RmmState, rd: int, data: int, ipa: int) -> tuple[int, ...]:
    """RMI_DATA_CREATE_UNKNOWN(rd, data, ipa): give the Realm a wiped page, RIPAS as it was."""
    return _create(rmm, rd, data, ipa, None, 0)


def _create(
    rmm: RmmState, rd: int, data: int, ipa: int, src: Pa | None, flags: int
) -> tuple[int, ...]:
    realm = rmm.realms.get(rd)
    if realm is None or not rmm.granules.has(data, DELEGATED):
        return (ERROR_INPUT,)
    if src is not None and realm.state != RealmState.NEW:
        return (ERROR_REALM,)
    rtt = realm.rtt
    if not rtt.space.in_par(ipa) or ipa & 0xFFF:
        return (ERROR_INPUT,)
    level, index, entry = rtt.walk(ipa, LAST)
    if level != LAST or entry & NOT_UNASSIGNED:
        return (rtt_error(level),)
    ripas = entry >> RIPAS_SHIFT & 3 if src is None else Ripas.RAM
    return _put(rmm, realm, data, ipa, src, flags, index, ripas)


def _put(
    rmm: RmmState,
    realm: Realm,
    data: Pa,
    ipa: Ipa,
    src: Pa | None,
    flags: int,
    index: int,
    ripas: int,
) -> tuple[int, ...]:
    """Nothing stands against it: the granule becomes the page, of which `index` is the entry."""
    if src is None:
        rmm.granules.wipe(data)
    else:
        content = rmm.memory.view(data, GRANULE)
        content[:] = rmm.memory.view(src, GRANULE)
        realm.measurements.data(ipa, flags, content)  # the copy's: the host may change the source
    rtt = realm.rtt
    rtt.write(index, rtt.assigned(data, ripas))
    rmm.granules.set(data, DATA)
    if rmm.listening:
        rmm.say_rtt("rtt_map", realm, ipa, data, GRANULE)
    return (SUCCESS,)


def data_destroy(rmm: RmmState, rd: int, ipa: int) -> tuple[int, ...]:
    """RMI_DATA_DESTROY(rd, ipa) -> pa, top: take a page away; what was RAM is then DESTROYED."""
    realm = rmm.realms.get(rd)
    if realm is None:
        return (ERROR_INPUT, 0, 0)
    rtt = realm.rtt
    if not rtt.space.in_par(ipa) or ipa & 0xFFF:
        return (ERROR_INPUT, 0, 0)
    walk = rtt.walk(ipa, LAST)
    entry = walk.entry
    found = rtt.decode(entry, LAST) if walk.level == LAST and entry & NOT_UNASSIGNED else None
    # A device mapping is not this call's to destroy, nor is a granule that holds no data.
    if found is None or found.state != ASSIGNED or rmm.granules.get(found.oa) != DATA:
        return (rtt_error(walk.level), 0, next_live(rtt, ipa, walk))
    ripas = found.ripas
    pa = found.oa
    left = unassigned(Ripas.EMPTY if ripas == Ripas.EMPTY else Ripas.DESTROYED)
    rtt.write(walk.word, left)
    if found.valid:
        rmm.invalidate(realm, ipa, GRANULE)
    rmm.granules.set(pa, DELEGATED)
    if rmm.listening:
        rmm.say_rtt("rtt_unmap", realm, ipa, pa, GRANULE)
        if ripas == Ripas.RAM:
            rmm.say_ripas(realm, ipa, GRANULE, Ripas.DESTROYED)
    return (SUCCESS, pa, next_live(rtt, ipa, walk._replace(entry=left)))
