"""Which revision does the RMM speak, what can it do, and when does it begin to answer?

Source: DEN0137 1.0, RMI_VERSION, RMI_FEATURES; 2.0 beta 0, RMI_RMM_CONFIG_SET, RMI_RMM_ACTIVATE.
"""

from __future__ import annotations

from topbit.arch.rmi import Feature0, RmiStatus
from topbit.rmm.granules import NS
from topbit.rmm.rmi.realm import MAX_BREAKPOINTS, MAX_IPA_BITS, MAX_IPA_BITS_LPA2
from topbit.rmm.state import RmmState

RMI_VERSION_1_0 = 0x1_0000
RMI_VERSION_2_0 = 0x2_0000


def version(rmm: RmmState, requested: int) -> tuple[int, ...]:
    """RMI_VERSION(requested) -> lower, higher implemented revision."""
    own = RMI_VERSION_1_0 if rmm.abi == "1.0" else RMI_VERSION_2_0
    status = RmiStatus.SUCCESS if requested == own else RmiStatus.ERROR_INPUT
    return (int(status), own, own)


def features(rmm: RmmState, index: int) -> tuple[int, ...]:
    """RMI_FEATURES(index) -> feature register; all but register 0 are zero."""
    if index:
        return (int(RmiStatus.SUCCESS), 0)
    widest = MAX_IPA_BITS_LPA2 if rmm.lpa2 else MAX_IPA_BITS
    value = widest << Feature0.S2SZ | int(rmm.lpa2) << Feature0.LPA2
    value |= MAX_BREAKPOINTS << Feature0.NUM_BPS | MAX_BREAKPOINTS << Feature0.NUM_WPS
    value |= 1 << Feature0.HASH_SHA_256 | 1 << Feature0.HASH_SHA_512
    return (int(RmiStatus.SUCCESS), value)


def config_set(rmm: RmmState, config_pa: int) -> tuple[int, ...]:
    """RMI_RMM_CONFIG_SET(config): before activation; this RMM has nothing to configure."""
    refused = rmm.active or not rmm.granules.has(config_pa, NS)
    return (int(RmiStatus.ERROR_INPUT if refused else RmiStatus.SUCCESS),)


def activate(rmm: RmmState) -> tuple[int, ...]:
    """RMI_RMM_ACTIVATE(): from now on the other commands of 2.0 answer."""
    if rmm.active:
        return (int(RmiStatus.ERROR_GLOBAL),)
    rmm.active = True
    return (int(RmiStatus.SUCCESS),)
