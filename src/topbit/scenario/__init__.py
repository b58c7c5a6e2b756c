"""What is the platform, and what does each agent do? The description that a machine runs.

Belongs here: the scenario type with its checks, its TOML form, the built-in scenarios.
Does not belong here: running it (`machine/`), and what should come out (`rules/`).
"""

from topbit.scenario.builtin import builtin, builtin_names
from topbit.scenario.scenario import Scenario
from topbit.scenario.tables import DeviceSpec, GuestSpec, HostSpec, RealmSpec, WorkloadSpec
from topbit.scenario.toml import change, find, load, loads, override
from topbit.vmm.policy import VmmPolicy

__all__ = [
    "DeviceSpec",
    "GuestSpec",
    "HostSpec",
    "RealmSpec",
    "Scenario",
    "VmmPolicy",
    "WorkloadSpec",
    "builtin",
    "builtin_names",
    "change",
    "find",
    "load",
    "loads",
    "override",
]
