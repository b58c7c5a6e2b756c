"""What differs between the revisions of RMI that this RMM speaks?

A revision is a table of what it has. `2.0` names the revision that TF-RMM of July 2026 speaks.
Sources: Arm DEN0137 1.0-rel0, 2.0 beta 0, 2.0-bet3; Linux include/linux/arm-smccc-rmi.h of October
2026 (2.0-bet3).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from topbit.arch.bitfield import Field
from topbit.arch.rmi import ExitReason, Rmi2
from topbit.arch.rmi_range import STATE_BET3, AddrRange
from topbit.arch.rsi import VERSION_1_0, VERSION_1_1

Abi: TypeAlias = Literal["1.0", "2.0", "2.0-beta0", "2.0-bet3"]


@dataclass(frozen=True, slots=True)
class Revision:
    """What has one revision of RMI?

    Attributes:
        name: how it is called.
        rmi, rsi: the versions that RMI_VERSION and RSI_VERSION answer.
        ranges: it is of the family of 2.0: ranges in place of single pages, stateful operations,
            activation, devices.
        gic_state: the run page holds the GIC's (RmiRecEnter.gicv3_*), and Realm parameters a VMID.
        vdev_requests: an RSI call about a device leaves to the host first, which names the VDEV.
        exit_reasons: the number of each reason that it has (RmiRecExit.exit_reason).
        range_state: which bits of a range descriptor hold its state.
        absent: calls of the family that it has not.
    """

    name: str
    rmi: int
    rsi: int
    ranges: bool
    gic_state: bool
    vdev_requests: bool
    exit_reasons: Mapping[ExitReason, int]
    range_state: Field
    absent: frozenset[Rmi2] = frozenset()


_ALL = {reason: int(reason) for reason in ExitReason}
_DEVICE_REASONS = {
    ExitReason.VDEV_REQUEST,
    ExitReason.DEV_MEM_MAP,
    ExitReason.VDEV_P2P_BINDING,
}
_CPU = {reason: number for reason, number in _ALL.items() if reason not in _DEVICE_REASONS}

RMI_1_0 = Revision(
    "1.0",
    rmi=0x1_0000,
    rsi=VERSION_1_0,
    ranges=False,
    gic_state=True,
    vdev_requests=False,
    exit_reasons=_CPU,
    range_state=AddrRange.STATE,
)
RMI_2_0_BETA0 = Revision(
    "2.0-beta0",
    rmi=0x2_0000,
    rsi=VERSION_1_1,
    ranges=True,
    gic_state=False,
    vdev_requests=True,
    exit_reasons=_ALL,
    range_state=AddrRange.STATE,
    absent=frozenset({Rmi2.RMM_STATE_GET}),
)
# Reason 8 is VDEV_VALIDATE_MAPPING there, what DEV_MEM_MAP was; 9 is none, 10 VSMMU_COMMAND.
RMI_2_0_BET3 = Revision(
    "2.0-bet3",
    rmi=0x2_0000,
    rsi=VERSION_1_1,
    ranges=True,
    gic_state=False,
    vdev_requests=False,
    exit_reasons={**_CPU, ExitReason.DEV_MEM_MAP: 8},
    range_state=STATE_BET3,
    absent=frozenset({Rmi2.VDEV_COMPLETE}),
)

REVISIONS: Mapping[Abi, Revision] = {
    "1.0": RMI_1_0,
    "2.0": RMI_2_0_BETA0,
    "2.0-beta0": RMI_2_0_BETA0,
    "2.0-bet3": RMI_2_0_BET3,
}
