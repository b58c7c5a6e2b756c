"""Which revision does the RMM speak, what can it do, and when does it begin to answer?

Source: DEN0137 1.0, RMI_VERSION, RMI_FEATURES; 2.0 beta 0, RMI_RMM_CONFIG_GET and _SET,
RMI_RMM_ACTIVATE, RMI_GRANULE_TRACKING_GET.
"""

from __future__ import annotations

from topbit.arch.rmi import MemoryCategory, RmiStatus, Tracking
from topbit.arch.rmi_params import Feature0, Feature1, Feature2, RmmConfig
from topbit.rmm.granules import GRANULE, NS
from topbit.rmm.rmi.realm import MAX_IPA_BITS, MAX_IPA_BITS_LPA2
from topbit.rmm.rmi.rec import MAX_RECS_ORDER
from topbit.rmm.state import RmmState

SUCCESS, ERROR_INPUT, ERROR_GLOBAL = (
    int(RmiStatus.SUCCESS),
    int(RmiStatus.ERROR_INPUT),
    int(RmiStatus.ERROR_GLOBAL),
)
PPS_48_BITS = 5
MAX_VDEVS_ORDER = 10
MEC_COUNT = 0xFFFE  # a Realm may have an encryption context of its own; contents stay readable
_TRACKING_REGION = 1 << 30


def version(rmm: RmmState, requested: int) -> tuple[int, ...]:
    """RMI_VERSION(requested) -> lower, higher implemented revision."""
    own = rmm.revision.rmi
    return (SUCCESS if requested == own else ERROR_INPUT, own, own)


def features(rmm: RmmState, index: int) -> tuple[int, ...]:
    """RMI_FEATURES(index) -> feature register of 1.0; all but register 0 are zero."""
    if index:
        return (SUCCESS, 0)
    return (SUCCESS, _feature0(rmm) | Feature0(HASH_SHA_256=1, HASH_SHA_512=1).words[0])


def _feature0(rmm: RmmState) -> int:
    return Feature0(
        S2SZ=MAX_IPA_BITS_LPA2 if rmm.lpa2 else MAX_IPA_BITS,
        LPA2=int(rmm.lpa2),
        NUM_BPS=rmm.breakpoints,
        NUM_WPS=rmm.watchpoints,
    ).words[0]


def features_2_0(rmm: RmmState, index: int) -> tuple[int, ...]:
    """RMI_FEATURES(index) -> feature register of 2.0: 0 to 4, all others are zero.

    Register 3 is zero: there are no auxiliary planes.
    """
    if index == 0:
        return (SUCCESS, _feature0(rmm))
    if index == 1:
        can = Feature1(
            RMI_GRAN_SZ_4KB=1,
            HASH_SHA_256=1,
            HASH_SHA_512=1,
            MAX_RECS_ORDER=MAX_RECS_ORDER,
            PPS=PPS_48_BITS,
        )
        return (SUCCESS, can.words[0])
    if index == 2:
        return (SUCCESS, Feature2(DA_EN=1, MAX_VDEVS_ORDER=MAX_VDEVS_ORDER).words[0])
    return (SUCCESS, MEC_COUNT if index == 4 else 0)


def config_get(rmm: RmmState, config_pa: int) -> tuple[int, ...]:
    """RMI_RMM_CONFIG_GET(config): write how the RMM is configured: granules and regions."""
    if not rmm.granules.has(config_pa, NS):
        return (ERROR_INPUT,)
    rmm.memory.fill(config_pa, GRANULE)
    return (SUCCESS,)


def config_set(rmm: RmmState, config_pa: int) -> tuple[int, ...]:
    """RMI_RMM_CONFIG_SET(config): before activation; nothing but 4 KiB granules can be had."""
    if rmm.active:
        return (ERROR_GLOBAL,)
    if not rmm.granules.has(config_pa, NS):
        return (ERROR_INPUT,)
    asked = (
        rmm.memory.read_u64(config_pa + offset)
        for offset in (RmmConfig.TRACKING_REGION_SIZE, RmmConfig.RMI_GRANULE_SIZE)
    )
    return (ERROR_INPUT if any(asked) else SUCCESS,)


def activate(rmm: RmmState) -> tuple[int, ...]:
    """RMI_RMM_ACTIVATE(): from now on the other commands of 2.0 answer."""
    if rmm.active:
        return (ERROR_GLOBAL,)
    rmm.active = True
    return (SUCCESS,)


def state_get(rmm: RmmState) -> tuple[int, ...]:
    """RMI_RMM_STATE_GET() -> is it active? (2.0-bet3)"""
    return (SUCCESS, int(rmm.active))


def granule_tracking_get(rmm: RmmState, base: int, top: int) -> tuple[int, ...]:
    """RMI_GRANULE_TRACKING_GET(base, top) -> category, tracking, top: what is at `base`?"""
    if (base | top) & (GRANULE - 1) or top <= base:
        return (ERROR_INPUT, 0, 0, 0)
    region_end = (base // _TRACKING_REGION + 1) * _TRACKING_REGION
    device = rmm.granules.is_device_memory(base)
    category = MemoryCategory.DEV_NCOH if device else MemoryCategory.CONVENTIONAL
    known = device or rmm.granules.contains(base, GRANULE)
    tracking = Tracking.FINE if known else Tracking.NONE
    return (SUCCESS, int(category), int(tracking), min(top, region_end))
