"""Which handler answers which RMI and RSI number, in which revision?

Each RMI entry is the handler and how many arguments it takes. Until RMI_RMM_ACTIVATE an RMM of
2.0 answers ERROR_GLOBAL to everything but its version and features.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from topbit.arch.rmi import Feature0, Rmi, Rmi2, RmiStatus
from topbit.arch.rsi import Rsi
from topbit.rmm import (
    data,
    delegate,
    devices,
    map_ranges,
    psci,
    realm,
    rec,
    ripas,
    tables,
    unmap_ranges,
)
from topbit.rmm.granules import NS
from topbit.rmm.realm import MAX_BREAKPOINTS
from topbit.rmm.rec import Exit, Resume

if TYPE_CHECKING:
    from topbit.rmm.monitor import Rmm

RmiHandler: TypeAlias = "Callable[..., tuple[int, ...]]"

RMI_VERSION_1_0 = 0x1_0000
RMI_VERSION_2_0 = 0x2_0000


def version(rmm: Rmm, requested: int) -> tuple[int, ...]:
    """RMI_VERSION(requested) -> lower, higher implemented revision."""
    own = RMI_VERSION_1_0 if rmm.abi == "1.0" else RMI_VERSION_2_0
    status = RmiStatus.SUCCESS if requested == own else RmiStatus.ERROR_INPUT
    return (int(status), own, own)


def features(rmm: Rmm, index: int) -> tuple[int, ...]:
    """RMI_FEATURES(index) -> feature register; all but register 0 are zero."""
    if index:
        return (int(RmiStatus.SUCCESS), 0)
    widest = realm.MAX_IPA_BITS_LPA2 if rmm.lpa2 else realm.MAX_IPA_BITS
    value = widest << Feature0.S2SZ | int(rmm.lpa2) << Feature0.LPA2
    value |= MAX_BREAKPOINTS << Feature0.NUM_BPS | MAX_BREAKPOINTS << Feature0.NUM_WPS
    value |= 1 << Feature0.HASH_SHA_256 | 1 << Feature0.HASH_SHA_512
    return (int(RmiStatus.SUCCESS), value)


def config_set(rmm: Rmm, config_pa: int) -> tuple[int, ...]:
    """RMI_RMM_CONFIG_SET(config): before activation; this RMM has nothing to configure."""
    refused = rmm.active or rmm.granules.get(config_pa) != NS
    return (int(RmiStatus.ERROR_INPUT if refused else RmiStatus.SUCCESS),)


def activate(rmm: Rmm) -> tuple[int, ...]:
    """RMI_RMM_ACTIVATE(): from now on the other commands of 2.0 answer."""
    if rmm.active:
        return (int(RmiStatus.ERROR_GLOBAL),)
    rmm.serve_2_0()
    return (int(RmiStatus.SUCCESS),)


RMI_1_0: dict[int, tuple[RmiHandler, int]] = {
    Rmi.VERSION: (version, 1),
    Rmi.FEATURES: (features, 1),
    Rmi.GRANULE_DELEGATE: (delegate.granule_delegate, 1),
    Rmi.GRANULE_UNDELEGATE: (delegate.granule_undelegate, 1),
    Rmi.REALM_CREATE: (realm.realm_create, 2),
    Rmi.REALM_ACTIVATE: (realm.realm_activate, 1),
    Rmi.REALM_DESTROY: (realm.realm_destroy, 1),
    Rmi.REC_CREATE: (rec.rec_create, 3),
    Rmi.REC_DESTROY: (rec.rec_destroy, 1),
    Rmi.REC_ENTER: (rec.rec_enter, 2),
    Rmi.REC_AUX_COUNT: (rec.rec_aux_count, 1),
    Rmi.PSCI_COMPLETE: (psci.psci_complete, 3),
    Rmi.DATA_CREATE: (data.data_create, 5),
    Rmi.DATA_CREATE_UNKNOWN: (data.data_create_unknown, 3),
    Rmi.DATA_DESTROY: (data.data_destroy, 2),
    Rmi.RTT_CREATE: (tables.rtt_create, 4),
    Rmi.RTT_DESTROY: (tables.rtt_destroy, 3),
    Rmi.RTT_FOLD: (tables.rtt_fold, 3),
    Rmi.RTT_READ_ENTRY: (tables.rtt_read_entry, 3),
    Rmi.RTT_MAP_UNPROTECTED: (tables.rtt_map_unprotected, 4),
    Rmi.RTT_UNMAP_UNPROTECTED: (tables.rtt_unmap_unprotected, 3),
    Rmi.RTT_INIT_RIPAS: (ripas.rtt_init_ripas, 3),
    Rmi.RTT_SET_RIPAS: (ripas.rtt_set_ripas, 4),
}

RSI_1_1: dict[int, Callable[..., Resume | Exit]] = {
    Rsi.VDEV_GET_INFO: devices.vdev_get_info,
    Rsi.VDEV_DMA_ENABLE: devices.vdev_dma_enable,
    Rsi.VDEV_DMA_DISABLE: devices.vdev_dma_disable,
    Rsi.VDEV_VALIDATE_MAPPING: devices.vdev_validate_mapping,
}
_REPLACED = {
    Rmi.GRANULE_DELEGATE,
    Rmi.GRANULE_UNDELEGATE,
    Rmi.DATA_CREATE_UNKNOWN,
    Rmi.DATA_DESTROY,
    Rmi.RTT_MAP_UNPROTECTED,
    Rmi.RTT_UNMAP_UNPROTECTED,
}
RMI_2_0: dict[int, tuple[RmiHandler, int]] = {
    **{fid: call for fid, call in RMI_1_0.items() if fid not in _REPLACED},
    Rmi2.RMM_CONFIG_SET: (config_set, 1),
    Rmi2.RMM_ACTIVATE: (activate, 0),
    Rmi2.GRANULE_RANGE_DELEGATE: (delegate.granule_range_delegate, 2),
    Rmi2.GRANULE_RANGE_UNDELEGATE: (delegate.granule_range_undelegate, 2),
    Rmi2.RTT_DATA_MAP: (map_ranges.rtt_data_map, 5),
    Rmi2.RTT_DATA_UNMAP: (unmap_ranges.rtt_data_unmap, 5),
    Rmi2.RTT_UNPROT_MAP: (map_ranges.rtt_unprot_map, 5),
    Rmi2.RTT_UNPROT_UNMAP: (unmap_ranges.rtt_unprot_unmap, 5),
    Rmi2.RTT_DEV_MAP: (map_ranges.rtt_dev_map, 5),
    Rmi2.RTT_DEV_UNMAP: (unmap_ranges.rtt_dev_unmap, 5),
    Rmi2.REALM_TERMINATE: (realm.realm_terminate, 1),
    Rmi2.PDEV_CREATE: (devices.pdev_create, 2),
    Rmi2.PDEV_DESTROY: (devices.pdev_destroy, 1),
    Rmi2.VDEV_CREATE: (devices.vdev_create, 4),
    Rmi2.VDEV_DESTROY: (devices.vdev_destroy, 3),
    Rmi2.VDEV_LOCK: (devices.vdev_lock, 3),
    Rmi2.VDEV_START: (devices.vdev_start, 3),
    Rmi2.VDEV_UNLOCK: (devices.vdev_unlock, 3),
    Rmi2.VDEV_GET_STATE: (devices.vdev_get_state, 1),
    Rmi2.RTT_DEV_VALIDATE: (devices.rtt_dev_validate, 4),
}
BEFORE_ACTIVATE: dict[int, tuple[RmiHandler, int]] = {
    fid: RMI_2_0[fid] for fid in (Rmi.VERSION, Rmi.FEATURES, Rmi2.RMM_CONFIG_SET, Rmi2.RMM_ACTIVATE)
}
