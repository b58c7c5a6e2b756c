"""Which EL2 registers make a vCPU a Realm's, and how does it take an exception?

Everything is a list of operations (`mailbox.Op`) for the EL2 program.
Source: Arm DDI0487 (D1.3 exception entry, D24 system registers); DEN0137 A5.4 "Realm exception
model" for what is injected when.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

from topbit.arch.esr import ESR_CM, ESR_IL, ESR_WNR
from topbit.arch.ipa import Ipa, Pa
from topbit.arch.stage2 import Geometry, Granule
from topbit.machine.qemu.el2.cpu_model import CpuFeatures
from topbit.machine.qemu.el2.mailbox import SET_EL1, TLBI_ALL, Mailbox, Op, Ops, execute

_SYSTEM_REGISTERS = {  # op0, op1, CRn, CRm, op2
    "ID_AA64PFR0_EL1": (3, 0, 0, 4, 0),
    "ID_AA64PFR1_EL1": (3, 0, 0, 4, 1),
    "ID_AA64MMFR0_EL1": (3, 0, 0, 7, 0),
    "ID_AA64MMFR1_EL1": (3, 0, 0, 7, 1),
    "ID_AA64MMFR2_EL1": (3, 0, 0, 7, 2),
    "SCTLR_EL2": (3, 4, 1, 0, 0),
    "HCR_EL2": (3, 4, 1, 1, 0),
    "HCRX_EL2": (3, 4, 1, 2, 2),
    "CPTR_EL2": (3, 4, 1, 1, 2),
    "HFGRTR_EL2": (3, 4, 1, 1, 4),
    "HFGWTR_EL2": (3, 4, 1, 1, 5),
    "HFGITR_EL2": (3, 4, 1, 1, 6),
    "VTTBR_EL2": (3, 4, 2, 1, 0),
    "VTCR_EL2": (3, 4, 2, 1, 2),
    "ICC_SRE_EL2": (3, 4, 12, 9, 5),
    "CNTHCTL_EL2": (3, 4, 14, 1, 0),
    "CNTVOFF_EL2": (3, 4, 14, 0, 3),
}

_HCR_RW = 1 << 31
_HCR_TSC = 1 << 19
_HCR_VM = 1 << 0
_HCR_APK_API = 3 << 40
_HCR_FWB = 1 << 46
_HCR_ENSCXT = 1 << 53
_HCR_ATA = 1 << 56
_HCR = _HCR_RW | _HCR_TSC | _HCR_VM | _HCR_APK_API | _HCR_FWB | _HCR_ENSCXT | _HCR_ATA

# The registers and instructions of MOPS, TCR2, SCTLR2, GCS and FPMR are the guest's; for what the
# model lacks the bit is RES0.
_HCRX = 1 << 11 | 1 << 14 | 1 << 15 | 1 << 22 | 1 << 23
_NO_REGISTER_TRAPS = 0xFFF4 << 48  # HFGRTR_EL2, HFGWTR_EL2: bits that are set to not trap
_NO_INSTRUCTION_TRAPS = 0x1F << 55  # HFGITR_EL2: so for BRBE and GCS

EL1H_MASKED = 0x3C5  # EL1h, DAIF set: how a vCPU starts, and how it takes an exception
_WFI = 0xD503_207F


class ExceptionClass(IntEnum):
    """Why did the guest trap? ESR_EL2[31:26]"""

    UNKNOWN = 0x00
    HVC64 = 0x16
    SMC64 = 0x17
    INSTRUCTION_ABORT_LOWER = 0x20
    INSTRUCTION_ABORT_SAME = 0x21
    DATA_ABORT_LOWER = 0x24
    DATA_ABORT_SAME = 0x25


def msr(register: str, value: int) -> Op:
    """Set a system register of the vCPU."""
    return execute(0xD510_0000 | _encoding(register), value)


def mrs(register: str) -> Op:
    """Read a system register of the vCPU; the result is its value."""
    return execute(0xD530_0000 | _encoding(register))


WAIT_FOR_INTERRUPT = execute(_WFI)


def vtcr(ipa_bits: int, start_level: int) -> int:
    """Which VTCR_EL2 describes a 4K stage 2 of `ipa_bits` that starts at `start_level`?

    Beyond 48 bits the descriptors are those of FEAT_LPA2.
    """
    wide = ipa_bits > 48
    return Geometry(ipa_bits, start_level, Granule(12, ds=wide), 52 if wide else 44).vtcr()


def setup(features: CpuFeatures, ipa_bits: int, start_level: int, root: Pa, vmid: int) -> Ops:
    """Which operations make a freshly started vCPU ready for a Realm's stage 2?

    Args:
        features: of the vCPU; what it does not have is not set.
        ipa_bits: width of the Realm's IPA space.
        start_level: level of its root table.
        root: physical address of the root table.
        vmid: the Realm's VMID.
    """
    optional = [
        (features.hcx, "HCRX_EL2", _HCRX),
        (features.fgt, "HFGRTR_EL2", _NO_REGISTER_TRAPS),
        (features.fgt, "HFGWTR_EL2", _NO_REGISTER_TRAPS),
        (features.fgt, "HFGITR_EL2", _NO_INSTRUCTION_TRAPS),
    ]
    return [
        msr("SCTLR_EL2", 0x30C5_0830),
        msr("CPTR_EL2", 0x22FF),  # FP and SIMD are the guest's
        msr("CNTHCTL_EL2", 3),  # so are the physical counter and timer
        msr("CNTVOFF_EL2", 0),
        msr("ICC_SRE_EL2", 0xF),
        *(msr(register, value) for there, register, value in optional if there),
        msr("VTCR_EL2", vtcr(ipa_bits, start_level)),
        msr("VTTBR_EL2", vmid << 48 | root),
        msr("HCR_EL2", _HCR),
        TLBI_ALL,
    ]


def enter(mailbox: Mailbox, pc: int, x: Mapping[int, int]) -> None:
    """Make the vCPU go on at `pc`, at EL1 with interrupts masked; the other registers are 0."""
    mailbox.elr = pc
    mailbox.spsr = EL1H_MASKED
    for n in range(31):
        mailbox.x[n] = x.get(n, 0)


def exception_class(esr: int) -> int:
    """Which exception class does a syndrome name?"""
    return esr >> 26 & 0x3F


def faulting_ipa(mailbox: Mailbox) -> Ipa:
    """Which IPA did an abort to EL2 name? (HPFAR_EL2 holds the page, FAR_EL2 the offset)"""
    return Ipa((mailbox.hpfar & 0xFFF_FFFF_FFF0) << 8 | mailbox.far & 0xFFF)


def inject_abort(mailbox: Mailbox, fsc: int) -> Ops:
    """Which operations let the guest take the abort that it caused as its own, at EL1?

    Args:
        mailbox: of a vCPU that trapped with an instruction or data abort.
        fsc: the fault status code that it shall see (0x10: synchronous external abort).
    """
    esr = mailbox.esr
    data = exception_class(esr) == ExceptionClass.DATA_ABORT_LOWER
    from_el1 = mailbox.spsr & 0xF != 0
    new = ExceptionClass.DATA_ABORT_LOWER if data else ExceptionClass.INSTRUCTION_ABORT_LOWER
    kept = esr & (ESR_IL | (ESR_CM | ESR_WNR if data else 0))
    return _inject(mailbox, (new + from_el1) << 26 | kept | fsc, mailbox.far)


def inject_undefined(mailbox: Mailbox) -> Ops:
    """Which operations let the guest take its trapped instruction as undefined, at EL1?"""
    if exception_class(mailbox.esr) == ExceptionClass.HVC64:
        mailbox.elr -= 4  # the return address of an HVC is behind it
    return _inject(mailbox, ESR_IL, 0)


def _inject(mailbox: Mailbox, esr: int, far: int) -> Ops:
    """Take an exception to EL1 (DDI0487 AArch64.TakeException, what EL1 can observe of it)."""
    sctlr, spsr = mailbox.sctlr_el1, mailbox.spsr
    mailbox.take_exception(mailbox.elr, spsr, esr, far)
    if spsr & 0x10:
        offset = 0x600  # AArch32 EL0
    elif spsr & 0xC == 0:
        offset = 0x400
    else:
        offset = 0x200 if spsr & 1 else 0x000
    kept = spsr & (0xF << 28 | 1 << 24 | 1 << 22)  # NZCV, DIT, PAN
    pan = 0 if sctlr & 1 << 23 else 1 << 22  # SCTLR_EL1.SPAN
    ssbs = 1 << 12 if sctlr & 1 << 44 else 0  # SCTLR_EL1.DSSBS
    mailbox.elr = mailbox.vbar_el1 + offset & 0xFFFF_FFFF_FFFF_FFFF
    mailbox.spsr = EL1H_MASKED | kept | pan | ssbs | 1 << 25  # TCO
    return [SET_EL1]


def _encoding(register: str) -> int:
    op0, op1, crn, crm, op2 = _SYSTEM_REGISTERS[register]
    return (op0 - 2) << 19 | op1 << 16 | crn << 12 | crm << 8 | op2 << 5
