"""Which RMI command has which number, and how are its statuses and structures laid out?

Source: Arm DEN0137, Realm Management Monitor specification, 1.0-rel0 (RMI) and 2.0 beta (range
calls, devices). Offsets are bytes from the start of the 4 KiB page that holds the structure.
"""

from __future__ import annotations

from enum import IntEnum

from topbit.arch.bitfield import Layout, aligned, bit, bits

SMC64 = 0xC400_0000


class Rmi(IntEnum):
    """Which RMI command is it? (function identifier in X0, SMC64 fast call)"""

    VERSION = SMC64 | 0x150
    GRANULE_DELEGATE = SMC64 | 0x151
    GRANULE_UNDELEGATE = SMC64 | 0x152
    DATA_CREATE = SMC64 | 0x153
    DATA_CREATE_UNKNOWN = SMC64 | 0x154
    DATA_DESTROY = SMC64 | 0x155
    REALM_ACTIVATE = SMC64 | 0x157
    REALM_CREATE = SMC64 | 0x158
    REALM_DESTROY = SMC64 | 0x159
    REC_CREATE = SMC64 | 0x15A
    REC_DESTROY = SMC64 | 0x15B
    REC_ENTER = SMC64 | 0x15C
    RTT_CREATE = SMC64 | 0x15D
    RTT_DESTROY = SMC64 | 0x15E
    RTT_MAP_UNPROTECTED = SMC64 | 0x15F
    RTT_READ_ENTRY = SMC64 | 0x161
    RTT_UNMAP_UNPROTECTED = SMC64 | 0x162
    PSCI_COMPLETE = SMC64 | 0x164
    FEATURES = SMC64 | 0x165
    RTT_FOLD = SMC64 | 0x166
    REC_AUX_COUNT = SMC64 | 0x167
    RTT_INIT_RIPAS = SMC64 | 0x168
    RTT_SET_RIPAS = SMC64 | 0x169


class Rmi2(IntEnum):
    """Which command does RMI 2.0 rename or add? (numbers it shares with 1.0 are not repeated)"""

    RTT_DATA_MAP_INIT = SMC64 | 0x153
    RTT_DEV_VALIDATE = SMC64 | 0x163
    RMM_CONFIG_SET = SMC64 | 0x16E
    PDEV_CREATE = SMC64 | 0x176
    PDEV_DESTROY = SMC64 | 0x177
    VDEV_CREATE = SMC64 | 0x187
    VDEV_DESTROY = SMC64 | 0x188
    VDEV_GET_STATE = SMC64 | 0x189
    VDEV_UNLOCK = SMC64 | 0x18A
    VDEV_LOCK = SMC64 | 0x1D2
    VDEV_START = SMC64 | 0x1D3
    GRANULE_RANGE_DELEGATE = SMC64 | 0x1F1
    GRANULE_RANGE_UNDELEGATE = SMC64 | 0x1F2
    RTT_DATA_MAP = SMC64 | 0x1F5
    RTT_DATA_UNMAP = SMC64 | 0x1F6
    RTT_DEV_MAP = SMC64 | 0x1F7
    RTT_DEV_UNMAP = SMC64 | 0x1F8
    RTT_UNPROT_MAP = SMC64 | 0x1FB
    RTT_UNPROT_UNMAP = SMC64 | 0x1FC
    REALM_TERMINATE = SMC64 | 0x201
    RMM_ACTIVATE = SMC64 | 0x202


class RmiStatus(IntEnum):
    """How did an RMI command end? (X0[7:0]; X0[15:8] holds an index, for ERROR_RTT the level)"""

    SUCCESS = 0
    ERROR_INPUT = 1
    ERROR_REALM = 2
    ERROR_REC = 3
    ERROR_RTT = 4
    NOT_SUPPORTED = 5
    ERROR_DEVICE = 6
    RTT_AUX = 7
    PSMMU_ST = 8
    DPT = 9
    BUSY = 10
    ERROR_GLOBAL = 11
    TRACKING = 12
    INCOMPLETE = 13
    BLOCKED = 14
    ERROR_GPT = 15
    ERROR_GRANULE = 16


UNKNOWN_FUNCTION = 0xFFFF_FFFF_FFFF_FFFF  # SMCCC: no such function


def status(result: int) -> RmiStatus:
    """Which status does X0 hold?"""
    return RmiStatus(result & 0xFF)


