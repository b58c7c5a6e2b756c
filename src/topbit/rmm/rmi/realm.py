"""Which Realms exist, with which parameters, and in which state of life?

Realm Descriptor: created NEW, populated and measured, made ACTIVE, ended SYSTEM_OFF, destroyed.
Source: DEN0137 1.0, RMI_REALM_CREATE, RMI_REALM_ACTIVATE, RMI_REALM_DESTROY; table geometry:
DDI0487 D8.2 (concatenated translation tables).
"""

from __future__ import annotations

from topbit.arch.ipa import IPA_BITS_MAX, IPA_BITS_MIN, Ipa
from topbit.arch.rmi import HASH_SHA_256, HASH_SHA_512, RealmParams, Ripas, RmiStatus
from topbit.arch.stage2 import signed_level
from topbit.rmm import s2tt as tables
from topbit.rmm.granules import DELEGATED, GRANULE, NS, RD, RTT
from topbit.rmm.measurement import Measurements
from topbit.rmm.s2tt import ENTRIES, Rtt
from topbit.rmm.state import Realm, RealmState, RmmState

SUCCESS, ERROR_INPUT, ERROR_REALM = (
    int(RmiStatus.SUCCESS),
    int(RmiStatus.ERROR_INPUT),
    int(RmiStatus.ERROR_REALM),
)

MAX_IPA_BITS = 48
MAX_IPA_BITS_LPA2 = IPA_BITS_MAX
MAX_BREAKPOINTS = 15  # ID_AA64DFR0_EL1.BRPs of the modelled CPU; the field holds the number - 1


def geometry_is_valid(
    ipa_bits: int, start_level: int, root_tables: int, *, lpa2: bool, pa_bits: int
) -> bool:
    """May a table with this start level and number of root tables hold this IPA width?"""
    limit = MAX_IPA_BITS_LPA2 if lpa2 else MAX_IPA_BITS
    if not IPA_BITS_MIN <= ipa_bits <= limit:
        return False
    if not (-1 if lpa2 else 0) <= start_level <= 2:
        return False
    if start_level <= 0 and pa_bits < 44:
        return False
    granule = tables.G4K_LPA2 if lpa2 else tables.G4K
    # The start level must resolve at least one bit, and one level up must not do instead.
    least = granule.level_shift(start_level) + 1
    most = granule.level_shift(start_level) + granule.stride
    if start_level > 0 or lpa2:
        most += 4 if start_level >= 0 else 0
    if not least <= ipa_bits <= most:
        return False
    return root_tables == granule.root_tables(ipa_bits, start_level)


def realm_create(rmm: RmmState, rd: int, params_pa: int) -> tuple[int, ...]:
    """RMI_REALM_CREATE(rd, params): a NEW Realm, its root tables, its initial RIM."""
    granules, memory = rmm.granules, rmm.memory
    if not granules.has(params_pa, NS) or not granules.has(rd, DELEGATED):
        return (ERROR_INPUT,)
    page = memory.read(params_pa, GRANULE)

    def u64(offset: int) -> int:
        return int.from_bytes(page[offset : offset + 8], "little")

    flags = u64(RealmParams.FLAGS0)
    lpa2 = bool(flags & RealmParams.FLAG_LPA2)
    if flags & ~RealmParams.FLAG_LPA2 or (lpa2 and not rmm.lpa2):
        return (ERROR_INPUT,)
    ipa_bits = page[RealmParams.S2SZ]
    start_level = signed_level(u64(RealmParams.RTT_LEVEL_START))
    root_tables = u64(RealmParams.RTT_NUM_START) & 0xFFFF_FFFF
    if not geometry_is_valid(
        ipa_bits, start_level, root_tables, lpa2=lpa2, pa_bits=52 if lpa2 else rmm.pa_bits
    ):
        return (ERROR_INPUT,)
    hash_algo = page[RealmParams.HASH_ALGO]
    if hash_algo not in (HASH_SHA_256, HASH_SHA_512):
        return (ERROR_INPUT,)
    for counter in (RealmParams.NUM_BPS, RealmParams.NUM_WPS):
        if not 1 <= page[counter] <= MAX_BREAKPOINTS:
            return (ERROR_INPUT,)
    base, size = u64(RealmParams.RTT_BASE), root_tables * GRANULE
    if base % size or not granules.contains(base, size) or base <= rd < base + size:
        return (ERROR_INPUT,)
    roots = granules.span(base, size)
    if (roots != DELEGATED).any():
        return (ERROR_INPUT,)
    if rmm.abi == "1.0":
        vmid = u64(RealmParams.VMID) & 0xFFFF
        if any(realm.vmid == vmid for realm in rmm.realms.values()):
            return (ERROR_INPUT,)
    else:
        vmid = rmm.free_vmid()
        if vmid < 0:
            return (ERROR_INPUT,)

    roots[:] = RTT
    granules.set(rd, RD)
    rtt = Rtt(granules, base, start_level, ipa_bits, lpa2)
    words = memory.table(base, root_tables * ENTRIES)
    words[:] = tables.unassigned(Ripas.EMPTY)
    # With one entry over both halves there is no half to split: the least geometry resolves one
    # bit, so the unprotected half begins on an entry.
    used = 1 << (ipa_bits - rtt.granule.level_shift(start_level))
    words[used // 2 : used] = tables.UNASSIGNED_NS
    words[used:] = 0
    measurements = Measurements(hash_algo)
    measurements.start(page)
    rmm.realms[rd] = Realm(
        rd,
        rtt,
        vmid,
        measurements,
        page[RealmParams.RPV : RealmParams.RPV + 64],
    )
    return (SUCCESS,)


def realm_activate(rmm: RmmState, rd: int) -> tuple[int, ...]:
    """RMI_REALM_ACTIVATE(rd): populated and measured; from now on it may run."""
    realm = rmm.realms.get(rd)
    if realm is None:
        return (ERROR_INPUT,)
    if realm.state != RealmState.NEW:
        return (ERROR_REALM,)
    realm.state = RealmState.ACTIVE
    return (SUCCESS,)


def realm_terminate(rmm: RmmState, rd: int) -> tuple[int, ...]:
    """RMI_REALM_TERMINATE(rd): it never runs again, and may be taken apart (2.0)."""
    realm = rmm.realms.get(rd)
    if realm is None:
        return (ERROR_INPUT,)
    realm.state = RealmState.SYSTEM_OFF
    return (SUCCESS,)


def realm_destroy(rmm: RmmState, rd: int) -> tuple[int, ...]:
    """RMI_REALM_DESTROY(rd): when nothing but the root tables is left, they and the RD go back."""
    realm = rmm.realms.get(rd)
    if realm is None:
        return (ERROR_INPUT,)
    if realm.recs or realm.vdevs:
        return (ERROR_REALM,)
    rtt = realm.rtt
    words = rmm.memory.table(rtt.base, rtt.roots * ENTRIES)
    if tables.is_held(words, rtt.start_level).any():
        return (ERROR_REALM,)
    rmm.invalidate(realm, Ipa(0), rtt.space.size)  # another Realm may get the VMID
    rmm.granules.span(rtt.base, rtt.roots * GRANULE)[:] = DELEGATED
    rmm.granules.set(realm.rd, DELEGATED)
    del rmm.realms[rd]
    return (SUCCESS,)
