"""What was a Realm made of? Its initial (RIM) and extensible (REM) measurements.

Source: DEN0137 1.0, "Realm measurement": the RIM starts as the hash of the measured parameters
and is extended with one 256-byte descriptor per populated page, REC and initialised RIPAS range.

What is measured is copied, and hashed when somebody asks for a value, which few guests do: to load
an image takes a third less time so.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import struct

from topbit.arch.ipa import Ipa
from topbit.arch.rmi_params import HASH_SHA_256, HASH_SHA_384, HASH_SHA_512, RealmParams
from topbit.arch.rsi import MAX_MEASUREMENT, NUM_MEASUREMENTS
from topbit.memory import ANONYMOUS
from topbit.rmm.granules import GRANULE

DESCRIPTOR = 0x100
TYPE_DATA, TYPE_REC, TYPE_RIPAS = range(3)
# Type, length, RIM so far, what is measured; zeros up to the end.
_DESCRIPTOR = struct.Struct(f"<QQ64s80s{DESCRIPTOR - 160}x")
_PAIR = struct.Struct("<QQ")
MOST_WAITING = 1 << 14
"""Descriptors whose hashes are not made yet; each may be of a page."""

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

    __slots__ = ("_copies", "_new", "_values", "_waiting", "hash_algo", "size")

    def __init__(self, hash_algo: int) -> None:
        self.hash_algo = hash_algo
        self._new = HASHES[hash_algo]
        self.size = self._new().digest_size
        self._values = [bytes(self.size)] * NUM_MEASUREMENTS
        # Descriptors: the kind, what it says itself, and what it has the hash of.
        self._waiting: list[tuple[int, bytes, bytes | memoryview | None]] = []
        self._copies: memoryview | None = None

    @property
    def values(self) -> list[bytes]:
        """All of them, RIM first."""
        self._hash()
        return self._values

    def _hash(self) -> None:
        """Extend the RIM by all descriptors that wait."""
        values, digest = self._values, self.digest
        for kind, place, content in self._waiting:
            tail = place if content is None else place + digest(content)
            values[0] = digest(_DESCRIPTOR.pack(kind, DESCRIPTOR, values[0], tail))
        self._waiting.clear()

    def digest(self, data: bytes | memoryview) -> bytes:
        """What is the hash of `data`?"""
        return self._new(data).digest()

    def _copied(self, content: bytes | memoryview) -> memoryview:
        """Which copy of up to a page lasts until it is hashed?

        It stands in huge pages, where there are any: to get a small one takes as long as its hash.
        """
        if self._copies is None:
            room = mmap.mmap(-1, MOST_WAITING * GRANULE, flags=ANONYMOUS)
            with contextlib.suppress(OSError):
                room.madvise(mmap.MADV_HUGEPAGE)
            self._copies = memoryview(room)
        start = len(self._waiting) * GRANULE
        copy = self._copies[start : start + len(content)]
        copy[:] = content
        return copy

    def _extend_rim(self, kind: int, place: bytes, content: bytes | memoryview | None) -> None:
        """By a descriptor of `kind` with `place` and the hash of `content`, if there is any."""
        self._waiting.append((kind, place, content))
        if len(self._waiting) == MOST_WAITING:
            self._hash()

    def start(self, params: bytes) -> None:
        """The RIM of a new Realm: the hash of a parameter page with only the measured fields."""
        page = bytearray(len(params))
        for offset, size in _MEASURED_PARAMS:
            page[offset : offset + size] = params[offset : offset + size]
        self.values[0] = self.digest(bytes(page))

    def data(self, ipa: Ipa, flags: int, content: bytes | memoryview) -> None:
        """Extend the RIM by a populated page; its content counts only if `flags` bit 0 is set."""
        self._extend_rim(
            TYPE_DATA, _PAIR.pack(ipa, flags), self._copied(content) if flags & 1 else None
        )

    def rec(self, params: bytes) -> None:
        """Extend the RIM by a REC: flags, entry point and registers of its parameter page."""
        self._extend_rim(TYPE_REC, b"", params)

    def ripas(self, ipa: Ipa, size: int) -> None:
        """Extend the RIM by a range that was initialised to RAM. (the descriptor: base, top)"""
        self._extend_rim(TYPE_RIPAS, _PAIR.pack(ipa, ipa + size), None)

    def extend(self, index: int, data: bytes) -> None:
        """Extend REM `index` (1 to 4) by up to 64 bytes that the Realm chose."""
        self.values[index] = self.digest(self.values[index] + data)

    def read(self, index: int) -> bytes:
        """What is measurement `index`, padded to 64 bytes?"""
        return self.values[index].ljust(MAX_MEASUREMENT, b"\0")
