"""Are numbers, texts and packed data taken from within their bytes only?"""

from __future__ import annotations

import zlib

import pytest
import zstandard

from topbit.readers.trace_dat.cursor import (
    RATIO,
    SLACK,
    Cursor,
    DamagedError,
    Unpacker,
    UnreadableError,
    text_of,
)


def cursor(data: bytes, at: int = 0) -> Cursor:
    return Cursor(data, at, "the part")


def test_bytes_numbers_and_texts_come_one_after_the_other() -> None:
    made = cursor(b"ab\x02\x01text\0\xff")
    assert made.take(2) == b"ab"
    assert made.number(2) == 0x0102
    assert made.string() == "text"
    assert made.at == 9
    assert made.number(1) == 0xFF
    assert made.take(0) == b""


@pytest.mark.parametrize(
    ("at", "size", "good"),
    [(0, 4, True), (0, 5, False), (4, 0, True), (4, 1, False), (5, 0, False), (-1, 1, False),
     (2, -1, False)],
)  # fmt: skip
def test_what_lies_beyond_is_damage(at: int, size: int, good: bool) -> None:
    made = cursor(b"abcd", at)
    if good:
        assert made.take(size) == b"abcd"[at : at + size]
    else:
        with pytest.raises(DamagedError, match="the part: 0x"):
            made.take(size)
        assert made.at == at


@pytest.mark.parametrize(("data", "at"), [(b"abc", 0), (b"a\0bc", 2), (b"a\0", 2), (b"a\0", 3)])
def test_a_text_without_an_end_is_damage(data: bytes, at: int) -> None:
    with pytest.raises(DamagedError, match=f"text without an end at offset 0x{at:x}"):
        cursor(data, at).string()


def test_named_data_has_its_name_and_its_size() -> None:
    assert cursor(b"name\0\x03\0\0\0\0\0\0\0abcd").named(b"name\0") == b"abc"
    with pytest.raises(DamagedError, match="no name at offset 0x5"):
        cursor(b"nome\0" + bytes(8)).named(b"name\0")


@pytest.mark.parametrize(
    ("raw", "text"), [(b"a\0b", "a"), (b"ab", "ab"), (b"\xff\0", "\N{REPLACEMENT CHARACTER}")]
)
def test_a_text_ends_at_its_nul(raw: bytes, text: str) -> None:
    assert text_of(raw) == text


@pytest.mark.parametrize("algorithm", ["zlib", "zstd", "none"])
def test_packed_data_holds_no_more_than_it_says(algorithm: str) -> None:
    data = b"data" * 100
    packed = {
        "zlib": zlib.compress(data),
        "zstd": zstandard.ZstdCompressor().compress(data),
        "none": data,
    }[algorithm]
    unpacker = Unpacker(algorithm, 1000)
    if algorithm == "none":
        with pytest.raises(DamagedError, match="packed, in a file that is not"):
            unpacker.unpack(packed, 400, "the part")
        return
    assert unpacker.unpack(packed, 400, "the part") == data
    assert unpacker.unpack(packed, 401, "the part") == data
    with pytest.raises(DamagedError, match="more than the 0x18f bytes that it says"):
        unpacker.unpack(packed, 399, "the part")
    with pytest.raises(DamagedError, match="the part: "):
        unpacker.unpack(b"\xff" + packed[1:], 400, "the part")


def test_zstandard_without_its_magic_number_is_known() -> None:
    packed = zstandard.ZstdCompressor().compress(b"data")
    assert Unpacker("zstd", 100).unpack(packed[4:], 4, "the part") == b"data"


def test_another_compressor_is_not_read() -> None:
    with pytest.raises(UnreadableError, match="'lzma'; read are zlib and zstd"):
        Unpacker("lzma", 100)


def test_a_file_unpacks_to_so_much_and_no_more() -> None:
    most = 10 * RATIO + SLACK
    unpacker = Unpacker("none", 10)
    unpacker.spend(most, "the part")
    with pytest.raises(DamagedError, match="far more than it can hold"):
        unpacker.spend(1, "the part")
