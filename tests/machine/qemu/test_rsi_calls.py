"""Do calls that Linux never makes get right answers on a real CPU?"""

from __future__ import annotations

import hashlib
import struct
from typing import Any

import pytest

from rsi_guest import RESULTS, Guest
from topbit.arch.ipa import Ipa, IpaSpace
from topbit.arch.psci import Psci
from topbit.arch.rmi import Ripas
from topbit.arch.rsi import Rsi
from topbit.machine.qemu.el2 import mailbox, vcpus
from topbit.machine.qemu.el2.mailbox import Op
from topbit.machine.qemu.guest.token import verify

pytestmark = pytest.mark.qemu

PAGE = 4096
FREE = RESULTS + (1 << 20)
CONFIG, STRUCTURE, TOKEN, DATA = (FREE + i * PAGE for i in range(4))
CHALLENGE = tuple(range(0x1111, 0x9999, 0x1111))


def test_rsi_calls() -> None:
    words = (0x0123_4567_89AB_CDEF, *range(2, 9))
    calls = {
        "version": (Rsi.VERSION, 0x1_0000),
        "config": (Rsi.REALM_CONFIG, CONFIG),
        "rim": (Rsi.MEASUREMENT_READ, 0),
        "extend": (Rsi.MEASUREMENT_EXTEND, 3, 61, *words),
        "rem": (Rsi.MEASUREMENT_READ, 3),
        "extend rim": (Rsi.MEASUREMENT_EXTEND, 0, 8, *words),
        "read beyond": (Rsi.MEASUREMENT_READ, 5),
        "host call": (Rsi.HOST_CALL, STRUCTURE),
        "host call misaligned": (Rsi.HOST_CALL, STRUCTURE + 8),
        "token": (Rsi.ATTESTATION_TOKEN_INIT, *CHALLENGE),
        "continue": (Rsi.ATTESTATION_TOKEN_CONTINUE, TOKEN, 0, PAGE),
        "continue again": (Rsi.ATTESTATION_TOKEN_CONTINUE, TOKEN, 0, PAGE),
        "state": (Rsi.IPA_STATE_GET, DATA, DATA + PAGE),
        "share": (Rsi.IPA_STATE_SET, DATA, DATA + PAGE, Ripas.EMPTY, 0),
        "shared": (Rsi.IPA_STATE_GET, DATA, DATA + PAGE),
        "unshare": (Rsi.IPA_STATE_SET, DATA, DATA + PAGE, Ripas.RAM, 0),
        "again": (Rsi.IPA_STATE_GET, DATA, DATA + PAGE),
    }
    # RsiHostCall: imm, then 31 registers.
    structure = {STRUCTURE: 0x42, STRUCTURE + 8: 0x8600_FF01, STRUCTURE + 16: 7, STRUCTURE + 248: 9}
    guest = Guest([structure, *(tuple(map(int, call)) for call in calls.values())])
    with guest.machine:
        assert guest.run().ending == "power off"
        answers = dict(zip(calls, guest.answers, strict=True))
        host = guest.machine.host
        realm = host.rmm.realm(host.realm.rd)
        token = guest.read(TOKEN, answers["continue"][1])
        config = guest.read(CONFIG, PAGE)
        answered = struct.unpack("<32Q", guest.read(STRUCTURE, 256))

    assert answers["version"][:3] == (0, 0x1_0000, 0x1_0001)
    assert answers["config"][0] == 0
    assert struct.unpack_from("<Q", config)[0] == guest.shape.ipa_bits
    rim = struct.pack("<8Q", *answers["rim"][1:9])
    assert answers["rim"][0] == 0
    assert rim[:32] == realm.measurements.values[0]
    assert rim[:32] != bytes(32)
    rem = hashlib.sha256(bytes(32) + struct.pack("<8Q", *words)[:61]).digest()
    assert answers["extend"][0] == 0
    assert answers["rem"][:9] == (0, *struct.unpack("<8Q", rem.ljust(64, b"\0")))
    assert answers["extend rim"][0] == answers["read beyond"][0] == 1

    # The host knows no such service: SMCCC NOT_SUPPORTED, the other registers as they were.
    assert answers["host call"][0] == 0
    assert answered == (0x42, (1 << 64) - 1, 7, *[0] * 28, 9)
    assert answers["host call misaligned"][0] == 1

    assert answers["token"][:2] == (0, 4096)
    assert answers["continue"][0] == 0
    assert answers["continue again"][0] == 2  # the whole token was read
    challenge = struct.pack("<8Q", *CHALLENGE)
    assert verify(token, host.rmm.attestor(), realm, challenge) == ""

    assert answers["state"][:3] == (0, DATA + PAGE, Ripas.RAM)
    assert answers["share"][0] == answers["unshare"][0] == 0
    assert answers["share"][2] == answers["unshare"][2] == 0  # the host accepted
    assert answers["shared"][:3] == (0, DATA + PAGE, Ripas.EMPTY)
    assert answers["again"][:3] == (0, DATA + PAGE, Ripas.RAM)


