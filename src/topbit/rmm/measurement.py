"""What was a Realm made of? Its initial (RIM) and extensible (REM) measurements.

Source: DEN0137 1.0, "Realm measurement": the RIM starts as the hash of the measured parameters
and is extended with one 256-byte descriptor per populated page, REC and initialised RIPAS range.
"""

from __future__ import annotations

import hashlib
import struct

from topbit.arch.ipa import Ipa
from topbit.arch.rmi_params import HASH_SHA_256, HASH_SHA_384, HASH_SHA_512, RealmParams
from topbit.arch.rsi import MAX_MEASUREMENT, NUM_MEASUREMENTS

DESCRIPTOR = 0x100
TYPE_DATA, TYPE_REC, TYPE_RIPAS = range(3)
# Type, length, RIM so far, what is measured; zeros up to the end.
_DESCRIPTOR = struct.Struct(f"<QQ64s80s{DESCRIPTOR - 160}x")
_DATA = struct.Struct("<QQ64s")

HASHES = {
    HASH_SHA_256: hashlib.sha256,
    HASH_SHA_384: hashlib.sha384,
    HASH_SHA_512: hashlib.sha512,
}
_MEASURED_PARAMS = (
    (RealmParams.FLAGS0, 8),
    (RealmParams.S2SZ, 1),
    (RealmParams.SVE_VL, 1),
    (RealmParams.NUM_BPS, 1),
    (RealmParams.NUM_WPS, 1),
    (RealmParams.PMU_NUM_CTRS, 1),
    (RealmParams.HASH_ALGO, 1),
)


class Measurements:
    """Which values do RIM (index 0) and REMs (1 to 4) hold?

    Args:
        hash_algo: HASH_SHA_256, _384 or _512, from the Realm's parameters.
    """

    __slots__ = ("_new", "hash_algo", "size", "values")

    def __init__(self, hash_algo: int) -> None:
        self.hash_algo = hash_algo
        self._new = HASHES[hash_algo]
        self.size = self._new().digest_size
        self.values = [bytes(self.size)] * NUM_MEASUREMENTS

    def digest(self, data: bytes | memoryview) -> bytes:
        """What is the hash of `data`?"""
        return self._new(data).digest()

    def _extend_rim(self, kind: int, tail: bytes) -> None:
        self.values[0] = self.digest(_DESCRIPTOR.pack(kind, DESCRIPTOR, self.values[0], tail))

    def start(self, params: bytes) -> None:
        """The RIM of a new Realm: the hash of a parameter page with only the measured fields."""
        page = bytearray(len(params))
        for offset, size in _MEASURED_PARAMS:
            page[offset : offset + size] = params[offset : offset + size]
        self.values[0] = self.digest(bytes(page))

    def data(self, ipa: Ipa, flags: int, content: bytes | memoryview) -> None:
        """Extend the RIM by a populated page; its content counts only if `flags` bit 0 is set."""
        measured = self.digest(content) if flags & 1 else b""
        self._extend_rim(TYPE_DATA, _DATA.pack(ipa, flags, measured))

    def rec(self, params: bytes) -> None:
        """Extend the RIM by a REC: flags, entry point and registers of its parameter page."""
        self._extend_rim(TYPE_REC, self.digest(params))

    def ripas(self, ipa: Ipa, size: int) -> None:
        """Extend the RIM by a range that was initialised to RAM. (the descriptor: base, top)"""
        self._extend_rim(TYPE_RIPAS, struct.pack("<QQ", ipa, ipa + size))

    def extend(self, index: int, data: bytes) -> None:
        """Extend REM `index` (1 to 4) by up to 64 bytes that the Realm chose."""
        self.values[index] = self.digest(self.values[index] + data)

    def read(self, index: int) -> bytes:
        """What is measurement `index`, padded to 64 bytes?"""
        return self.values[index].ljust(MAX_MEASUREMENT, b"\0")
