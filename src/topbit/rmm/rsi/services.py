"""What does the RMM answer to the Realm? The Realm Services Interface, except RIPAS and PSCI.

Source: DEN0137 1.0, "Realm Services Interface". Every argument is the Realm's and may be any u64.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from topbit.arch.ipa import Ipa, Pa
from topbit.arch.rmi import ExitReason, Ripas
from topbit.arch.rmi_params import RecEnter, RecExit
from topbit.arch.rsi import (
    FEATURE_DA,
    MAX_MEASUREMENT,
    NUM_MEASUREMENTS,
    VERSION_1_0,
    HostCall,
    RealmConfig,
    RsiStatus,
)
from topbit.rmm.attestation import MAX_TOKEN_SIZE
from topbit.rmm.exit import output, unassigned_exit
from topbit.rmm.granules import DATA, GRANULE
from topbit.rmm.realm import Rec
from topbit.rmm.rec_run import Exit, Resume
from topbit.rmm.s2tt import LAST
from topbit.rmm.state import RmmState


def answer(status: RsiStatus, *values: int) -> Resume:
    """What stands in X0 and up when an RSI call returns?"""
    return Resume(dict(enumerate((int(status), *values))), advance=True)


def realm_page(rmm: RmmState, rec: Rec, ipa: Ipa) -> Pa | Resume | Exit:
    """At which PA is the Realm's RAM at the protected address `ipa`?

    Returns:
        the PA, ERROR_INPUT where the Realm expects nothing, or the exit that asks the host for
        memory, after which the Realm calls again.
    """
    rtt = rec.realm.rtt
    level, _, entry = rtt.walk(ipa, LAST)
    found = rtt.decode(entry, level)
    if found.valid and found.ripas == Ripas.RAM:
        pa = output(rtt, entry, level, ipa)
        return pa if rmm.granules.get(pa & -GRANULE) == DATA else answer(RsiStatus.ERROR_INPUT)
    if found.ripas in (Ripas.EMPTY, Ripas.DEV):
        return answer(RsiStatus.ERROR_INPUT)
    return rmm.leave(rec, unassigned_exit(ipa, level & 3))


def version(rmm: RmmState, rec: Rec, x: Sequence[int]) -> Resume:
    """RSI_VERSION(requested) -> lower, higher implemented revision."""
    highest = rmm.revision.rsi
    if x[1] >> 16 != 1 or x[1] & 0xFFFF > highest & 0xFFFF:
        return answer(RsiStatus.ERROR_INPUT, highest, highest)
    return answer(RsiStatus.SUCCESS, max(x[1], VERSION_1_0), highest)


def features(rmm: RmmState, rec: Rec, x: Sequence[int]) -> Resume:
    """RSI_FEATURES(index) -> feature register. 0 says whether the Realm may have devices (2.0)."""
    return answer(RsiStatus.SUCCESS, FEATURE_DA if rec.realm.da and not x[1] else 0)


def realm_config(rmm: RmmState, rec: Rec, x: Sequence[int]) -> Resume | Exit:
    """RSI_REALM_CONFIG(ipa): write the 4 KiB structure that tells the Realm its IPA width."""
    ipa = x[1]
    if ipa & 0xFFF or not rec.realm.space.in_par(ipa):
        return answer(RsiStatus.ERROR_INPUT)
    pa = realm_page(rmm, rec, ipa)
    if not isinstance(pa, int):
        return pa
    page = bytearray(GRANULE)
    told = rec.realm.space.bits if rmm.told_ipa_bits is None else rmm.told_ipa_bits
    struct.pack_into("<Q", page, RealmConfig.IPA_WIDTH, told)
    page[RealmConfig.HASH_ALGO] = rec.realm.measurements.hash_algo
    struct.pack_into("<I", page, RealmConfig.GICV3_VTR, rmm.gicv3_vtr)
    page[RealmConfig.RPV : RealmConfig.RPV + 64] = rec.realm.rpv
    rmm.memory.write(pa, page)
    if rmm.listening:
        rmm.say_realm_config(ipa, told)
    return answer(RsiStatus.SUCCESS)


@dataclass(slots=True)
class HostCallRequest:
    """Which RSI_HOST_CALL waits for the host? `ipa`: of the Realm's structure."""

    rmm: RmmState
    ipa: Ipa

    def complete(self, rec: Rec, flags: int) -> Resume | Exit:
        """Give the Realm the registers that the host set; or ask for the memory that is gone."""
        rmm, rtt = self.rmm, rec.realm.rtt
        level, _, entry = rtt.walk(self.ipa, LAST)
        found = rtt.decode(entry, level)
        pa = output(rtt, entry, level, self.ipa)
        is_ram = found.valid and found.ripas == Ripas.RAM
        if not is_ram or rmm.granules.get(pa & -GRANULE) != DATA:
            return rmm.leave(rec, unassigned_exit(self.ipa, level & 3))
        gprs = rmm.memory.read(rec.run + RecEnter.GPRS, RecExit.NUM_GPRS * 8)
        rmm.memory.write(pa + HostCall.GPRS, gprs)
        rec.pending = None
        return answer(RsiStatus.SUCCESS)