SHARE = tuple(map(int, (Rsi.IPA_STATE_SET, DATA, DATA + PAGE, Ripas.EMPTY, 0)))
UNSHARE = tuple(map(int, (Rsi.IPA_STATE_SET, DATA, DATA + PAGE, Ripas.RAM, 0)))
CHANGES = SHARE, UNSHARE
ALIAS = IpaSpace(41).unprotected(DATA)


@pytest.mark.parametrize(
    ("actions", "aborted"),
    [
        ([{DATA: 1}, SHARE, {ALIAS: 2}], []),
        ([{DATA: 1}, SHARE, {DATA: 2}], [("sea", DATA)]),
        ([SHARE, {ALIAS: 1}, UNSHARE, {DATA: 2}], [("rmm_exit", DATA)]),  # the host gives a page
        ([SHARE, {ALIAS: 1}, UNSHARE, {ALIAS: 2}], [("rmm_exit", ALIAS)]),
    ],
)
def test_the_cpu_forgets_what_a_page_was(
    actions: list[Any], aborted: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has used the translation before the page was converted, and so knows it."""
    forgotten: list[tuple[int, int]] = []

    def forget(ipa: Ipa, size: int) -> Op:
        forgotten.append((ipa, size))
        return mailbox.forget(ipa, size)

    monkeypatch.setattr(vcpus, "forget", forget)
    guest = Guest(actions)
    assert guest.shape.ipa_bits == 41
    with guest.machine:
        run = guest.run()
        assert run.ending == "power off"
    halves = [DATA if action == SHARE else ALIAS for action in actions if action in CHANGES]
    assert forgotten == [(half, PAGE) for half in halves]
    kinds = [event.event for event in run.events]
    assert kinds.count("convert") == actions.count(SHARE) + actions.count(UNSHARE)
    last = len(kinds) - kinds[::-1].index("convert")
    after = [
        (event.event, event.address)
        for event in run.events[last:]
        if event.event == "sea" or (event.event == "rmm_exit" and event.status == "SYNC")
    ]
    assert after[: len(aborted) or None] == aborted


def test_psci_calls() -> None:
    calls = {
        "version": (Psci.VERSION,),
        "features": (Psci.FEATURES, Psci.CPU_ON_64),
        "no feature": (Psci.FEATURES, 0x8400_0FFF),
        "self": (Psci.AFFINITY_INFO_64, 0, 0),
        "other": (Psci.AFFINITY_INFO_64, 1, 0),
        "nobody": (Psci.AFFINITY_INFO_64, 7, 0),
        "on nobody": (Psci.CPU_ON_64, 7, RESULTS, 0),
        "on self": (Psci.CPU_ON_64, 0, RESULTS, 0),
        "unknown": (0x8400_0FFF,),
    }
    guest = Guest([tuple(map(int, call)) for call in calls.values()], cpus=2)
    with guest.machine:
        assert guest.run().ending == "power off"
        answers = {name: got[0] for name, got in zip(calls, guest.answers, strict=True)}
    not_supported, invalid, already_on = ((1 << 64) - n for n in (1, 2, 4))
    assert answers == {
        "version": 0x1_0001,
        "features": 0,
        "no feature": not_supported,
        "self": 0,
        "other": 1,  # off
        "nobody": invalid,
        "on nobody": invalid,
        "on self": already_on,
        "unknown": not_supported,
    }
