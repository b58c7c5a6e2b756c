"""Which Realms exist, with which parameters, and in which state of life?

Realm Descriptor: created NEW, populated and measured, made ACTIVE, ended SYSTEM_OFF by itself or,
in 2.0, TERMINATED by the host, destroyed.
Source: DEN0137 1.0, RMI_REALM_CREATE, RMI_REALM_ACTIVATE, RMI_REALM_DESTROY; 2.0 beta 0,
RMI_REALM_TERMINATE; table geometry: DDI0487 D8.2 (concatenated translation tables).
"""

from __future__ import annotations

from dataclasses import dataclass

from topbit.arch.ipa import IPA_BITS_MAX, IPA_BITS_MIN, Ipa
from topbit.arch.rmi import Ripas, RmiStatus
from topbit.arch.rmi_params import (
    HASH_SHA_256,
    HASH_SHA_384,
    HASH_SHA_512,
    RealmFlags0,
    RealmFlags1,
    RealmParams,
)
from topbit.arch.stage2 import signed_level
from topbit.rmm import s2tt as tables
from topbit.rmm.granules import DELEGATED, GRANULE, NS, RD, RTT
from topbit.rmm.measurement import Measurements
from topbit.rmm.realm import Realm, RealmState
from topbit.rmm.realm_smmu import stop_all
from topbit.rmm.s2tt import ENTRIES, Rtt
from topbit.rmm.state import RmmState

SUCCESS, ERROR_INPUT, ERROR_REALM = (
    int(RmiStatus.SUCCESS),
    int(RmiStatus.ERROR_INPUT),
    int(RmiStatus.ERROR_REALM),
)

U32 = 0xFFFF_FFFF
HASHES_1_0 = (HASH_SHA_256, HASH_SHA_512)
HASHES_2_0 = (*HASHES_1_0, HASH_SHA_384)  # accepted, though no feature register offers the last
MAX_IPA_BITS = 48
MAX_IPA_BITS_LPA2 = IPA_BITS_MAX


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


@dataclass(slots=True)
class Parameters:
    """What does the host want of a Realm? The parts of RmiRealmParams that the RMM looks at."""

    page: bytes
    lpa2: bool
    da: bool
    ipa_bits: int
    start_level: int
    root_tables: int
    base: int
    hash_algo: int
    breakpoints: int
    watchpoints: int

    @classmethod
    def of_1_0(cls, page: bytes) -> Parameters | None:
        """Which parameters does a page of 1.0 hold? None: a flag that there is not."""
        flags = RealmFlags0.of(_u64(page, RealmParams.FLAGS0))
        if flags != RealmFlags0(LPA2=flags.LPA2):
            return None
        return cls._of(page, flags, 0xFF)

    @classmethod
    def of_2_0(cls, page: bytes) -> Parameters | None:
        """Which parameters does a page of 2.0 hold? None: something that cannot be had.

        Reserved bits are ignored. There are no auxiliary planes, so it does not matter whether each
        would have a tree of its own (RTT_TREE_PP).
        """
        flags = RealmFlags0.of(_u64(page, RealmParams.FLAGS0))
        more = RealmFlags1.of(_u64(page, RealmParams.FLAGS1))
        if flags.SVE or flags.PMU or flags.MEC_POLICY > RealmFlags0.MEC_PRIVATE:
            return None
        planes = _u64(page, RealmParams.NUM_AUX_PLANES) & U32
        if planes or _u64(page, RealmParams.ATS_PLANE) or more.RTT_S2AP_INDIRECT:
            return None
        return cls._of(page, flags, U32)

    @classmethod
    def _of(cls, page: bytes, flags: RealmFlags0, mask: int) -> Parameters:
        return cls(
            page,
            lpa2=bool(flags.LPA2),
            da=bool(flags.DA),
            ipa_bits=_u64(page, RealmParams.S2SZ) & mask,
            start_level=signed_level(_u64(page, RealmParams.RTT_LEVEL_START)),
            root_tables=_u64(page, RealmParams.RTT_NUM_START) & U32,
            base=_u64(page, RealmParams.RTT_BASE),
            hash_algo=page[RealmParams.HASH_ALGO],
            breakpoints=_u64(page, RealmParams.NUM_BPS) & mask,
            watchpoints=_u64(page, RealmParams.NUM_WPS) & mask,
        )