def index(result: int) -> int:
    """Which index (RTT level, Realm state) does X0 hold?"""
    return result >> 8 & 0xFF


class RttState(IntEnum):
    """In which state is an RTT entry? (RTT_READ_ENTRY, X2)"""

    UNASSIGNED = 0
    ASSIGNED = 1
    TABLE = 2
    ASSIGNED_DEV = 3


class Ripas(IntEnum):
    """What does the Realm expect at a protected IPA? (RMM specification, Realm IPA state)"""

    EMPTY = 0
    RAM = 1
    DESTROYED = 2
    DEV = 3


class ExitReason(IntEnum):
    """Why did a REC return to the host? (RmiRecExit.exit_reason)"""

    SYNC = 0
    IRQ = 1
    FIQ = 2
    PSCI = 3
    RIPAS_CHANGE = 4
    HOST_CALL = 5
    SERROR = 6
    S2AP_CHANGE = 7
    VDEV_REQUEST = 8
    VDEV_MAP = 9


class AddrRange(Layout):
    """Which physical blocks does one range descriptor name? (RmiAddrRangeDesc4KB, 2.0)"""

    SIZE = bits(1, 0)  # 0: 4 KiB (level 3), 1: 2 MiB, 2: 1 GiB
    COUNT = bits(11, 2)
    ADDR = aligned(51, 12)
    STATE = bit(63)

    DELEGATED = 0
    UNDELEGATED = 1
    MAX_COUNT = 1023


class MapFlags(Layout):
    """What do the flags of the 2.0 map and unmap calls say? (MEMATTR, S2AP: RTT_UNPROT_MAP)"""

    OADDR_TYPE = bits(1, 0)
    LIST_COUNT = bits(15, 2)
    MEMATTR = bits(18, 16)
    S2AP_WRITE = bit(19)
    S2AP_READ = bit(20)

    NONE = 0
    SINGLE = 1
    LIST = 2


class VdevParams:
    """Where does each field of RmiVdevParams stand? (2.0)"""

    FLAGS = 0x0
    VDEV_ID = 0x8
    TDI_ID = 0x10


class RealmParams:
    """Where does each field of RmiRealmParams stand?"""

    FLAGS0 = 0x0
    S2SZ = 0x8
    SVE_VL = 0x10
    NUM_BPS = 0x18
    NUM_WPS = 0x20
    PMU_NUM_CTRS = 0x28
    HASH_ALGO = 0x30
    RPV = 0x400
    VMID = 0x800
    RTT_BASE = 0x808
    RTT_LEVEL_START = 0x810
    RTT_NUM_START = 0x818
    FLAGS1 = 0x820

    FLAG_LPA2 = 1 << 0
    FLAG_SVE = 1 << 1
    FLAG_PMU = 1 << 2


class RecParams:
    """Where does each field of RmiRecParams stand?"""

    FLAGS = 0x0
    MPIDR = 0x100
    PC = 0x200
    GPRS = 0x300
    NUM_AUX = 0x800
    AUX = 0x808

    FLAG_RUNNABLE = 1 << 0
    NUM_GPRS = 8
    MAX_AUX = 16


class RecEnter:
    """Where does each field of RmiRecEnter (first half of the run page) stand?"""

    FLAGS = 0x0
    GPRS = 0x200
    GICV3_HCR = 0x300  # 1.0; the list registers follow

    EMUL_MMIO = 1 << 0
    INJECT_SEA = 1 << 1
    TRAP_WFI = 1 << 2
    TRAP_WFE = 1 << 3
    RIPAS_RESPONSE = 1 << 4


class RecExit:
    """Where does each field of RmiRecExit (second half of the run page) stand?"""

    BASE = 0x800
    REASON = 0x800
    ESR = 0x900
    FAR = 0x908
    HPFAR = 0x910
    GPRS = 0xA00
    RIPAS_BASE = 0xD00
    RIPAS_TOP = 0xD08
    RIPAS_VALUE = 0xD10
    IMM = 0xE00

    NUM_GPRS = 31


class Feature0:
    """Which bit of RMI feature register 0 says what?"""

    S2SZ = 0
    LPA2 = 8
    NUM_BPS = 14
    NUM_WPS = 20
    HASH_SHA_256 = 32
    HASH_SHA_512 = 33
    GICV3_NUM_LRS = 34
    MAX_RECS_ORDER = 38


HASH_SHA_256 = 0
HASH_SHA_512 = 1
