"""What does a token claim, and do its two halves belong together?"""

import hashlib
from typing import Any

import pytest

from rmm_host import Host
from topbit.rmm.attestation import MAX_TOKEN_SIZE, Attestor

cbor2 = pytest.importorskip("cbor2")
cwt = pytest.importorskip("cwt")

CHALLENGE = bytes(range(64))


def token(attestor: Attestor, host: Host) -> bytes:
    return attestor.token(host.realm.measurements, host.realm.rpv, CHALLENGE)


def claims(attestor: Attestor, signed: bytes) -> tuple[dict[int, Any], dict[int, Any]]:
    """What the platform and what the Realm claim, both verified."""
    outer = cbor2.loads(signed)
    assert outer.tag == 399
    found = []
    for number, pem in ((44234, attestor.platform_key), (44241, attestor.realm_key)):
        key = cwt.COSEKey.from_pem(pem, alg="ES384")
        found.append(cbor2.loads(cwt.COSE.new().decode(outer.value[number], key)))
    return found[0], found[1]


@pytest.mark.parametrize(
    ("sha512", "name", "size"), [(False, "sha-256", 32), (True, "sha-512", 64)]
)
def test_the_realms_claims_are_what_the_rmm_holds(sha512: bool, name: str, size: int) -> None:
    host, attestor = Host(), Attestor()
    host.create(sha512=sha512)
    host.realm.measurements.extend(2, b"extended")
    _, realm = claims(attestor, token(attestor, host))
    assert realm[10] == CHALLENGE
    assert realm[265] == "tag:arm.com,2023:realm#1.0.0"
    assert realm[44235] == b"personal".ljust(64, b"\xa5")
    assert realm[44236] == name
    assert realm[44238] == host.realm.measurements.values[0]
    assert realm[44239] == host.realm.measurements.values[1:]
    assert [len(rem) for rem in realm[44239]] == [size] * 4
    assert realm[44240] == "sha-256"


def test_the_platform_vouches_for_the_realms_key_and_says_it_is_no_hardware() -> None:
    host, attestor = Host(), Attestor()
    host.create()
    platform, realm = claims(attestor, token(attestor, host))
    assert platform[10] == hashlib.sha256(realm[44237]).digest()
    assert platform[2396] == b"topbit: not from hardware".ljust(32, b"\0")
    assert platform[256] == b"\1" + hashlib.sha256(attestor.platform_key).digest()
    assert (platform[2395], platform[2402]) == (0, "sha-256")
    assert platform[265] == "tag:arm.com,2023:cca_platform#1.0.0"
    (component,) = platform[2399]
    assert component[1] == "RMM (topbit model)"
    key = cbor2.loads(realm[44237])
    assert key.keys() == {1, -1, -2, -3}


def test_each_rmm_has_keys_of_its_own_and_its_tokens_fit() -> None:
    host = Host()
    host.create(sha512=True)
    first, second = Attestor(), Attestor()
    keys = {first.platform_key, first.realm_key, second.platform_key, second.realm_key}
    assert len(keys) == 4
    signed = token(first, host)
    assert len(signed) <= MAX_TOKEN_SIZE
    with pytest.raises(cwt.VerifyError):
        claims(second, signed)
