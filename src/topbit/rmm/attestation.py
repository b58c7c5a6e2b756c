"""Which token proves what a Realm is? (to be completed)"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from topbit.rmm.monitor import Rmm
    from topbit.rmm.realm import Realm

MAX_TOKEN_SIZE = 4096


def token(rmm: Rmm, realm: Realm, challenge: bytes) -> bytes | None:
    """Which CCA token answers `challenge`? None where it cannot be made."""
    return None