def host_call(rmm: RmmState, rec: Rec, x: Sequence[int]) -> Resume | Exit:
    """RSI_HOST_CALL(ipa): hand 31 registers to the host and get them back."""
    ipa = x[1]
    if ipa & (HostCall.SIZE - 1) or not rec.realm.space.in_par(ipa):
        return answer(RsiStatus.ERROR_INPUT)
    pa = realm_page(rmm, rec, ipa)
    if not isinstance(pa, int):
        return pa
    imm, *gprs = struct.unpack("<32Q", rmm.memory.read(pa, HostCall.SIZE))
    rec.pending = HostCallRequest(rmm, ipa)
    return rmm.leave(rec, Exit(ExitReason.HOST_CALL, gprs=tuple(gprs), imm=imm & 0xFFFF))


def measurement_read(rmm: RmmState, rec: Rec, x: Sequence[int]) -> Resume:
    """RSI_MEASUREMENT_READ(index) -> X1 to X8: RIM (0) or a REM (1 to 4)."""
    if x[1] >= NUM_MEASUREMENTS:
        return answer(RsiStatus.ERROR_INPUT)
    return answer(RsiStatus.SUCCESS, *struct.unpack("<8Q", rec.realm.measurements.read(x[1])))


def measurement_extend(rmm: RmmState, rec: Rec, x: Sequence[int]) -> Resume:
    """RSI_MEASUREMENT_EXTEND(index, size, X3 to X10): extend a REM by up to 64 bytes."""
    if not 1 <= x[1] < NUM_MEASUREMENTS or x[2] > MAX_MEASUREMENT:
        return answer(RsiStatus.ERROR_INPUT)
    rec.realm.measurements.extend(x[1], struct.pack("<8Q", *x[3:11])[: x[2]])
    return answer(RsiStatus.SUCCESS)


def token_init(rmm: RmmState, rec: Rec, x: Sequence[int]) -> Resume:
    """RSI_ATTESTATION_TOKEN_INIT(X1 to X8: challenge) -> greatest size the token can have."""
    try:
        attestor = rmm.attestor()
    except ImportError:  # without the `attest` extra there is no token, as without a key
        return answer(RsiStatus.ERROR_STATE)
    rec.token = attestor.token(rec.realm.measurements, rec.realm.rpv, struct.pack("<8Q", *x[1:9]))
    rec.token_done = 0
    return answer(RsiStatus.SUCCESS, MAX_TOKEN_SIZE)


def token_continue(rmm: RmmState, rec: Rec, x: Sequence[int]) -> Resume | Exit:
    """RSI_ATTESTATION_TOKEN_CONTINUE(ipa, offset, size) -> how many bytes were written."""
    ipa, offset, size = x[1:4]
    in_page = offset < GRANULE and offset + size <= GRANULE
    if ipa & 0xFFF or not rec.realm.space.in_par(ipa) or not in_page:
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
