"""What do the structures of an SMMUv3 in memory say: stream tables, commands, event records?

Source: Arm IHI0070 (H.a): chapter 4 (commands), 5.2 (stream table entry), 7.3 (event records). Only
what stage 2 and the queues need is named here. Its registers are in `smmuv3_regs.py`.
"""

from __future__ import annotations

from enum import IntEnum

from topbit.arch.bitfield import Layout, aligned, bit, bits

STE_BYTES = 64
L1STD_BYTES = 8
COMMAND_BYTES = 16
EVENT_BYTES = 32


class Config(IntEnum):
    """Which stages does STE.Config enable? (0b001 to 0b011 are reserved and abort)"""

    ABORT = 0
    BYPASS = 4
    S1 = 5
    S2 = 6
    NESTED = 7


class STE(Layout, words=8):
    """How is the traffic of one StreamID translated? (IHI0070 5.2)"""

    V = bit(0)
    Config = bits(3, 1)
    S1ContextPtr = aligned(55, 6)
    MEV = bit(19, word=1)
    S2FWB = bit(25, word=1)
    EATS = bits(29, 28, word=1)
    STRW = bits(31, 30, word=1)
    SHCFG = bits(45, 44, word=1)
    S2VMID = bits(15, 0, word=2)
    S2T0SZ = bits(37, 32, word=2)
    S2SL0 = bits(39, 38, word=2)
    S2IR0 = bits(41, 40, word=2)
    S2OR0 = bits(43, 42, word=2)
    S2SH0 = bits(45, 44, word=2)
    S2TG = bits(47, 46, word=2)
    S2PS = bits(50, 48, word=2)
    S2AA64 = bit(51, word=2)
    S2ENDI = bit(52, word=2)
    S2AFFD = bit(53, word=2)
    S2PTW = bit(54, word=2)
    S2HD = bit(55, word=2)
    S2HA = bit(56, word=2)
    S2S = bit(57, word=2)
    S2R = bit(58, word=2)
    S2SL0_2 = bit(2, word=3)
    S2DS = bit(3, word=3)
    S2TTB = aligned(55, 4, word=3)
    MECID = bits(63, 48, word=4)


# STE.S2TG: granule shift by encoding; 0b11 is reserved.
S2TG_SHIFTS = {0: 12, 1: 16, 2: 14}
# STE.S2PS and SMMU_IDR5.OAS: address bits by encoding.
ADDRESS_BITS = {0: 32, 1: 36, 2: 40, 3: 42, 4: 44, 5: 48, 6: 52}


class L1STD(Layout):
    """Where does a part of a two-level stream table stand? (IHI0070 5.1)

    Span: 0 is invalid; n means 2^(n-1) STEs at L2Ptr.
    """

    Span = bits(4, 0)
    L2Ptr = aligned(55, 6)


class Opcode(IntEnum):
    """Which command does a command queue entry hold? (IHI0070 4.1.1)"""

    PREFETCH_CONFIG = 0x01
    PREFETCH_ADDR = 0x02
    CFGI_STE = 0x03
    CFGI_STE_RANGE = 0x04
    CFGI_CD = 0x05
    CFGI_CD_ALL = 0x06
    CFGI_VMS_PIDM = 0x07
    TLBI_NH_ALL = 0x10
    TLBI_NH_ASID = 0x11
    TLBI_NH_VA = 0x12
    TLBI_NH_VAA = 0x13
    TLBI_EL3_ALL = 0x18
    TLBI_EL3_VA = 0x1A
    TLBI_EL2_ALL = 0x20
    TLBI_EL2_ASID = 0x21
    TLBI_EL2_VA = 0x22
    TLBI_EL2_VAA = 0x23
    TLBI_S12_VMALL = 0x28
    TLBI_S2_IPA = 0x2A
    TLBI_NSNH_ALL = 0x30
    ATC_INV = 0x40
    PRI_RESP = 0x41
    RESUME = 0x44
    STALL_TERM = 0x45
    SYNC = 0x46


CFGI_ALL_RANGE = 31  # CFGI_STE_RANGE with this Range is CMD_CFGI_ALL


