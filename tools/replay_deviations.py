"""What does TF-RMM of July 2026 do of its own, and what is wanted of an RMM instead? (rmm20 files)

Each deviation has a name, under which docs/rmm-deviations.md tells of it, says which records it is
about, and gives the answer that is asserted in their place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from topbit.rmm.s2tt import NS, XN

Record = dict[str, Any]


def _features_0(record: Record) -> Record | None:
    """52 IPA bits are offered with FEAT_LPA2 (D11)."""
    if record.get("o") == "FEATURES" and record["a"] == ["0x0"]:
        return {"x": [hex(int(record["x"][0], 0) & ~0xFF | 52)]}
    return None


def _features_3(record: Record) -> Record | None:
    """There are no auxiliary planes."""
    if record.get("o") == "FEATURES" and record["a"] == ["0x3"]:
        return {"x": ["0x0"]}
    return None


def _public_key_digest(record: Record) -> Record | None:
    """The Realm is told the digest of the device's public key as well."""
    if "info_digests" in record:
        return {"info_digests": [*record["info_digests"], "0x100"]}
    return None


def _inherited_xn(record: Record) -> Record | None:
    """A page of RAM may be executed, whatever stood at its IPA before."""
    if "w" not in record or not record["v"]:
        return None
    level, word = record["v"][-1][0], int(record["v"][-1][1], 0)
    ram = 0x7DB if level == 3 else 0x7D9
    if word & 0xFFF != ram or not word & XN or word & NS:
        return None
    return {"v": [*record["v"][:-1], [level, hex(word & ~XN)]]}


DEVIATIONS: dict[str, Callable[[Record], Record | None]] = {
    "D11": _features_0,
    "D16": _features_3,
    "D17": _public_key_digest,
    "D18": _inherited_xn,
}


def wanted_instead(record: Record) -> tuple[str, Record] | None:
    """Which deviation is a record about, and what is wanted in its place? None: the record."""
    for name, about in DEVIATIONS.items():
        changed = about(record)
        if changed is not None:
            return name, changed
    return None
