"""Compressed data, whole, joined, cut, damaged and dishonest."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable

import pytest
import zstandard

from topbit.readers.unpack import BombError, is_packed, limit_of, unpack, unzstd

TEXT = b"".join(b"[%12.6f] line %d\n" % (n / 7, n * n) for n in range(20_000))
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "bzip2": bz2.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}
each = pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS.keys())


@each
def test_whole_and_joined(pack: Callable[[bytes], bytes]) -> None:
    assert is_packed(pack(TEXT))
    assert unpack(pack(TEXT)) == unpack(TEXT)
    joined = unpack(pack(TEXT[:1000]) + pack(b"") + pack(TEXT[1000:]))
    assert (joined.data, joined.damage) == (TEXT, "")
    padded = unpack(pack(TEXT) + bytes(64))
    assert (padded.data, padded.damage, padded.behind) == (TEXT, "", 0)


@each
def test_what_is_cut_off_is_read_as_far_as_it_goes(pack: Callable[[bytes], bytes]) -> None:
    packed = pack(TEXT)
    half = unpack(packed[: len(packed) // 2])
    assert TEXT.startswith(half.data)
    assert len(half.data) < len(TEXT)
    assert half.damage == f"is cut off after {len(half.data)} unpacked bytes"
    second = unpack(packed + packed[: len(packed) // 2])
    assert second.data.startswith(TEXT)
    assert "cut off" in second.damage


@each
def test_damage_and_what_stands_behind_are_told(pack: Callable[[bytes], bytes]) -> None:
    packed = bytearray(pack(TEXT))
    packed[len(packed) // 2 : len(packed) // 2 + 64] = bytes(range(64))
    broken = unpack(bytes(packed))
    assert "damaged after" in broken.damage or "cut off" in broken.damage
    behind = unpack(pack(TEXT) + b"and more")
    assert (behind.data, behind.damage, behind.behind) == (TEXT, "", 8)


@each
def test_what_holds_far_more_than_it_could_is_refused(pack: Callable[[bytes], bytes]) -> None:
    with pytest.raises(BombError, match="more than 1000 bytes"):
        unpack(pack(bytes(1_000_000)), 1000)
    assert unpack(pack(bytes(1000)), 1000).data == bytes(1000)


def test_the_limit_grows_with_the_data() -> None:
    assert limit_of(1 << 20) == (256 << 20) + (64 << 20)
    assert limit_of(1 << 40) == 8 << 30


def test_a_zstd_bomb_ends_early() -> None:
    # 64 MiB of NULs in a few KiB, a hundred times.
    frame = zstandard.ZstdCompressor(level=19).compress(bytes(64 << 20))
    with pytest.raises(BombError):
        unpack(frame * 100)


def test_skippable_frames_of_zstd_hold_nothing() -> None:
    skippable = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"abcd"
    assert unpack(skippable + PACKERS["zstd"](TEXT)).data == TEXT


def test_the_first_frame_alone() -> None:
    pack = PACKERS["zstd"]
    assert unzstd(pack(TEXT) + pack(TEXT), len(TEXT)) == TEXT
    assert len(unzstd(pack(TEXT), 100)) == 101
    with pytest.raises(ValueError, match=r"cut off|damaged|rror|ata"):
        unzstd(b"\x28\xb5\x2f\xfd" + bytes(20), 100)
