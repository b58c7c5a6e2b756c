"""Which handler answers which RMI and RSI number, in which revision?

Each RMI entry is the handler and how many arguments it takes. Until RMI_RMM_ACTIVATE an RMM of
2.0 answers ERROR_GLOBAL to everything but what tells its version, features and configuration.

Here is the door to the hostile side. Handlers take the words of its registers as they are, any
u64, and return words: a parameter called `rd`, `ipa` or `top` is an int that claims to be that.
It becomes an address where it is checked (`Granules.has`, `IpaSpace.in_par`, and what an earlier
call has left in the REC), and what lies behind the handlers takes addresses and (start, size).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from topbit.arch.rmi import Rmi, Rmi2
from topbit.arch.rmi_revision import RMI_1_0, RMI_2_0_BET3, RMI_2_0_BETA0, Revision
from topbit.arch.rsi import Rsi
from topbit.rmm.rec_run import Exit, Resume
from topbit.rmm.rmi import (
    data,
    dev_mem,
    features,
    granule,
    op,
    pdev,
    psmmu,
    realm,
    rec,
    ripas,
    rtt,
    rtt_map,
    rtt_unmap,
    run,
    stream,
    vdev,
)
from topbit.rmm.rsi import psci, services
from topbit.rmm.rsi import ripas as rsi_ripas
from topbit.rmm.rsi import vdev as rsi_vdev
from topbit.rmm.state import RmmState

RmiHandler: TypeAlias = "Callable[..., tuple[int, ...]]"
RsiHandler: TypeAlias = "Callable[..., Resume | Exit]"


_SINGLE: dict[int, tuple[RmiHandler, int]] = {
    Rmi.VERSION: (features.version, 1),
    Rmi.FEATURES: (features.features, 1),
    Rmi.GRANULE_DELEGATE: (granule.granule_delegate, 1),
    Rmi.GRANULE_UNDELEGATE: (granule.granule_undelegate, 1),
    Rmi.REALM_CREATE: (realm.realm_create, 2),
    Rmi.REALM_ACTIVATE: (realm.realm_activate, 1),
    Rmi.REALM_DESTROY: (realm.realm_destroy, 1),
    Rmi.REC_CREATE: (rec.rec_create, 3),
    Rmi.REC_DESTROY: (rec.rec_destroy, 1),
    Rmi.REC_ENTER: (run.rec_enter, 2),
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
    Rmi.REC_AUX_COUNT,
    Rmi.DATA_CREATE_UNKNOWN,
    Rmi.DATA_DESTROY,
    Rmi.RTT_MAP_UNPROTECTED,
    Rmi.RTT_UNMAP_UNPROTECTED,
}
_RANGES: dict[int, tuple[RmiHandler, int]] = {
    **{fid: call for fid, call in _SINGLE.items() if fid not in _REPLACED},
    Rmi.FEATURES: (features.features_2_0, 1),
    Rmi.REC_CREATE: (rec.rec_create_operation, 3),
    Rmi.REC_DESTROY: (rec.rec_destroy_operation, 1),
    Rmi2.RMM_CONFIG_GET: (features.config_get, 1),
    Rmi2.RMM_CONFIG_SET: (features.config_set, 1),
    Rmi2.RMM_ACTIVATE: (features.activate, 0),
    Rmi2.RMM_STATE_GET: (features.state_get, 0),
    Rmi2.GRANULE_TRACKING_GET: (features.granule_tracking_get, 2),
    Rmi2.GRANULE_RANGE_DELEGATE: (granule.granule_range_delegate, 2),
    Rmi2.GRANULE_RANGE_UNDELEGATE: (granule.granule_range_undelegate, 2),
    Rmi2.REALM_TERMINATE: (realm.realm_terminate, 1),
    Rmi2.RTT_DATA_MAP_INIT: (data.rtt_data_map_init, 5),
    Rmi2.RTT_DATA_MAP: (rtt_map.rtt_data_map, 5),
    Rmi2.RTT_DATA_UNMAP: (rtt_unmap.rtt_data_unmap, 5),
    Rmi2.RTT_UNPROT_MAP: (rtt_map.rtt_unprot_map, 5),
    Rmi2.RTT_UNPROT_UNMAP: (rtt_unmap.rtt_unprot_unmap, 5),
    Rmi2.RTT_DEV_MAP: (rtt_map.rtt_dev_map, 6),
    Rmi2.RTT_DEV_UNMAP: (rtt_unmap.rtt_dev_unmap, 5),
    Rmi2.RTT_DEV_VALIDATE: (dev_mem.rtt_dev_validate, 4),
    Rmi2.OP_CONTINUE: (op.op_continue, 2),
    Rmi2.OP_MEM_DONATE: (op.op_mem_donate, 3),
    Rmi2.OP_MEM_RECLAIM: (op.op_mem_reclaim, 3),
    Rmi2.OP_CANCEL: (op.op_cancel, 1),
    Rmi2.PSMMU_ACTIVATE: (psmmu.psmmu_activate, 2),
    Rmi2.PSMMU_DEACTIVATE: (psmmu.psmmu_deactivate, 1),
    Rmi2.PSMMU_ST_L2_CREATE: (psmmu.psmmu_st_l2_create, 2),
    Rmi2.PSMMU_ST_L2_DESTROY: (psmmu.psmmu_st_l2_destroy, 2),
    Rmi2.PDEV_ABORT: (pdev.pdev_abort, 1),
    Rmi2.PDEV_COMMUNICATE: (pdev.pdev_communicate, 2),
    Rmi2.PDEV_CREATE: (pdev.pdev_create, 2),
    Rmi2.PDEV_DESTROY: (pdev.pdev_destroy, 1),
    Rmi2.PDEV_GET_STATE: (pdev.pdev_get_state, 1),
    Rmi2.PDEV_SET_PUBKEY: (pdev.pdev_set_pubkey, 2),
    Rmi2.PDEV_STOP: (pdev.pdev_stop, 1),
    Rmi2.PDEV_STREAM_CONNECT: (stream.pdev_stream_connect, 1),
    Rmi2.PDEV_STREAM_COMPLETE: (stream.pdev_stream_complete, 3),
    Rmi2.PDEV_STREAM_DISCONNECT: (stream.pdev_stream_disconnect, 3),
    Rmi2.PDEV_STREAM_KEY_PURGE: (stream.pdev_stream_key_purge, 3),
    Rmi2.PDEV_STREAM_KEY_REFRESH: (stream.pdev_stream_key_refresh, 3),
    Rmi2.VDEV_ABORT: (vdev.vdev_abort, 3),
    Rmi2.VDEV_COMMUNICATE: (vdev.vdev_communicate, 4),
    Rmi2.VDEV_COMPLETE: (dev_mem.vdev_complete, 2),
    Rmi2.VDEV_CREATE: (vdev.vdev_create, 4),
    Rmi2.VDEV_DESTROY: (vdev.vdev_destroy, 3),
    Rmi2.VDEV_GET_INTERFACE_REPORT: (vdev.vdev_get_interface_report, 3),
    Rmi2.VDEV_GET_MEASUREMENTS: (vdev.vdev_get_measurements, 4),
    Rmi2.VDEV_GET_STATE: (vdev.vdev_get_state, 1),
    Rmi2.VDEV_LOCK: (vdev.vdev_lock, 3),
    Rmi2.VDEV_START: (vdev.vdev_start, 3),
    Rmi2.VDEV_UNLOCK: (vdev.vdev_unlock, 3),
}
_ALWAYS = (
    Rmi.VERSION,
    Rmi.FEATURES,
    Rmi2.RMM_CONFIG_GET,
    Rmi2.RMM_CONFIG_SET,
    Rmi2.RMM_ACTIVATE,
    Rmi2.RMM_STATE_GET,
    Rmi2.GRANULE_TRACKING_GET,
)


def _of(revision: Revision) -> Mapping[int, tuple[RmiHandler, int]]:
    """Which calls has a revision, once it is active?"""
    calls = _RANGES if revision.ranges else _SINGLE
    return {fid: call for fid, call in calls.items() if fid not in revision.absent}


RMI_CALLS = {revision.name: _of(revision) for revision in (RMI_1_0, RMI_2_0_BETA0, RMI_2_0_BET3)}
BEFORE_ACTIVATE = {
    name: {fid: call for fid, call in calls.items() if fid in _ALWAYS}
    for name, calls in RMI_CALLS.items()
}


def rmi_handlers(state: RmmState) -> Mapping[int, tuple[RmiHandler, int]]:
    """Which RMI calls does the RMM answer now?"""
    return (RMI_CALLS if state.active else BEFORE_ACTIVATE)[state.revision.name]


def rsi_handlers(state: RmmState) -> Mapping[int, RsiHandler]:
    """Which RSI calls does the RMM answer? (those about devices only in 2.0)"""
    return RSI_1_1 if state.revision.ranges else RSI_1_0
