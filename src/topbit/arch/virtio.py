"""How are virtio's split rings, MMIO registers and block requests laid out?

Source: OASIS Virtual I/O Device (VIRTIO) 1.2: 2.7 "Split Virtqueues", 4.2 "Virtio Over MMIO",
5.1 "Network Device", 5.2 "Block Device", 6 "Reserved Feature Bits". All little-endian.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

DESC_SIZE = 16  # le64 addr, le32 len, le16 flags, le16 next
DESC_F_NEXT = 1
DESC_F_WRITE = 2
AVAIL_F_NO_INTERRUPT = 1
AVAIL_HEADER = 4  # le16 flags, le16 idx; then le16 ring[]
USED_HEADER = 4  # le16 flags, le16 idx; then {le32 id, le32 len} ring[]
USED_ELEM_SIZE = 8

VIRTIO_BLK_F_SEG_MAX = 2
VIRTIO_NET_F_MAC = 5
VIRTIO_F_VERSION_1 = 32
VIRTIO_F_ACCESS_PLATFORM = 33

MMIO_MAGIC = 0x74726976  # "virt"
MMIO_VERSION = 2
ID_NET, ID_BLOCK, ID_CONSOLE, ID_ENTROPY = 1, 2, 3, 4


class Mmio(IntEnum):
    """Which virtio-mmio register stands at which offset? (4.2.2)"""

    MagicValue = 0x000
    Version = 0x004
    DeviceID = 0x008
    VendorID = 0x00C
    DeviceFeatures = 0x010
    DeviceFeaturesSel = 0x014
    DriverFeatures = 0x020
    DriverFeaturesSel = 0x024
    QueueSel = 0x030
    QueueNumMax = 0x034
    QueueNum = 0x038
    QueueReady = 0x044
    QueueNotify = 0x050
    InterruptStatus = 0x060
    InterruptACK = 0x064
    Status = 0x070
    QueueDescLow = 0x080
    QueueDescHigh = 0x084
    QueueDriverLow = 0x090
    QueueDriverHigh = 0x094
    QueueDeviceLow = 0x0A0
    QueueDeviceHigh = 0x0A4
    ConfigGeneration = 0x0FC
    Config = 0x100


class Status(IntFlag):
    """Which bits has the device status field? (2.1)"""

    ACKNOWLEDGE = 1
    DRIVER = 2
    DRIVER_OK = 4
    FEATURES_OK = 8
    NEEDS_RESET = 64
    FAILED = 128


class BlkType(IntEnum):
    """What does a block request ask for? (5.2.6)"""

    IN = 0
    OUT = 1
    FLUSH = 4
    GET_ID = 8


class BlkStatus(IntEnum):
    """How did a block request end? (5.2.6)"""

    OK = 0
    IOERR = 1
    UNSUPP = 2


NET_HEADER_SIZE = 12  # struct virtio_net_hdr with num_buffers, which VERSION_1 always has
BLK_HEADER_SIZE = 16  # le32 type, le32 reserved, le64 sector
SECTOR = 512
