"""How does a host write its parameter pages for the calls of a vector file? (rmm20)

`PAGES`: by call, which argument names the page, and the page made of the record's fields.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from topbit.arch.rmi_da import (
    PdevParams,
    PsmmuParams,
    PublicKeyParams,
    StreamParams,
    VdevParams,
)
from topbit.arch.rmi_params import RealmParams, RecParams

Fields = dict[str, Any]


def number(value: str | int) -> int:
    return value if isinstance(value, int) else int(value, 0)


def _page(values: dict[int, Any]) -> bytes:
    page = bytearray(4096)
    for at, value in values.items():
        struct.pack_into("<Q", page, at, number(value) & (1 << 64) - 1)
    return bytes(page)


def _of(offsets: dict[str, int], argument: int) -> Callable[[Fields, Any], tuple[int, bytes]]:
    def make(fields: Fields, replay: Any) -> tuple[int, bytes]:
        known = {at: fields[name] for name, at in offsets.items() if name in fields}
        return argument, _page({at: 0 if v == "ecam" else v for at, v in known.items()})

    return make


def _vdev(fields: Fields, replay: Any) -> tuple[int, bytes]:
    names = {
        "flags": VdevParams.FLAGS,
        "vdev_id": VdevParams.VDEV_ID,
        "tdi_id": VdevParams.TDI_ID,
        "vsmmu_addr": VdevParams.VSMMU_ADDR,
        "vsid": VdevParams.VSID,
        "num_addr_range": VdevParams.NUM_ADDR_RANGE,
    }
    _, page = _of(names, 3)(fields, replay)
    words = [number(word) for pair in fields.get("addr_range", []) for word in pair]
    at = VdevParams.ADDR_RANGE
    ranges = struct.pack(f"<{len(words)}Q", *words)
    return 3, page[:at] + ranges + page[at + len(ranges) :]


def _public_key(fields: Fields, replay: Any) -> tuple[int, bytes]:
    """The host names the key that the device has; the recorded one belongs to another."""
    key = replay.device.key
    page = bytearray(4096)
    page[PublicKeyParams.KEY : PublicKeyParams.KEY + len(key)] = key
    struct.pack_into("<2Q", page, PublicKeyParams.KEY_LEN, len(key), fields["metadata_len"])
    page[PublicKeyParams.ALGO] = fields["algo"]
    return 1, bytes(page)


REALM = {
    "flags0": RealmParams.FLAGS0,
    "s2sz": RealmParams.S2SZ,
    "sve_vl": RealmParams.SVE_VL,
    "num_bps": RealmParams.NUM_BPS,
    "num_wps": RealmParams.NUM_WPS,
    "pmu_num_ctrs": RealmParams.PMU_NUM_CTRS,
    "hash_algo": RealmParams.HASH_ALGO,
    "num_aux_planes": RealmParams.NUM_AUX_PLANES,
    "ats_plane": RealmParams.ATS_PLANE,
    "rtt_base": RealmParams.RTT_BASE,
    "rtt_level_start": RealmParams.RTT_LEVEL_START,
    "rtt_num_start": RealmParams.RTT_NUM_START,
    "flags1": RealmParams.FLAGS1,
}
PDEV = {
    "flags": PdevParams.FLAGS,
    "hb_base": PdevParams.HB_BASE,
    "pdev_id": PdevParams.PDEV_ID,
    "routing_id": PdevParams.ROUTING_ID,
    "id_index": PdevParams.ID_INDEX,
    "rid_base": PdevParams.RID_BASE,
    "rid_top": PdevParams.RID_TOP,
    "hash_algo": PdevParams.HASH_ALGO,
}
STREAM = {
    "flags": StreamParams.FLAGS,
    "stream_type": StreamParams.STREAM_TYPE,
    "pdev_1": StreamParams.PDEV_1,
    "pdev_2": StreamParams.PDEV_2,
    "ide_sid": StreamParams.IDE_SID,
    "num_addr_range": StreamParams.NUM_ADDR_RANGE,
}
PAGES: dict[str, Callable[[Fields, Any], tuple[int, bytes]]] = {
    "REALM_CREATE": _of(REALM, 1),
    "REC_CREATE": _of({"flags": RecParams.FLAGS, "mpidr": RecParams.MPIDR}, 2),
    "PSMMU_ACTIVATE": _of({"flags": PsmmuParams.FLAGS}, 1),
    "PDEV_CREATE": _of(PDEV, 1),
    "PDEV_SET_PUBKEY": _public_key,
    "PDEV_STREAM_CONNECT": _of(STREAM, 0),
    "VDEV_CREATE": _vdev,
}
