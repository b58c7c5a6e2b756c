"""Is the shipped EL2 program what its source gives, and does it say what mailbox.py says?"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys

import pytest

import needs
from paths import ROOT
from topbit.arch.ipa import Ipa
from topbit.machine.qemu.el2 import mailbox
from topbit.machine.qemu.el2.mailbox import MOST_PAGES, TLBI_ALL, Code, Op, forget

SOURCE = ROOT / "src/topbit/machine/qemu/el2/trampoline.S"


def test_the_hash_is_of_the_shipped_program() -> None:
    digest, name = SOURCE.with_suffix(".sha256").read_text().split()
    code = SOURCE.with_name(name).read_bytes()
    assert hashlib.sha256(code).hexdigest() == digest


@pytest.mark.qemu
def test_the_source_gives_the_shipped_program() -> None:
    prefix = needs.tool("binutils").removesuffix("as")
    built = subprocess.run(
        [sys.executable, ROOT / "tools/build_trampoline.py", "--check"],
        capture_output=True,
        env={**os.environ, "CROSS_COMPILE": prefix},
        text=True,
    )
    assert built.returncode == 0, built.stdout + built.stderr


def test_both_sides_of_the_mailbox_have_the_same_numbers() -> None:
    constants = {
        name: int(value, 0)
        for name, value in re.findall(
            r"\.set\s+(\w+),\s*(0x[0-9a-f]+|\d+)", SOURCE.read_text(), re.I
        )
    }
    assert constants["MAILBOXES"] == mailbox.MAILBOXES_OFFSET
    assert 1 << constants["MAILBOX_SHIFT"] == mailbox.MAILBOX_BYTES
    assert constants["SEQ"] == 8 * mailbox._SEQ
    assert constants["ACK"] == 8 * mailbox._ACK
    assert constants["OPS"] == 8 * mailbox._OPS
    assert constants["ELR"] == 8 * mailbox._ELR
    assert constants["BELL_ADDRESS"] == 8 * mailbox._BELL_ADDRESS
    assert constants["REASON_START"] == mailbox.Reason.START
    assert constants["REASON_YIELD"] == mailbox.Reason.YIELD
    for code in mailbox.Code:
        if code not in (mailbox.Code.END, mailbox.Code.YIELD):
            assert re.search(rf"cmp\s+x4, #{code.value}\n\s+b\.eq\s+op_", SOURCE.read_text())


@pytest.mark.parametrize("ipa", [0x4000_0000, 0x100_4000_0000, 0xF_FFFF_FFFF_F000])
def test_few_pages_are_forgotten_one_by_one(ipa: int) -> None:
    assert forget(Ipa(ipa), 0x1000) == Op(Code.TLBI_IPA, ipa >> 12, 1)
    assert forget(Ipa(ipa), MOST_PAGES * 0x1000) == Op(Code.TLBI_IPA, ipa >> 12, MOST_PAGES)
    assert forget(Ipa(ipa), (MOST_PAGES + 1) * 0x1000) == TLBI_ALL
