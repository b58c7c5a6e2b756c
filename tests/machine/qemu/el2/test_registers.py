"""Which values stand in the vCPU's registers, as DDI0487 wants them?"""

from __future__ import annotations

import pytest

from topbit.arch.ipa import Pa
from topbit.machine.qemu.el2 import registers
from topbit.machine.qemu.el2.cpu_model import CpuFeatures
from topbit.machine.qemu.el2.mailbox import MAILBOX_BYTES, MAILBOXES_OFFSET, SET_EL1, Mailbox
from topbit.memory import PhysicalMemory

BASE = 0x4000_0000
WORD = {"elr": 31, "spsr": 32, "esr": 33, "far": 34, "hpfar": 35, "vbar": 42, "sctlr": 43}


@pytest.fixture
def memory() -> PhysicalMemory:
    return PhysicalMemory(BASE, MAILBOXES_OFFSET + MAILBOX_BYTES)


@pytest.fixture
def mailbox(memory: PhysicalMemory) -> Mailbox:
    return Mailbox(memory, BASE, 0, 0x0904_0000)


def trapped(memory: PhysicalMemory, **values: int) -> None:
    for name, value in values.items():
        memory.write_u64(BASE + MAILBOXES_OFFSET + 8 * WORD[name], value)


def el1_state(memory: PhysicalMemory) -> tuple[int, ...]:
    """ELR_EL1, SPSR_EL1, ESR_EL1, FAR_EL1 as SET_EL1 will leave them."""
    return tuple(memory.read_u64(BASE + MAILBOXES_OFFSET + 0x160 + 8 * n) for n in range(4))


@pytest.mark.parametrize(
    ("ipa_bits", "start_level", "value"),
    [
        (41, 0, 0x8004_3597),  # T0SZ 23, SL0 2, 44-bit PA
        (39, 1, 0x8004_3559),
        (32, 1, 0x8004_3560),
        (48, 0, 0x8004_3590),
        (52, -1, 0x3_8006_350C),  # DS, SL2
    ],
)
def test_vtcr(ipa_bits: int, start_level: int, value: int) -> None:
    assert registers.vtcr(ipa_bits, start_level) == value


def test_system_register_instructions() -> None:
    """Encodings as GNU as gives them."""
    assert registers.msr("VTTBR_EL2", 5)[1:] == (0xD51C_2100, 5)  # msr vttbr_el2, x0
    assert registers.mrs("HCR_EL2")[1] == 0xD53C_1100  # mrs x0, hcr_el2


@pytest.mark.parametrize(("there", "count"), [(True, 4), (False, 0)])
def test_what_a_large_cpu_model_has_does_not_trap(there: bool, count: int) -> None:
    """Bits that DDI0487 names *En and n*: GCS, FPMR, SCTLR2, TCR2, MOPS; a small one lacks all."""
    features = CpuFeatures(52, True, True, there, there, False, False)
    ops = registers.setup(features, 50, 0, Pa(0x4000_0000), 1)
    wanted = {
        0xD51C_1240: 0x00C0_C800,  # msr hcrx_el2, x0: EnFPM, GCSEn, SCTLR2En, TCR2En, MSCEn
        0xD51C_1180: 0xFFF4 << 48,  # hfgrtr_el2
        0xD51C_11A0: 0xFFF4 << 48,  # hfgwtr_el2
        0xD51C_11C0: 0xF80 << 48,  # hfgitr_el2: nGCS*, nBRB*
    }
    written = {op[1]: op[2] for op in ops if op[1] in wanted}
    assert written == dict(list(wanted.items())[:count])


@pytest.mark.parametrize(
    ("spsr", "offset", "ec"),
    [(0x3C5, 0x200, 0x25), (0x3C4, 0x000, 0x25), (0x000, 0x400, 0x24), (0x010, 0x600, 0x24)],
)
def test_an_injected_data_abort(
    memory: PhysicalMemory, mailbox: Mailbox, spsr: int, offset: int, ec: int
) -> None:
    esr = 0x24 << 26 | 1 << 25 | 1 << 24 | 1 << 6 | 0x07  # a store, ISV, translation fault
    trapped(memory, spsr=spsr, esr=esr, far=0xDEAD, elr=0x1234, vbar=0x8000, sctlr=1 << 23)
    assert registers.inject_abort(mailbox, 0x10) == [SET_EL1]
    assert el1_state(memory) == (0x1234, spsr, ec << 26 | 1 << 25 | 1 << 6 | 0x10, 0xDEAD)
    assert mailbox.elr == 0x8000 + offset
    assert mailbox.spsr & 0x3FF == 0x3C5


def test_an_exception_sets_pan_unless_the_kernel_says_otherwise(
    memory: PhysicalMemory, mailbox: Mailbox
) -> None:
    trapped(memory, spsr=0, esr=0x24 << 26, vbar=0, sctlr=0)
    registers.inject_abort(mailbox, 0x10)
    assert mailbox.spsr & 1 << 22
    trapped(memory, spsr=0, esr=0x24 << 26, vbar=0, sctlr=1 << 23)
    registers.inject_abort(mailbox, 0x10)
    assert not mailbox.spsr & 1 << 22


def test_an_hvc_is_undefined_where_it_stands(memory: PhysicalMemory, mailbox: Mailbox) -> None:
    trapped(memory, spsr=0x3C5, esr=0x16 << 26 | 1 << 25, elr=0x1004, vbar=0x8000)
    registers.inject_undefined(mailbox)
    assert el1_state(memory) == (0x1000, 0x3C5, 1 << 25, 0)


def test_the_faulting_address_has_all_its_bits(memory: PhysicalMemory, mailbox: Mailbox) -> None:
    trapped(memory, hpfar=(0x8_0000_0005_0000 >> 12) << 4, far=0xFFFF_0000_0000_0ABC)
    assert registers.faulting_ipa(mailbox) == 0x8_0000_0005_0ABC
