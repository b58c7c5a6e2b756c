"""What does the RMM answer to the Realm? The Realm Services Interface, except RIPAS and PSCI.

Source: DEN0137 1.0, "Realm Services Interface". Every argument is the Realm's and may be any u64.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from topbit.arch.rmi import ExitReason, Ripas
from topbit.arch.rsi import (
    MAX_MEASUREMENT,
    NUM_MEASUREMENTS,
    VERSION_1_0,
    HostCall,
    RealmConfig,
    Rsi,
    RsiStatus,
)
from topbit.rmm import ripas, stage2_access
from topbit.rmm.attestation import MAX_TOKEN_SIZE
from topbit.rmm.granules import DATA, GRANULE
from topbit.rmm.rec import Exit, Rec, Resume, unassigned_exit
from topbit.rmm.rtt import LAST

if TYPE_CHECKING:
    from topbit.rmm.monitor import Rmm


def answer(status: RsiStatus, *values: int) -> Resume:
    """What stands in X0 and up when an RSI call returns?"""
    return Resume(dict(enumerate((int(status), *values))), advance=True)


def realm_page(rmm: Rmm, rec: Rec, ipa: int) -> int | Resume | Exit:
    """At which PA is the Realm's RAM at the protected address `ipa`?

    Returns:
        the PA, ERROR_INPUT where the Realm expects nothing, or the exit that asks the host for
        memory, after which the Realm calls again.
    """
    rtt = rec.realm.rtt
    level, _, entry = rtt.walk(ipa, LAST)
    found = rtt.decode(entry, level)
    if found.valid and found.ripas == Ripas.RAM:
        pa = stage2_access.output(rtt, entry, level, ipa)
        return pa if rmm.granules.get(pa & -GRANULE) == DATA else answer(RsiStatus.ERROR_INPUT)
    if found.ripas in (Ripas.EMPTY, Ripas.DEV):
        return answer(RsiStatus.ERROR_INPUT)
    return rmm.leave(rec, unassigned_exit(ipa, level & 3))


def version(rmm: Rmm, rec: Rec, x: Sequence[int]) -> Resume:
    """RSI_VERSION(requested) -> lower, higher implemented revision."""
    highest = rmm.rsi_version
    if x[1] >> 16 != 1 or x[1] & 0xFFFF > highest & 0xFFFF:
        return answer(RsiStatus.ERROR_INPUT, highest, highest)
    return answer(RsiStatus.SUCCESS, max(x[1], VERSION_1_0), highest)


def features(rmm: Rmm, rec: Rec, x: Sequence[int]) -> Resume:
    """RSI_FEATURES(index) -> feature register; no feature bit is defined in 1.0."""
    return answer(RsiStatus.SUCCESS, 0)


def realm_config(rmm: Rmm, rec: Rec, x: Sequence[int]) -> Resume | Exit:
    """RSI_REALM_CONFIG(ipa): write the 4 KiB structure that tells the Realm its IPA width."""
    ipa = x[1]
    if ipa & 0xFFF or ipa >= rec.realm.half:
        return answer(RsiStatus.ERROR_INPUT)
    pa = realm_page(rmm, rec, ipa)
    if not isinstance(pa, int):
        return pa
    page = bytearray(GRANULE)
    told = rec.realm.ipa_bits if rmm.told_ipa_bits is None else rmm.told_ipa_bits
    struct.pack_into("<Q", page, RealmConfig.IPA_WIDTH, told)
    page[RealmConfig.HASH_ALGO] = rec.realm.measurements.hash_algo
    struct.pack_into("<I", page, RealmConfig.GICV3_VTR, rmm.gicv3_vtr)
    page[RealmConfig.RPV : RealmConfig.RPV + 64] = rec.realm.rpv
    rmm.memory.write(pa, page)
    if rmm.listening:
        rmm.say_realm_config(ipa, told)
    return answer(RsiStatus.SUCCESS)


def host_call(rmm: Rmm, rec: Rec, x: Sequence[int]) -> Resume | Exit:
    """RSI_HOST_CALL(ipa): hand 31 registers to the host and get them back."""
    ipa = x[1]
    if ipa & (HostCall.SIZE - 1) or ipa >= rec.realm.half:
        return answer(RsiStatus.ERROR_INPUT)
    pa = realm_page(rmm, rec, ipa)
    if not isinstance(pa, int):
        return pa
    imm, *gprs = struct.unpack("<32Q", rmm.memory.read(pa, HostCall.SIZE))
    rec.host_call = ipa
    return rmm.leave(rec, Exit(ExitReason.HOST_CALL, gprs=tuple(gprs), imm=imm & 0xFFFF))


def finish_host_call(rmm: Rmm, rec: Rec, ipa: int, gprs: bytes) -> int | None:
    """Store the host's registers in the Realm's structure; None, or the level where RAM ends."""
    rtt = rec.realm.rtt
    level, _, entry = rtt.walk(ipa, LAST)
    found = rtt.decode(entry, level)
    pa = stage2_access.output(rtt, entry, level, ipa)
    is_ram = found.valid and found.ripas == Ripas.RAM
    if not is_ram or rmm.granules.get(pa & -GRANULE) != DATA:
        return level & 3
    rmm.memory.write(pa + HostCall.GPRS, gprs)
    return None


def measurement_read(rmm: Rmm, rec: Rec, x: Sequence[int]) -> Resume:
    """RSI_MEASUREMENT_READ(index) -> X1 to X8: RIM (0) or a REM (1 to 4)."""
    if x[1] >= NUM_MEASUREMENTS:
        return answer(RsiStatus.ERROR_INPUT)
    return answer(RsiStatus.SUCCESS, *struct.unpack("<8Q", rec.realm.measurements.read(x[1])))


def measurement_extend(rmm: Rmm, rec: Rec, x: Sequence[int]) -> Resume:
    """RSI_MEASUREMENT_EXTEND(index, size, X3 to X10): extend a REM by up to 64 bytes."""
    if not 1 <= x[1] < NUM_MEASUREMENTS or x[2] > MAX_MEASUREMENT:
        return answer(RsiStatus.ERROR_INPUT)
    rec.realm.measurements.extend(x[1], struct.pack("<8Q", *x[3:11])[: x[2]])
    return answer(RsiStatus.SUCCESS)


def token_init(rmm: Rmm, rec: Rec, x: Sequence[int]) -> Resume:
    """RSI_ATTESTATION_TOKEN_INIT(X1 to X8: challenge) -> greatest size the token can have."""
    try:
        attestor = rmm.attestor()
    except ImportError:  # without the `attest` extra there is no token, as without a key
        return answer(RsiStatus.ERROR_STATE)
    rec.token = attestor.token(rec.realm, struct.pack("<8Q", *x[1:9]))
    rec.token_done = 0
    return answer(RsiStatus.SUCCESS, MAX_TOKEN_SIZE)


def token_continue(rmm: Rmm, rec: Rec, x: Sequence[int]) -> Resume | Exit:
    """RSI_ATTESTATION_TOKEN_CONTINUE(ipa, offset, size) -> how many bytes were written."""
    ipa, offset, size = x[1:4]
    if ipa & 0xFFF or ipa >= rec.realm.half or offset >= GRANULE or offset + size > GRANULE:
        return answer(RsiStatus.ERROR_INPUT)
    if rec.token is None:
        return answer(RsiStatus.ERROR_STATE)
    pa = realm_page(rmm, rec, ipa)
    if not isinstance(pa, int):
        return pa
    part = rec.token[rec.token_done : rec.token_done + size]
    rmm.memory.write(pa + offset, part)
    rec.token_done += len(part)
    if rec.token_done < len(rec.token):
        return answer(RsiStatus.INCOMPLETE, len(part))
    rec.token = None
    return answer(RsiStatus.SUCCESS, len(part))


def ipa_state_set(rmm: Rmm, rec: Rec, x: Sequence[int]) -> Resume | Exit:
    """RSI_IPA_STATE_SET: see `ripas.ipa_state_set`."""
    return ripas.ipa_state_set(rmm, rec, x[1], x[2], x[3], x[4])


def ipa_state_get(rmm: Rmm, rec: Rec, x: Sequence[int]) -> Resume:
    """RSI_IPA_STATE_GET: see `ripas.ipa_state_get`."""
    return ripas.ipa_state_get(rmm, rec, x[1], x[2])


HANDLERS: dict[int, Callable[..., Resume | Exit]] = {
    Rsi.VERSION: version,
    Rsi.FEATURES: features,
    Rsi.MEASUREMENT_READ: measurement_read,
    Rsi.MEASUREMENT_EXTEND: measurement_extend,
    Rsi.ATTESTATION_TOKEN_INIT: token_init,
    Rsi.ATTESTATION_TOKEN_CONTINUE: token_continue,
    Rsi.REALM_CONFIG: realm_config,
    Rsi.IPA_STATE_SET: ipa_state_set,
    Rsi.IPA_STATE_GET: ipa_state_get,
    Rsi.HOST_CALL: host_call,
}