def _u64(page: bytes, offset: int) -> int:
    return int.from_bytes(page[offset : offset + 8], "little")


def realm_create(rmm: RmmState, rd: int, params_pa: int) -> tuple[int, ...]:
    """RMI_REALM_CREATE(rd, params): a NEW Realm, its root tables, its initial RIM."""
    granules, memory = rmm.granules, rmm.memory
    if not granules.has(params_pa, NS) or not granules.has(rd, DELEGATED):
        return (ERROR_INPUT,)
    page = memory.read(params_pa, GRANULE)
    ranges = rmm.revision.ranges
    wanted = Parameters.of_2_0(page) if ranges else Parameters.of_1_0(page)
    if wanted is None or not _can_have(rmm, wanted):
        return (ERROR_INPUT,)
    base, size = wanted.base, wanted.root_tables * GRANULE
    if base % size or not granules.contains(base, size) or base <= rd < base + size:
        return (ERROR_INPUT,)
    roots = granules.span(base, size)
    if (roots != DELEGATED).any():
        return (ERROR_INPUT,)
    vmid = rmm.free_vmid() if ranges else _u64(page, RealmParams.VMID) & 0xFFFF
    if vmid < 0 or any(realm.vmid == vmid for realm in rmm.realms.values()):
        return (ERROR_INPUT,)

    roots[:] = RTT
    granules.set(rd, RD)
    rtt = Rtt(granules, base, wanted.start_level, wanted.ipa_bits, wanted.lpa2)
    words = memory.table(base, wanted.root_tables * ENTRIES)
    words[:] = tables.unassigned(Ripas.EMPTY)
    # With one entry over both halves there is no half to split: the least geometry resolves one
    # bit, so the unprotected half begins on an entry.
    used = 1 << (wanted.ipa_bits - rtt.granule.level_shift(wanted.start_level))
    words[used // 2 : used] = tables.UNASSIGNED_NS
    words[used:] = 0
    measurements = Measurements(wanted.hash_algo)
    measurements.start(page)
    rpv = page[RealmParams.RPV : RealmParams.RPV + RealmParams.RPV_SIZE]
    rmm.realms[rd] = Realm(rd, rtt, vmid, measurements, rpv, wanted.da)
    return (SUCCESS,)


def _can_have(rmm: RmmState, wanted: Parameters) -> bool:
    """Are geometry, hash and counters such as the RMM offers?"""
    if wanted.lpa2 and not rmm.lpa2:
        return False
    if not geometry_is_valid(
        wanted.ipa_bits,
        wanted.start_level,
        wanted.root_tables,
        lpa2=wanted.lpa2,
        pa_bits=52 if wanted.lpa2 else rmm.pa_bits,
    ):
        return False
    hashes = HASHES_2_0 if rmm.revision.ranges else HASHES_1_0
    if wanted.hash_algo not in hashes:
        return False
    return 1 <= wanted.breakpoints <= rmm.breakpoints and 1 <= wanted.watchpoints <= rmm.watchpoints


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
    if any(rec.running for rec in realm.recs.values()):
        return (ERROR_REALM,)
    realm.state = RealmState.TERMINATED
    stop_all(rmm, realm)
    return (SUCCESS,)


def realm_destroy(rmm: RmmState, rd: int) -> tuple[int, ...]:
    """RMI_REALM_DESTROY(rd): when nothing but the root tables is left, they and the RD go back."""
    realm = rmm.realms.get(rd)
    if realm is None:
        return (ERROR_INPUT,)
    if rmm.revision.ranges and realm.state != RealmState.TERMINATED:
        return (ERROR_REALM,)
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
