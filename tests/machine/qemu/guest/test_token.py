"""Is a token that proves another Realm, or nothing, refused?"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topbit.arch.rmi_params import HASH_SHA_256
from topbit.machine.qemu.guest.token import verify
from topbit.rmm.attestation import Attestor
from topbit.rmm.measurement import Measurements
from topbit.rmm.realm import Realm

CHALLENGE = bytes(range(64))


def realm(rim: bytes = b"\1" * 32, rpv: bytes = b"\2" * 64) -> Any:
    measurements = Measurements(HASH_SHA_256)
    measurements.values[0] = rim
    return SimpleNamespace(measurements=measurements, rpv=rpv)


ATTESTOR = Attestor()


def token(attestor: Attestor, of: Realm, challenge: bytes) -> bytes:
    return attestor.token(of.measurements, of.rpv, challenge)


TOKEN = token(ATTESTOR, realm(), CHALLENGE)


def test_right_token_is_accepted() -> None:
    assert verify(TOKEN, ATTESTOR, realm(), CHALLENGE) == ""


def test_extended_measurement_must_be_in_it() -> None:
    extended = realm()
    extended.measurements.extend(1, b"event")
    assert "REMs" in verify(TOKEN, ATTESTOR, extended, CHALLENGE)
    assert verify(token(ATTESTOR, extended, CHALLENGE), ATTESTOR, extended, CHALLENGE) == ""


@pytest.mark.parametrize(
    ("token", "wrong"),
    [
        (token(ATTESTOR, realm(), bytes(64)), "does not answer the challenge"),
        (token(ATTESTOR, realm(rim=b"\3" * 32), CHALLENGE), "RIM"),
        (token(ATTESTOR, realm(rpv=bytes(64)), CHALLENGE), "personalisation"),
        (token(Attestor(), realm(), CHALLENGE), "cannot be verified"),  # another RMM's keys
        (b"", "cannot be verified"),
        (TOKEN[:-1], "cannot be verified"),
        (b"\xd9\x01\x8e" + TOKEN[3:], "cannot be verified: ValueError not tagged"),
        (TOKEN + bytes(4096), "too many"),
    ],
)
def test_wrong_token_is_refused(token: bytes, wrong: str) -> None:
    assert wrong in verify(token, ATTESTOR, realm(), CHALLENGE)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, len(TOKEN) - 1), st.integers(1, 255))
def test_no_changed_byte_is_an_exception(at: int, flip: int) -> None:
    token = bytearray(TOKEN)
    token[at] ^= flip
    verify(bytes(token), ATTESTOR, realm(), CHALLENGE)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_are_an_exception(token: bytes) -> None:
    assert verify(token, ATTESTOR, realm(), CHALLENGE)
