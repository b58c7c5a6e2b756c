"""What is known of a platform, and what does it answer while nothing is?"""

from __future__ import annotations

import pytest

from topbit.arch.ipa import IpaSpace
from topbit.recording.platform import DeviceFacts, Platform

TWO_DEVICES = Platform(devices={"a": DeviceFacts(sid=0), "b": DeviceFacts(sid=0x10)})


def test_nothing_is_known_at_first() -> None:
    nothing = Platform()
    assert (nothing.scheme, nothing.realm, nothing.ipa_bits) == ("arm-cca", None, None)
    assert (nothing.machine, nothing.one_clock, nothing.lost_events) == ("log", True, 0)
    assert nothing.pools == nothing.ram == nothing.notes == []


@pytest.mark.parametrize("bits", [32, 41, 52])
def test_a_known_width_makes_a_space_that_is_asked(bits: int) -> None:
    platform, space, bit = Platform(ipa_bits=bits), IpaSpace(bits), 1 << bits - 1
    assert platform.space == space
    for address in (0x1234_5678, bit | 0x1000, 1 << 60):
        assert platform.has_shared_bit(address) == space.has_shared_bit(address)
        assert platform.protected(address) == space.protected(address)
        assert platform.unprotected(address) == space.unprotected(address)
        assert platform.alias(address) == space.alias(address)


def test_without_a_width_no_bit_is_the_shared_one() -> None:
    platform = Platform()
    assert platform.space is None
    for address in (0, 1 << 40 | 0x1000, (1 << 64) - 1):
        assert not platform.has_shared_bit(address)
        assert platform.protected(address) == address
        assert platform.unprotected(address) == platform.alias(address) == address


@pytest.mark.parametrize("c_bit", [47, 51])
def test_a_known_c_bit_is_asked(c_bit: int) -> None:
    platform = Platform(scheme="amd-sev", c_bit=c_bit)
    assert platform.c_bit_mask == 1 << c_bit
    assert platform.has_c_bit(1 << c_bit | 0x1000)
    assert not platform.has_c_bit(1 << c_bit - 1 | 1 << c_bit + 1)
    assert platform.without_c_bit(1 << 52 | 1 << c_bit | 0x1000) == 1 << 52 | 0x1000
    assert platform.without_c_bit(0x1000) == 0x1000


def test_without_its_place_no_bit_is_the_c_bit() -> None:
    platform = Platform(scheme="amd-sev")
    assert (platform.c_bit_mask, platform.without_c_bit(1 << 51)) == (0, 1 << 51)
    assert not platform.has_c_bit(1 << 51)


@pytest.mark.parametrize(("sid", "name"), [(0, "a"), (0x10, "b"), (1, None)])
def test_a_device_is_found_by_its_stream(sid: int, name: str | None) -> None:
    assert TWO_DEVICES.device_of_sid(sid) == name
