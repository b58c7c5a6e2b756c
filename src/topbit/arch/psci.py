"""Which PSCI and SMCCC function has which number, and what do they answer?

Source: Arm DEN0022 (PSCI 1.1), DEN0028 (SMC calling convention 1.2).
"""

from __future__ import annotations

from enum import IntEnum


class Psci(IntEnum):
    """Which PSCI function is it? (function identifier in W0/X0)"""

    VERSION = 0x8400_0000
    CPU_SUSPEND_32 = 0x8400_0001
    CPU_OFF = 0x8400_0002
    CPU_ON_32 = 0x8400_0003
    AFFINITY_INFO_32 = 0x8400_0004
    SYSTEM_OFF = 0x8400_0008
    SYSTEM_RESET = 0x8400_0009
    FEATURES = 0x8400_000A
    CPU_SUSPEND_64 = 0xC400_0001
    CPU_ON_64 = 0xC400_0003
    AFFINITY_INFO_64 = 0xC400_0004


VERSION_1_1 = 0x0001_0001
SMCCC_VERSION = 0x8000_0000
SMCCC_ARCH_FEATURES = 0x8000_0001
SMCCC_1_2 = 0x0001_0002


def unsigned(value: int) -> int:
    """How does a negative return value stand in a 64-bit register?"""
    return value & 0xFFFF_FFFF_FFFF_FFFF


SUCCESS = 0
NOT_SUPPORTED = unsigned(-1)
INVALID_PARAMETERS = unsigned(-2)
DENIED = unsigned(-3)
ALREADY_ON = unsigned(-4)
ON_PENDING = unsigned(-5)
INTERNAL_FAILURE = unsigned(-6)
NOT_PRESENT = unsigned(-7)
DISABLED = unsigned(-8)
INVALID_ADDRESS = unsigned(-9)

AFFINITY_ON = 0
AFFINITY_OFF = 1
