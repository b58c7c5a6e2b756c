"""Which handler answers which RMI and RSI number, in which revision?

Each RMI entry is the handler and how many arguments it takes. Until RMI_RMM_ACTIVATE an RMM of
2.0 answers ERROR_GLOBAL to everything but its version and features.

Here is the door to the hostile side. Handlers take the words of its registers as they are, any
u64, and return words: a parameter called `rd`, `ipa` or `top` is an int that claims to be that.
It becomes an address where it is checked (`Granules.has`, `IpaSpace.in_par`, and what an earlier
call has left in the REC), and what lies behind the handlers takes addresses and (start, size).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from topbit.arch.rmi import Rmi, Rmi2
from topbit.arch.rsi import Rsi
from topbit.rmm.rec_run import Exit, Resume
from topbit.rmm.rmi import data, features, granule, realm, rec, ripas, rtt, rtt_map, rtt_unmap, vdev
from topbit.rmm.rsi import psci, services
from topbit.rmm.rsi import ripas as rsi_ripas
from topbit.rmm.rsi import vdev as rsi_vdev
from topbit.rmm.state import RmmState

RmiHandler: TypeAlias = "Callable[..., tuple[int, ...]]"
RsiHandler: TypeAlias = "Callable[..., Resume | Exit]"


RMI_1_0: dict[int, tuple[RmiHandler, int]] = {
    Rmi.VERSION: (features.version, 1),
    Rmi.FEATURES: (features.features, 1),
    Rmi.GRANULE_DELEGATE: (granule.granule_delegate, 1),
    Rmi.GRANULE_UNDELEGATE: (granule.granule_undelegate, 1),
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
    Rmi.RTT_CREATE: (rtt.rtt_create, 4),
    Rmi.RTT_DESTROY: (rtt.rtt_destroy, 3),
    Rmi.RTT_FOLD: (rtt.rtt_fold, 3),
    Rmi.RTT_READ_ENTRY: (rtt.rtt_read_entry, 3),
    Rmi.RTT_MAP_UNPROTECTED: (rtt.rtt_map_unprotected, 4),
    Rmi.RTT_UNMAP_UNPROTECTED: (rtt.rtt_unmap_unprotected, 3),
    Rmi.RTT_INIT_RIPAS: (ripas.rtt_init_ripas, 3),
    Rmi.RTT_SET_RIPAS: (ripas.rtt_set_ripas, 4),
}

RSI_1_0: dict[int, RsiHandler] = {
    Rsi.VERSION: services.version,
    Rsi.FEATURES: services.features,
    Rsi.MEASUREMENT_READ: services.measurement_read,
    Rsi.MEASUREMENT_EXTEND: services.measurement_extend,
    Rsi.ATTESTATION_TOKEN_INIT: services.token_init,
    Rsi.ATTESTATION_TOKEN_CONTINUE: services.token_continue,
    Rsi.REALM_CONFIG: services.realm_config,
    Rsi.IPA_STATE_SET: rsi_ripas.ipa_state_set,
    Rsi.IPA_STATE_GET: rsi_ripas.ipa_state_get,
    Rsi.HOST_CALL: services.host_call,
}
RSI_1_1: dict[int, RsiHandler] = {
    **RSI_1_0,
    Rsi.VDEV_GET_INFO: rsi_vdev.vdev_get_info,
    Rsi.VDEV_DMA_ENABLE: rsi_vdev.vdev_dma_enable,
    Rsi.VDEV_DMA_DISABLE: rsi_vdev.vdev_dma_disable,
    Rsi.VDEV_VALIDATE_MAPPING: rsi_vdev.vdev_validate_mapping,
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
    Rmi2.RMM_CONFIG_SET: (features.config_set, 1),
    Rmi2.RMM_ACTIVATE: (features.activate, 0),
    Rmi2.GRANULE_RANGE_DELEGATE: (granule.granule_range_delegate, 2),
    Rmi2.GRANULE_RANGE_UNDELEGATE: (granule.granule_range_undelegate, 2),
    Rmi2.RTT_DATA_MAP: (rtt_map.rtt_data_map, 5),
    Rmi2.RTT_DATA_UNMAP: (rtt_unmap.rtt_data_unmap, 5),
    Rmi2.RTT_UNPROT_MAP: (rtt_map.rtt_unprot_map, 5),
    Rmi2.RTT_UNPROT_UNMAP: (rtt_unmap.rtt_unprot_unmap, 5),
    Rmi2.RTT_DEV_MAP: (rtt_map.rtt_dev_map, 5),
    Rmi2.RTT_DEV_UNMAP: (rtt_unmap.rtt_dev_unmap, 5),
    Rmi2.REALM_TERMINATE: (realm.realm_terminate, 1),
    Rmi2.PDEV_CREATE: (vdev.pdev_create, 2),
    Rmi2.PDEV_DESTROY: (vdev.pdev_destroy, 1),
    Rmi2.VDEV_CREATE: (vdev.vdev_create, 4),
    Rmi2.VDEV_DESTROY: (vdev.vdev_destroy, 3),
    Rmi2.VDEV_LOCK: (vdev.vdev_lock, 3),
    Rmi2.VDEV_START: (vdev.vdev_start, 3),
    Rmi2.VDEV_UNLOCK: (vdev.vdev_unlock, 3),
    Rmi2.VDEV_GET_STATE: (vdev.vdev_get_state, 1),
    Rmi2.RTT_DEV_VALIDATE: (vdev.rtt_dev_validate, 4),
}
BEFORE_ACTIVATE: dict[int, tuple[RmiHandler, int]] = {
    fid: RMI_2_0[fid] for fid in (Rmi.VERSION, Rmi.FEATURES, Rmi2.RMM_CONFIG_SET, Rmi2.RMM_ACTIVATE)
}


def rmi_handlers(state: RmmState) -> dict[int, tuple[RmiHandler, int]]:
    """Which RMI calls does the RMM answer now?"""
    if state.abi == "1.0":
        return RMI_1_0
    return RMI_2_0 if state.active else BEFORE_ACTIVATE


def rsi_handlers(state: RmmState) -> dict[int, RsiHandler]:
    """Which RSI calls does the RMM answer? (those about devices only in 2.0)"""
    return RSI_1_0 if state.abi == "1.0" else RSI_1_1
