"""How are the structures of device assignment laid out? (RMI 2.0)

Offsets are bytes from the start of the 4 KiB page that holds the structure.
Source: Arm DEN0137 2.0 beta 0, device assignment of 2.0-alp20.
"""

from __future__ import annotations

from enum import IntEnum

from topbit.arch.bitfield import Layout, bit, bits


class PdevParams:
    """Where does each field of RmiPdevParams stand?"""

    FLAGS = 0x0
    HB_BASE = 0x8
    PDEV_ID = 0x10
    ROUTING_ID = 0x18
    ID_INDEX = 0x20  # the certificate slot
    RID_BASE = 0x28
    RID_TOP = 0x30  # exclusive
    HASH_ALGO = 0x38


class PdevFlags(Layout):
    """What kind of physical device is it? (RmiPdevParams.flags)"""

    SPDM = bit(0)
    CATEGORY = bits(2, 1)

    ROOT_PORT = 0
    ENDPOINT_OFF_CHIP = 1
    ENDPOINT_ON_CHIP = 2


class PdevState(IntEnum):
    """In which state is a physical device? (RMI_PDEV_GET_STATE)"""

    NEW = 0
    NEEDS_KEY = 1
    HAS_KEY = 2
    READY = 3
    STOPPED = 4
    ERROR = 5


class PublicKeyParams:
    """Where does each field of RmiPublicKeyParams stand?"""

    KEY = 0x0
    METADATA = 0x400
    KEY_LEN = 0x800
    METADATA_LEN = 0x808
    ALGO = 0x810

    MAX_LEN = 1024


class KeyAlgorithm(IntEnum):
    """Which kind of public key is it? (RmiPublicKeyParams.algo)"""

    RSASSA_3072 = 0
    ECDSA_P256 = 1
    ECDSA_P384 = 2


class StreamParams:
    """Where does each field of RmiPdevStreamParams stand?"""

    FLAGS = 0x0
    STREAM_TYPE = 0x8
    PDEV_1 = 0x10
    PDEV_2 = 0x18
    IDE_SID = 0x20
    NUM_ADDR_RANGE = 0x28
    ADDR_RANGE = 0x100

    MAX_ADDR_RANGE = 16


class StreamType(IntEnum):
    """Between what is a stream, and how coherent is it? (RmiPdevStreamParams.stream_type)"""

    NON_TEE = 0
    NCOH = 1
    COH = 2
    NCOH_SYS = 3
    COH_SYS = 4


class VdevParams:
    """Where does each field of RmiVdevParams stand?"""

    FLAGS = 0x0
    VDEV_ID = 0x8
    TDI_ID = 0x10
    VSMMU_ADDR = 0x20
    VSID = 0x28
    NUM_ADDR_RANGE = 0x30
    ADDR_RANGE = 0x200  # pairs of base and top

    MAX_ADDR_RANGE = 8


class VdevState(IntEnum):
    """In which state is an assigned device interface? (RMI_VDEV_GET_STATE)"""

    NEW = 0
    UNLOCKED = 1
    LOCKED = 2
    STARTED = 3
    ERROR = 4
    KEY_REFRESH = 5
    KEY_PURGE = 6


class PsmmuParams:
    """Where does each field of RmiPsmmuParams stand?"""

    FLAGS = 0x0
    GERR_ADDR = 0x8
    GERR_DATA = 0x10
    EVENTQ_ADDR = 0x18
    EVENTQ_DATA = 0x20
    PRIQ_ADDR = 0x28
    PRIQ_DATA = 0x30

    FLAG_MSI = 1 << 0
    FLAG_ATS = 1 << 1
    FLAG_PRI = 1 << 2


class DevCommData:
    """Where does each field of RmiDevCommData stand? (the page of a COMMUNICATE call)"""

    ENTER_STATUS = 0x0
    REQ_ADDR = 0x8
    RESP_ADDR = 0x10
    RESP_LEN = 0x18
    EXIT = 0x800
    EXIT_FLAGS = 0x800
    CACHE_REQ_OFFSET = 0x808
    CACHE_REQ_LEN = 0x810
    CACHE_RSP_OFFSET = 0x818
    CACHE_RSP_LEN = 0x820
    CACHE_OBJ_ID = 0x828
    PROTOCOL = 0x830
    REQ_DELAY = 0x838
    REQ_LEN = 0x840
    TIMEOUT = 0x848


class CommStatus(IntEnum):
    """What has the host of the last request? (RmiDevCommEnter.status)"""

    NONE = 0
    RESPONSE = 1
    ERROR = 2


class CommExitFlags(Layout):
    """What shall the host do with a message? (RmiDevCommExit.flags)"""

    REQ_CACHE = bit(0)
    RSP_CACHE = bit(1)
    REQ_SEND = bit(2)
    RSP_WAIT = bit(3)
    RSP_RESET = bit(4)
    MULTI = bit(5)
    STREAM_WAIT = bit(6)


class CommObject(IntEnum):
    """What shall the host keep of what was said? (RmiDevCommExit.cache_obj_id)"""

    VCA = 0
    CERTIFICATE = 1
    MEASUREMENTS = 2
    INTERFACE_REPORT = 3


class CommProtocol(IntEnum):
    """How does a message travel? (RmiDevCommExit.protocol)"""

    SPDM = 0
    SECURE_SPDM = 1