class Command(Layout, words=2):
    """What does one command queue entry ask for? (IHI0070 chapter 4)"""

    Opcode = bits(7, 0)
    SSec = bit(10)
    CS = bits(13, 12)
    StreamID = bits(63, 32)
    Leaf = bit(0, word=1)
    Range = bits(4, 0, word=1)
    NUM = bits(16, 12)
    SCALE = bits(25, 20)
    VMID = bits(47, 32)
    TTL = bits(9, 8, word=1)
    TG = bits(11, 10, word=1)
    Address = aligned(55, 12, word=1)


class CommandError(IntEnum):
    """Why did the command queue stop? (SMMU_CMDQ_CONS.ERR)"""

    NONE = 0
    ILL = 1
    ABT = 2
    ATC_INV_SYNC = 3


class EventType(IntEnum):
    """Which event does a record report? (IHI0070 7.3)"""

    F_UUT = 0x01
    C_BAD_STREAMID = 0x02
    F_STE_FETCH = 0x03
    C_BAD_STE = 0x04
    F_BAD_ATS_TREQ = 0x05
    F_STREAM_DISABLED = 0x06
    F_TRANSL_FORBIDDEN = 0x07
    C_BAD_SUBSTREAMID = 0x08
    F_CD_FETCH = 0x09
    C_BAD_CD = 0x0A
    F_WALK_EABT = 0x0B
    F_TRANSLATION = 0x10
    F_ADDR_SIZE = 0x11
    F_ACCESS = 0x12
    F_PERMISSION = 0x13
    F_TLB_CONFLICT = 0x20
    F_CFG_CONFLICT = 0x21
    E_PAGE_REQUEST = 0x24
    F_VMS_FETCH = 0x25


class FaultClass(IntEnum):
    """During which operation did a fault occur? (event record CLASS)"""

    CD = 0
    TT = 1
    IN = 2


class EventRecord(Layout, words=4):
    """What does a 32-byte event queue record say? (IHI0070 7.3)

    The fields that a type does not have are zero; `EVENT_FIELDS` lists those that it has.
    """

    Type = bits(7, 0)
    SSV = bit(11)
    SubstreamID = bits(31, 12)
    StreamID = bits(63, 32)
    STAG = bits(15, 0, word=1)  # Reason in the configuration faults
    GPCF = bit(16, word=1)
    Stall = bit(31, word=1)
    PnU = bit(33, word=1)
    InD = bit(34, word=1)
    RnW = bit(35, word=1)
    NSIPA = bit(38, word=1)
    S2 = bit(39, word=1)
    CLASS = bits(41, 40, word=1)
    TTRnW = bit(44, word=1)
    InputAddr = bits(63, 0, word=2)
    IPA = aligned(55, 12, word=3)
    FetchAddr = aligned(55, 3, word=3)

    @property
    def name(self) -> str:
        """What is the event called? ("0x7f" for a type that IHI0070 does not define)"""
        try:
            return EventType(self.Type).name
        except ValueError:
            return f"0x{self.Type:02x}"


_CLIENT = ("StreamID", "SSV", "SubstreamID")
_ACCESS = ("PnU", "InD", "RnW", "InputAddr")
_FAULT = (*_CLIENT, "STAG", "Stall", *_ACCESS, "NSIPA", "S2", "CLASS", "IPA")
EVENT_FIELDS: dict[EventType, tuple[str, ...]] = {
    EventType.F_UUT: (*_CLIENT, "STAG", *_ACCESS),
    EventType.C_BAD_STREAMID: _CLIENT,
    EventType.F_STE_FETCH: (*_CLIENT, "STAG", "GPCF", "FetchAddr"),
    EventType.C_BAD_STE: (*_CLIENT, "STAG"),
    EventType.F_WALK_EABT: (
        *_CLIENT,
        "STAG",
        "GPCF",
        *_ACCESS,
        "NSIPA",
        "S2",
        "CLASS",
        "FetchAddr",
    ),
    EventType.F_TRANSLATION: (*_FAULT, "TTRnW"),
    EventType.F_ADDR_SIZE: (*_FAULT, "TTRnW"),
    EventType.F_ACCESS: (*_FAULT, "TTRnW"),
    EventType.F_PERMISSION: (*_FAULT, "TTRnW"),
}
