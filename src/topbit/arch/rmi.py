"""Which RMI command has which number, and how do commands, entries and exits of RECs answer?

The structures in memory are in `rmi_params.py` and `rmi_da.py`, range descriptors and memory
requests in `rmi_range.py`, what differs between revisions in `rmi_revision.py`.
Source: Arm DEN0137, Realm Management Monitor specification, 1.0-rel0 (RMI), 2.0 beta 0 (range
calls, stateful operations, devices) and, for the numbers that only it has, 2.0-bet3.
"""

from __future__ import annotations

from enum import IntEnum

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
    PDEV_ABORT = SMC64 | 0x174
    PDEV_COMMUNICATE = SMC64 | 0x175
    PDEV_CREATE = SMC64 | 0x176
    PDEV_DESTROY = SMC64 | 0x177
    PDEV_GET_STATE = SMC64 | 0x178
    PDEV_STREAM_KEY_REFRESH = SMC64 | 0x17A
    PDEV_SET_PUBKEY = SMC64 | 0x17B
    PDEV_STOP = SMC64 | 0x17C
    VDEV_ABORT = SMC64 | 0x185
    VDEV_COMMUNICATE = SMC64 | 0x186
    VDEV_CREATE = SMC64 | 0x187
    VDEV_DESTROY = SMC64 | 0x188
    VDEV_GET_STATE = SMC64 | 0x189
    VDEV_UNLOCK = SMC64 | 0x18A
    RTT_SET_S2AP = SMC64 | 0x18B
    VDEV_COMPLETE = SMC64 | 0x18E  # not in 2.0-bet3
    VDEV_GET_INTERFACE_REPORT = SMC64 | 0x1D0
    VDEV_GET_MEASUREMENTS = SMC64 | 0x1D1
    VDEV_LOCK = SMC64 | 0x1D2
    VDEV_START = SMC64 | 0x1D3
    PSMMU_ACTIVATE = SMC64 | 0x1D7
    PSMMU_DEACTIVATE = SMC64 | 0x1D8
    PSMMU_ST_L2_CREATE = SMC64 | 0x1DB
    PSMMU_ST_L2_DESTROY = SMC64 | 0x1DC
    GRANULE_TRACKING_GET = SMC64 | 0x1E1
    RMM_CONFIG_GET = SMC64 | 0x1EC
    RMM_STATE_GET = SMC64 | 0x1EE  # 2.0-bet3
    GRANULE_RANGE_DELEGATE = SMC64 | 0x1F1
    GRANULE_RANGE_UNDELEGATE = SMC64 | 0x1F2
    GPT_L1_CREATE = SMC64 | 0x1F3
    RTT_DATA_MAP = SMC64 | 0x1F5
    RTT_DATA_UNMAP = SMC64 | 0x1F6
    RTT_DEV_MAP = SMC64 | 0x1F7
    RTT_DEV_UNMAP = SMC64 | 0x1F8
    RTT_UNPROT_MAP = SMC64 | 0x1FB
    RTT_UNPROT_UNMAP = SMC64 | 0x1FC
    REALM_TERMINATE = SMC64 | 0x201
    RMM_ACTIVATE = SMC64 | 0x202
    OP_CONTINUE = SMC64 | 0x203
    PDEV_STREAM_CONNECT = SMC64 | 0x204
    PDEV_STREAM_DISCONNECT = SMC64 | 0x205
    PDEV_STREAM_COMPLETE = SMC64 | 0x206
    PDEV_STREAM_KEY_PURGE = SMC64 | 0x207
    OP_MEM_DONATE = SMC64 | 0x208
    OP_MEM_RECLAIM = SMC64 | 0x209
    OP_CANCEL = SMC64 | 0x20A


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
    """Why did a REC return to the host?

    The values are those of RmiRecExit.exit_reason in 1.0 and 2.0 beta 0; `Revision.exit_reasons`
    has the numbers of any revision.
    """

    SYNC = 0
    IRQ = 1
    FIQ = 2
    PSCI = 3
    RIPAS_CHANGE = 4
    HOST_CALL = 5
    SERROR = 6
    S2AP_CHANGE = 7
    VDEV_REQUEST = 8
    DEV_MEM_MAP = 9
    VDEV_P2P_BINDING = 10


class MemoryCategory(IntEnum):
    """Which kind of memory is at an address? (RMI_GRANULE_TRACKING_GET, X1)"""

    CONVENTIONAL = 0
    DEV_NCOH = 1
    DEV_COH = 2


class Tracking(IntEnum):
    """How does the RMM keep track of a region? (RMI_GRANULE_TRACKING_GET, X2)"""

    NONE = 1
    FINE = 2
    COARSE = 3
