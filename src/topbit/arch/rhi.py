"""Which services does a Realm ask of its host, by RSI_HOST_CALL, for a device?

Source: Arm DEN0148, Realm Host Interface, device assignment (RHI_DA); Linux, "ARM CCA Device
Assignment support" (2025), asm/rhi.h.
"""

from __future__ import annotations

from enum import IntEnum

SMC64 = 0xC500_0000
DA_VDEV_SET_TDI_STATE = SMC64 | 0x54  # X1: device, X2: RhiTdiState


class RhiTdiState(IntEnum):
    """Into which state shall the host bring an interface?"""

    CONFIG_UNLOCKED = 0
    CONFIG_LOCKED = 1
    RUN = 2


class RhiDaStatus(IntEnum):
    """What became of it? (X0)"""

    SUCCESS = 0
    ERROR_INVALID_VDEV_ID = 3
    ERROR_INPUT = 5
    ERROR_DEVICE = 6
