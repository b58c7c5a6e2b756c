"""Which token proves what a Realm is? A CCA attestation token, made with keys of this run.

Form: CBOR map (tag 399) of a platform token and a Realm token, each a COSE_Sign1 signed with
ES384. The platform token's challenge is the hash of the Realm's key, which binds the two.
It is well-formed and can be verified with the keys that `Attestor` names, but proves nothing
about hardware, and says so: implementation ID and verification service read "topbit ...", the
security life cycle is "unknown".
Source: DEN0137 1.0, "CCA attestation token" (claims and keys), RFC 9052 (COSE), RFC 9711 (EAT).
"""

from __future__ import annotations

import hashlib
from typing import Any

from topbit.arch.rmi_params import HASH_SHA_256, HASH_SHA_384, HASH_SHA_512
from topbit.rmm.measurement import Measurements

MAX_TOKEN_SIZE = 4096
NOT_HARDWARE = b"topbit: not from hardware"

TAG_CCA_TOKEN = 399
PLATFORM_TOKEN, REALM_TOKEN = 44234, 44241

CHALLENGE = 10
INSTANCE_ID = 256
PROFILE = 265
SECURITY_LIFECYCLE, IMPLEMENTATION_ID = 2395, 2396
SOFTWARE_COMPONENTS, VERIFICATION_SERVICE = 2399, 2400
PLATFORM_CONFIG, PLATFORM_HASH_ALGO = 2401, 2402
REALM_RPV, REALM_HASH_ALGO, REALM_PUBLIC_KEY = 44235, 44236, 44237
REALM_RIM, REALM_REMS, REALM_KEY_HASH_ALGO = 44238, 44239, 44240

HASH_NAMES = {HASH_SHA_256: "sha-256", HASH_SHA_384: "sha-384", HASH_SHA_512: "sha-512"}
LIFECYCLE_UNKNOWN = 0
ALG, ES384 = 1, -35


class Attestor:
    """With which keys does one RMM sign its tokens?

    Attributes:
        platform_key, realm_key: public keys, PEM; whoever verifies a token needs both.

    Raises:
        ImportError: the `attest` extra (cwt, cbor2, cryptography) is not installed.
    """

    def __init__(self) -> None:
        import cbor2
        import cwt

        self._dumps = cbor2.dumps
        self._tag = cbor2.CBORTag
        self._cose = cwt.COSE.new()
        self._platform, self.platform_key = _new_key()
        self._realm, self.realm_key = _new_key()

    def token(self, measurements: Measurements, rpv: bytes, challenge: bytes) -> bytes:
        """Which token answers the 64-byte `challenge` of the Realm with these measurements?"""
        algorithm = HASH_NAMES[measurements.hash_algo]
        key = {k: v for k, v in self._realm.to_dict().items() if k in (1, -1, -2, -3)}
        public_key = self._dumps(key)
        realm_claims = {
            CHALLENGE: challenge,
            PROFILE: "tag:arm.com,2023:realm#1.0.0",
            REALM_RPV: rpv,
            REALM_HASH_ALGO: algorithm,
            REALM_PUBLIC_KEY: public_key,
            REALM_KEY_HASH_ALGO: "sha-256",
            REALM_RIM: measurements.values[0],
            REALM_REMS: measurements.values[1:],
        }
        platform_claims = {
            CHALLENGE: hashlib.sha256(public_key).digest(),
            PROFILE: "tag:arm.com,2023:cca_platform#1.0.0",
            IMPLEMENTATION_ID: NOT_HARDWARE.ljust(32, b"\0"),
            INSTANCE_ID: b"\x01" + hashlib.sha256(self.platform_key).digest(),
            PLATFORM_CONFIG: NOT_HARDWARE,
            SECURITY_LIFECYCLE: LIFECYCLE_UNKNOWN,
            PLATFORM_HASH_ALGO: "sha-256",
            SOFTWARE_COMPONENTS: [
                {
                    1: "RMM (topbit model)",
                    2: hashlib.sha256(NOT_HARDWARE).digest(),
                    5: hashlib.sha256(self.platform_key).digest(),
                }
            ],
            VERIFICATION_SERVICE: NOT_HARDWARE.decode() + ", key made for this run",
        }
        token: bytes = self._dumps(
            self._tag(
                TAG_CCA_TOKEN,
                {
                    PLATFORM_TOKEN: self._sign(self._platform, platform_claims),
                    REALM_TOKEN: self._sign(self._realm, realm_claims),
                },
            )
        )
        return token

    def _sign(self, key: Any, claims: dict[int, Any]) -> bytes:
        signed: bytes = self._cose.encode(self._dumps(claims), key, protected={ALG: ES384})
        return signed


def _new_key() -> tuple[Any, bytes]:
    """A fresh P-384 key for signing, and its public half in PEM."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cwt import COSEKey

    private = ec.generate_private_key(ec.SECP384R1())
    pem = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return COSEKey.from_pem(pem, alg="ES384"), public
