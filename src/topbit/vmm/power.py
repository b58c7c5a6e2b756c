"""What does a Realm's PSCI call ask of its host?

The RMM answers what it can by itself, and leaves to the host what needs a vCPU to be stopped,
started or looked up (DEN0137, PSCI interface; KVM: arch/arm64/kvm/psci.c).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from topbit.arch.psci import Psci


class Power(Enum):
    """What is the machine to do with its vCPUs?"""

    END = auto()
    """The Realm powers off or resets: no vCPU runs again."""
    OFF = auto()
    """The calling vCPU stops until another one starts it."""
    WAIT = auto()
    """The calling vCPU waits for an interrupt, then goes on."""
    LOOK_UP = auto()
    """Complete the call with the REC that it names; it asks for that vCPU's state."""
    START = auto()
    """Complete the call with the REC that it names, and start its vCPU if it was off."""


ASKED = {
    Psci.SYSTEM_OFF: Power.END,
    Psci.SYSTEM_RESET: Power.END,
    Psci.CPU_OFF: Power.OFF,
    Psci.CPU_SUSPEND_32: Power.WAIT,
    Psci.CPU_SUSPEND_64: Power.WAIT,
    Psci.AFFINITY_INFO_32: Power.LOOK_UP,
    Psci.AFFINITY_INFO_64: Power.LOOK_UP,
    Psci.CPU_ON_32: Power.START,
    Psci.CPU_ON_64: Power.START,
}
"""The calls that a Realm leaves for."""


@dataclass(frozen=True, slots=True)
class PowerRequest:
    """Which PSCI call did the Realm leave for, and what is to be done?

    Attributes:
        call: the PSCI function.
        power: what the machine does.
        mpidr: the vCPU to start now; None: none.
    """

    call: Psci
    power: Power
    mpidr: int | None = None
