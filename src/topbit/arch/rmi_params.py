"""Where does each field of the structures stand that host and RMM share about Realms and RECs?

Offsets are bytes from the start of the 4 KiB page that holds the structure.
Source: Arm DEN0137 1.0-rel0 and 2.0 beta 0; what only one of them has says so.
"""

from __future__ import annotations

from topbit.arch.bitfield import Layout, bit, bits


class RmmConfig:
    """Where does each field of RmiRmmConfig stand? (2.0)"""

    TRACKING_REGION_SIZE = 0x0  # 0: 1 GiB
    RMI_GRANULE_SIZE = 0x8  # 0: 4 KiB, 1: 16 KiB, 2: 64 KiB


class RealmParams:
    """Where does each field of RmiRealmParams stand?"""

    FLAGS0 = 0x0
    S2SZ = 0x8
    SVE_VL = 0x10
    NUM_BPS = 0x18
    NUM_WPS = 0x20
    PMU_NUM_CTRS = 0x28
    HASH_ALGO = 0x30
    NUM_AUX_PLANES = 0x38  # 2.0
    RPV = 0x400
    ATS_PLANE = 0x440  # 2.0
    VMID = 0x800  # 1.0
    RTT_BASE = 0x808
    RTT_LEVEL_START = 0x810
    RTT_NUM_START = 0x818
    FLAGS1 = 0x820
    AUX_RTT_BASE = 0xF80  # 2.0, one for each auxiliary plane

    RPV_SIZE = 64


class RealmFlags0(Layout):
    """What does the host want of a Realm? (RmiRealmParams.flags0; DA and MEC_POLICY: 2.0)"""

    LPA2 = bit(0)
    SVE = bit(1)
    PMU = bit(2)
    DA = bit(3)
    MEC_POLICY = bits(8, 7)

    MEC_SHARED = 0
    MEC_PRIVATE = 1


class RealmFlags1(Layout):
    """What does the host want of a Realm's planes? (RmiRealmParams.flags1, 2.0)"""

    RTT_TREE_PP = bit(0)
    RTT_S2AP_INDIRECT = bit(1)


class RecParams:
    """Where does each field of RmiRecParams stand?"""

    FLAGS = 0x0
    MPIDR = 0x100
    PC = 0x200
    GPRS = 0x300
    NUM_AUX = 0x800  # 1.0; in 2.0 the host donates the auxiliary granules
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
    RIPAS_RESPONSE = 1 << 4  # set: the host rejects
    DEV_MEM_RESPONSE = 1 << 6  # 2.0; set: the host rejects


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
    VDEV_ID_1 = 0xD30  # from here on 2.0
    VDEV_ID_2 = 0xD38
    DEV_MEM_BASE = 0xD40
    DEV_MEM_TOP = 0xD48
    DEV_MEM_PA = 0xD50
    IMM = 0xE00

    NUM_GPRS = 31


class Feature0(Layout):
    """What does feature register 0 say? (RMI_FEATURES, 1.0)"""

    S2SZ = bits(7, 0)
    LPA2 = bit(8)
    SVE_EN = bit(9)
    SVE_VL = bits(13, 10)
    NUM_BPS = bits(19, 14)
    NUM_WPS = bits(25, 20)
    PMU_EN = bit(26)
    PMU_NUM_CTRS = bits(31, 27)
    HASH_SHA_256 = bit(32)
    HASH_SHA_512 = bit(33)
    GICV3_NUM_LRS = bits(37, 34)
    MAX_RECS_ORDER = bits(41, 38)


class Feature1(Layout):
    """What does feature register 1 say? (2.0, where register 0 ends with PMU_NUM_CTRS)"""

    RMI_GRAN_SZ_4KB = bit(0)
    RMI_GRAN_SZ_16KB = bit(1)
    RMI_GRAN_SZ_64KB = bit(2)
    HASH_SHA_256 = bit(3)
    HASH_SHA_384 = bit(4)
    HASH_SHA_512 = bit(5)
    MAX_RECS_ORDER = bits(9, 6)
    L0GPTSZ = bits(13, 10)
    PPS = bits(16, 14)


class Feature2(Layout):
    """What does feature register 2 say of devices? (2.0)"""

    DA_EN = bit(0)
    DA_COH = bit(1)
    VSMMU = bit(2)
    ATS = bit(3)
    MAX_VDEVS_ORDER = bits(7, 4)
    VDEV_KROU = bit(8)
    NON_TEE_STREAM = bit(9)


class Feature3(Layout):
    """What does feature register 3 say of planes? (2.0)"""

    MAX_NUM_AUX_PLANES = bits(3, 0)
    RTT_PLANE = bits(5, 4)
    RTT_S2AP_INDIRECT = bit(6)


HASH_SHA_256 = 0
HASH_SHA_512 = 1
HASH_SHA_384 = 2  # 2.0
