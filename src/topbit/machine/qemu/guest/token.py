"""Does the attestation token that the guest got prove this Realm?

Verified as a relying party would, outside the guest, and against what the RMM measured. The token
comes from the guest, so it may be anything.
"""

from __future__ import annotations

import hashlib
import sys
from typing import Any

from topbit.errors import MissingToolError
from topbit.rmm import attestation
from topbit.rmm.attestation import Attestor
from topbit.rmm.realm import Realm


def require() -> None:
    """Can tokens be made and verified here?

    Raises:
        MissingToolError: the `attest` extra is not installed.
    """
    try:
        import cbor2  # noqa: F401
        import cwt  # noqa: F401
    except ImportError as error:
        raise MissingToolError(
            'the Python packages of topbit\'s extra "attest" are missing',
            where="workload.attest",
            hint=f"{sys.executable} -m pip install cwt cbor2 cryptography",
        ) from error


def verify(token: bytes, attestor: Attestor, realm: Realm, challenge: bytes) -> str:
    """What is wrong with the token? Empty if nothing is.

    Args:
        token: what the guest says that it got.
        attestor: names the keys that signed it.
        realm: whose measurements must stand in it.
        challenge: 64 bytes that the guest was told to ask with.
    """
    if len(token) > attestation.MAX_TOKEN_SIZE:
        return f"{len(token)} bytes are too many"
    try:
        platform, own = _claims(token, attestor)
        values = realm.measurements.values
        key = own[attestation.REALM_PUBLIC_KEY]
        checks = {
            "it does not answer the challenge": own[attestation.CHALLENGE] == challenge,
            "its RIM is not what the RMM measured": own[attestation.REALM_RIM] == values[0],
            "its REMs are not the Realm's": list(own[attestation.REALM_REMS]) == values[1:],
            "its Realm personalisation value is not the Realm's": own[attestation.REALM_RPV]
            == realm.rpv,
            "its two halves do not belong together": platform[attestation.CHALLENGE]
            == hashlib.sha256(key).digest(),
        }
    except Exception as error:  # any of the parsers' own, or a claim that is missing
        return f"it cannot be verified: {type(error).__name__} {error}".rstrip()
    return next((wrong for wrong, right in checks.items() if not right), "")


def _claims(token: bytes, attestor: Attestor) -> tuple[dict[int, Any], dict[int, Any]]:
    """Which claims make platform and Realm? Raises whatever cbor2 and cwt raise."""
    import cbor2
    import cwt

    halves = cbor2.loads(token)
    if halves.tag != attestation.TAG_CCA_TOKEN:
        raise ValueError("not tagged as a CCA token")
    claims = []
    for number, pem in (
        (attestation.PLATFORM_TOKEN, attestor.platform_key),
        (attestation.REALM_TOKEN, attestor.realm_key),
    ):
        key = cwt.COSEKey.from_pem(pem, alg="ES384")
        claims.append(cbor2.loads(cwt.COSE.new().decode(halves.value[number], key)))
    return claims[0], claims[1]
