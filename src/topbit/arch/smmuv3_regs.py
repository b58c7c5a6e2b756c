"""What do the registers of an SMMUv3 say?

Source: Arm IHI0070 (H.a) chapter 6. Only what stage 2 and the queues need is named here;
SMMUv3_ROOT is the Root register page of an SMMU with granule protection checks.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

from topbit.arch.bitfield import Layout, aligned, bit, bits


class Reg(IntEnum):
    """At which offset of the SMMU's pages does a register stand? (IHI0070 6.2)"""

    IDR0 = 0x0
    IDR1 = 0x4
    IDR2 = 0x8
    IDR3 = 0xC
    IDR4 = 0x10
    IDR5 = 0x14
    IIDR = 0x18
    AIDR = 0x1C
    CR0 = 0x20
    CR0ACK = 0x24
    CR1 = 0x28
    CR2 = 0x2C
    STATUSR = 0x40
    GBPA = 0x44
    AGBPA = 0x48
    IRQ_CTRL = 0x50
    IRQ_CTRLACK = 0x54
    GERROR = 0x60
    GERRORN = 0x64
    GERROR_IRQ_CFG0 = 0x68
    GERROR_IRQ_CFG1 = 0x70
    GERROR_IRQ_CFG2 = 0x74
    STRTAB_BASE = 0x80
    STRTAB_BASE_CFG = 0x88
    CMDQ_BASE = 0x90
    CMDQ_PROD = 0x98
    CMDQ_CONS = 0x9C
    EVENTQ_BASE = 0xA0
    EVENTQ_IRQ_CFG0 = 0xB0
    EVENTQ_IRQ_CFG1 = 0xB8
    EVENTQ_IRQ_CFG2 = 0xBC
    EVENTQ_PROD = 0x100A8
    EVENTQ_CONS = 0x100AC


REG_64 = frozenset(
    {
        Reg.GERROR_IRQ_CFG0,
        Reg.STRTAB_BASE,
        Reg.CMDQ_BASE,
        Reg.EVENTQ_BASE,
        Reg.EVENTQ_IRQ_CFG0,
    }
)


class CR0(IntFlag):
    """What does SMMU_CR0 enable?"""

    SMMUEN = 1 << 0
    PRIQEN = 1 << 1
    EVENTQEN = 1 << 2
    CMDQEN = 1 << 3
    ATSCHK = 1 << 4


CR2_RECINVSID = 1 << 1
GBPA_ABORT = 1 << 20
GBPA_UPDATE = 1 << 31


class Gerror(IntFlag):
    """Which global error is active where SMMU_GERROR and SMMU_GERRORN differ?"""

    CMDQ_ERR = 1 << 0
    EVENTQ_ABT_ERR = 1 << 2


class StrtabBase(Layout):
    """Where does the stream table stand? (SMMU_STRTAB_BASE)"""

    ADDR = aligned(55, 6)
    RA = bit(62)


class StrtabBaseCfg(Layout):
    """Which form and size has the stream table? (SMMU_STRTAB_BASE_CFG)"""

    LOG2SIZE = bits(5, 0)
    SPLIT = bits(10, 6)
    FMT = bits(17, 16)


class QueueBase(Layout):
    """Where does a queue stand, and how many entries has it? (SMMU_CMDQ_BASE, _EVENTQ_BASE)"""

    LOG2SIZE = bits(4, 0)
    ADDR = aligned(55, 5)
    RA_WA = bit(62)


OVERFLOW = 1 << 31  # EVENTQ_PROD.OVFLG and EVENTQ_CONS.OVACKFLG
CMDQ_ERR_SHIFT = 24  # CMDQ_CONS.ERR is [30:24]


class IDR0(Layout):
    """Which features has the SMMU? (SMMU_IDR0)"""

    S2P = bit(0)
    S1P = bit(1)
    TTF = bits(3, 2)
    COHACC = bit(4)
    HTTU = bits(7, 6)
    ASID16 = bit(12)
    VMID16 = bit(18)
    TTENDIAN = bits(22, 21)
    STALL_MODEL = bits(25, 24)
    TERM_MODEL = bit(26)
    ST_LEVEL = bits(28, 27)
    RME_IMPL = bit(30)


class IDR1(Layout):
    """Which sizes has the SMMU? (SMMU_IDR1)"""

    SIDSIZE = bits(5, 0)
    EVENTQS = bits(20, 16)
    CMDQS = bits(25, 21)


class IDR3(Layout):
    """Which features of Armv8.4 and later has the SMMU? (SMMU_IDR3)"""

    RIL = bit(10)


class IDR5(Layout):
    """Which address sizes and granules has the SMMU? (SMMU_IDR5)"""

    OAS = bits(2, 0)
    GRAN4K = bit(4)
    GRAN16K = bit(5)
    GRAN64K = bit(6)
    DS = bit(7)


class RootReg(IntEnum):
    """At which offset of SMMUv3_ROOT does a register stand? (IHI0070 6.3.110 ff.)"""

    IDR0 = 0x0
    CR0 = 0x20
    CR0ACK = 0x24
    GPT_BASE = 0x28
    GPT_BASE_CFG = 0x30
    GPF_FAR = 0x38
    GPT_CFG_FAR = 0x40
    TLBI = 0x50
    TLBI_CTRL = 0x58


class GpfReason(IntEnum):
    """Who originated the access that a granule protection check refused?"""

    TRANSLATION = 1
    GERROR = 2
    TRANSACTION = 3


class RootGpfFar(Layout):
    """Which access did the granule protection check refuse first? (SMMU_ROOT_GPF_FAR, 6.3.116)

    FAULTCODE: the event type of an SMMU fetch (REASON TRANSLATION), or 0 command queue and
    2 event queue (REASON GERROR). FPAS: 0 Secure, 1 Non-secure, 2 Root, 3 Realm.
    """

    FAULT = bit(0)
    REASON = bits(3, 1)
    FAULTCODE = bits(11, 4)
    FADDR = aligned(55, 12)
    FPAS = bits(63, 62)
