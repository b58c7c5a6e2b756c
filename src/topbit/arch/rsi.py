"""Which RSI command has which number, and how are its statuses and structures laid out?

Source: Arm DEN0137, Realm Management Monitor specification, 1.0-rel0 and 2.0 beta (RSI 1.1).
"""

from __future__ import annotations

from enum import IntEnum

SMC64 = 0xC400_0000


class Rsi(IntEnum):
    """Which RSI command is it? (function identifier in X0)"""

    VERSION = SMC64 | 0x190
    FEATURES = SMC64 | 0x191
    MEASUREMENT_READ = SMC64 | 0x192
    MEASUREMENT_EXTEND = SMC64 | 0x193
    ATTESTATION_TOKEN_INIT = SMC64 | 0x194
    ATTESTATION_TOKEN_CONTINUE = SMC64 | 0x195
    REALM_CONFIG = SMC64 | 0x196
    IPA_STATE_SET = SMC64 | 0x197
    IPA_STATE_GET = SMC64 | 0x198
    HOST_CALL = SMC64 | 0x199
    VDEV_DMA_ENABLE = SMC64 | 0x19C
    VDEV_GET_INFO = SMC64 | 0x19D
    VDEV_VALIDATE_MAPPING = SMC64 | 0x19F
    VDEV_DMA_DISABLE = SMC64 | 0x1A4


class RsiStatus(IntEnum):
    """How did an RSI command end? (X0)"""

    SUCCESS = 0
    ERROR_INPUT = 1
    ERROR_STATE = 2
    INCOMPLETE = 3
    ERROR_UNKNOWN = 4
    ERROR_DEVICE = 5


ACCEPT = 0
REJECT = 1
CHANGE_DESTROYED = 1 << 0  # RSI_IPA_STATE_SET flags

VERSION_1_0 = 0x1_0000
VERSION_1_1 = 0x1_0001


class RealmConfig:
    """Where does each field of RsiRealmConfig (4 KiB) stand?"""

    IPA_WIDTH = 0x0
    HASH_ALGO = 0x8
    NUM_AUX_PLANES = 0x10
    GICV3_VTR = 0x18
    RPV = 0x200


class VdevInfo:
    """Where does each field of RsiVdevInfo (512 bytes, so aligned) stand? (2.0)"""

    FLAGS = 0x0
    CERT_ID = 0x8
    HASH_ALGO = 0x10
    LOCK_NONCE = 0x18
    MEAS_NONCE = 0x20
    REPORT_NONCE = 0x28
    FORMAT_TYPE = 0x30
    FORMAT_VERSION = 0x38
    STATE = 0x40
    VCA_DIGEST = 0x80
    CERT_DIGEST = 0xC0
    PUBKEY_DIGEST = 0x100
    MEAS_DIGEST = 0x140
    REPORT_DIGEST = 0x180
    VSMMU_ADDR = 0x1C0
    VSMMU_VSID = 0x1C8

    SIZE = 512
    DIGEST_SIZE = 64
    FORMAT_TDISP = 1
    TDISP_1_0 = 0x1_0000


class RsiVdevState(IntEnum):
    """In which state is a device interface, as the Realm is told? (RsiVdevInfo.state)"""

    UNLOCKED = 0
    LOCKED = 1
    STARTED = 2
    ERROR = 3


FEATURE_DA = 1 << 0  # RSI_FEATURES, register 0


class HostCall:
    """Where does each field of RsiHostCall (256 bytes, so aligned) stand?"""

    IMM = 0x0
    GPRS = 0x8
    NUM_GPRS = 31
    SIZE = 0x100


NUM_MEASUREMENTS = 5  # index 0 is the RIM, 1..4 the REMs
MAX_MEASUREMENT = 64
