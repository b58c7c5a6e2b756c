"""What do RIM and REMs hold after each step? Against the layout in DEN0137 by hand."""

import hashlib
import struct

import pytest

from topbit.arch.rmi_params import HASH_SHA_256, HASH_SHA_512
from topbit.rmm import measurement
from topbit.rmm.measurement import Measurements

NEW = {HASH_SHA_256: hashlib.sha256, HASH_SHA_512: hashlib.sha512}


@pytest.fixture(params=[HASH_SHA_256, HASH_SHA_512])
def made(request: pytest.FixtureRequest) -> Measurements:
    return Measurements(request.param)


def extended(made: Measurements, before: bytes, kind: int, tail: bytes) -> bytes:
    """The RIM after a descriptor of this kind: type, length, RIM so far, what was measured."""
    descriptor = struct.pack("<QQ", kind, 0x100) + before.ljust(64, b"\0") + tail
    return NEW[made.hash_algo](descriptor.ljust(0x100, b"\0")).digest()


def test_all_are_zero_at_first(made: Measurements) -> None:
    assert made.size == NEW[made.hash_algo]().digest_size
    assert made.values == [bytes(made.size)] * 5
    assert made.read(4) == bytes(64)


def test_only_the_measured_parameters_count(made: Measurements) -> None:
    counted = {0x0: 8, 0x8: 1, 0x10: 1, 0x18: 1, 0x20: 1, 0x28: 1, 0x30: 1}
    page = bytearray(4096)
    for offset, size in counted.items():
        page[offset : offset + size] = bytes(range(1, size + 1))
    expected = NEW[made.hash_algo](bytes(page)).digest()
    noise = bytearray(b"\xff" * 4096)
    for offset, size in counted.items():
        noise[offset : offset + size] = page[offset : offset + size]
    made.start(bytes(noise))
    assert made.values[0] == expected
    assert made.values[1:] == [bytes(made.size)] * 4


@pytest.mark.parametrize("flags", [0, 1])
def test_a_page_counts_with_its_place_and_if_asked_its_content(
    made: Measurements, flags: int
) -> None:
    before = made.values[0]
    made.data(0x1234_5000, flags, b"content")
    content = made.digest(b"content") if flags else b""
    tail = struct.pack("<QQ", 0x1234_5000, flags) + content.ljust(64, b"\0")
    assert made.values[0] == extended(made, before, 0, tail)


def test_a_rec_counts_with_the_hash_of_its_page(made: Measurements) -> None:
    before = made.values[0]
    made.rec(b"parameters")
    assert made.values[0] == extended(made, before, 1, made.digest(b"parameters"))


def test_ram_counts_with_its_range(made: Measurements) -> None:
    made.rec(b"something before")
    before = made.values[0]
    made.ripas(0x1000, 0x4000)
    assert made.values[0] == extended(made, before, 2, struct.pack("<QQ", 0x1000, 0x5000))


def test_a_rem_is_extended_alone(made: Measurements) -> None:
    made.extend(3, b"first")
    made.extend(3, b"second")
    one = made.digest(bytes(made.size) + b"first")
    assert made.values[3] == made.digest(one + b"second")
    assert made.read(3) == made.values[3].ljust(64, b"\0")
    assert [made.values[n] for n in (0, 1, 2, 4)] == [bytes(made.size)] * 4


@pytest.mark.parametrize("waiting", [1, 4, 1 << 14])
def test_what_is_hashed_later_counts_as_it_was_and_in_its_order(
    monkeypatch: pytest.MonkeyPatch, waiting: int
) -> None:
    monkeypatch.setattr(measurement, "MOST_WAITING", waiting)
    made = Measurements(HASH_SHA_256)
    expected = made.values[0]
    page = bytearray(4096)
    for number in range(11):
        page[:] = bytes([number]) * len(page)
        made.data(number << 12, 1, memoryview(page))
        tail = struct.pack("<QQ", number << 12, 1) + made.digest(bytes(page)).ljust(64, b"\0")
        expected = extended(made, expected, 0, tail)
        if number % 3 == 0:
            made.ripas(number << 12, 4096)
            tail = struct.pack("<QQ", number << 12, number + 1 << 12)
            expected = extended(made, expected, 2, tail)
    page[:] = b"\xff" * len(page)
    assert made.values[0] == made.values[0] == expected
    made.rec(b"after that")
    assert made.read(0)[:32] == extended(made, expected, 1, made.digest(b"after that"))
