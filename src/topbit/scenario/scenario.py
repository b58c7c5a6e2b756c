"""Which facts of a scenario contradict each other?

`Scenario.check` holds everything that a machine relies on, so that machines never meet a
contradiction. What the facts are is told by `tables.py`.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field

from topbit.addressing.kernel_policy import policy_for
from topbit.arch.ipa import Ipa, IpaSpace, check_ipa_bits
from topbit.errors import ScenarioError, nearest
from topbit.scenario.tables import (
    CHOICES,
    EMULATED_MODELS,
    MOST_WORK,
    OPEN,
    TRUSTED_BEHAVIOURS,
    DeviceSpec,
    GuestSpec,
    HostSpec,
    RealmSpec,
    WorkloadSpec,
)
from topbit.vmm.policy import VmmPolicy

MIB = 1 << 20
RAM_BASE = Ipa(0x4000_0000)
MOST_DEVICES = 31  # slots of a PCI bus besides the host bridge's


def check_number_of_devices(number: int, where: str) -> None:
    """Are so many devices too many?

    Raises:
        ScenarioError: they are.
    """
    if number > MOST_DEVICES:
        raise ScenarioError(f"{number} devices", where=where, hint=f"give at most {MOST_DEVICES}")


@dataclass(frozen=True, slots=True)
class Scenario:
    """What runs? See the field types; `summary` is one line for people."""

    name: str
    summary: str = ""
    realm: RealmSpec = field(default_factory=RealmSpec)
    guest: GuestSpec = field(default_factory=GuestSpec)
    vmm: VmmPolicy = field(default_factory=VmmPolicy)
    host: HostSpec = field(default_factory=HostSpec)
    device: tuple[DeviceSpec, ...] = field(default_factory=tuple)
    workload: WorkloadSpec = field(default_factory=WorkloadSpec)

    def __post_init__(self) -> None:
        self.check()

    def check(self) -> None:
        """Does the scenario contradict itself?

        Raises:
            ScenarioError: it does; names the key and what to do.
        """
        realm, guest = self.realm, self.guest
        check_ipa_bits(realm.ipa_bits, "realm.ipa_bits")
        if realm.told_ipa_bits is not None:
            check_ipa_bits(realm.told_ipa_bits, "realm.told_ipa_bits")
        policy_for(guest.kernel)
        for key, choices in CHOICES.items():
            table, name = key.split(".")
            specs = self.device if table == "device" else (getattr(self, table),)
            for spec in specs:
                value = getattr(spec, name)
                if value not in choices and not (key in OPEN and value.startswith(OPEN[key])):
                    others = f" and {OPEN[key]}..." if key in OPEN else ""
                    raise ScenarioError(
                        f"{value!r} is not one of {', '.join(choices)}{others}", where=key
                    )
        self._check_sizes()
        check_number_of_devices(len(self.device), "device")
        names = [d.name for d in self.device]
        for device in self.device:
            self._check_device(device)
        if len(set(names)) != len(names):
            raise ScenarioError("two devices have the same name", where="device.name")
        self._check_host()

    def _check_host(self) -> None:
        entries, victim = self.host.event_queue, self.host.disable_stream
        if not 1 <= entries <= 1024 or entries & (entries - 1):
            raise ScenarioError(
                f"an event queue of {entries} entries",
                where="host.event_queue",
                hint="give a power of two from 1 to 1024",
            )
        assigned = [d.name for d in self.device if d.kind == "assigned"]
        if victim and victim not in assigned:
            raise ScenarioError(
                f"{victim!r} is no assigned device",
                where="host.disable_stream",
                hint=nearest(victim, assigned) if assigned else "give the scenario one",
            )

    def _check_sizes(self) -> None:
        realm, guest, work = self.realm, self.guest, self.workload
        if not 4 <= realm.ram_mib <= 65536:
            raise ScenarioError(
                f"{realm.ram_mib} MiB of RAM", where="realm.ram_mib", hint="give 4 to 65536"
            )
        if not IpaSpace(realm.ipa_bits).in_par(RAM_BASE, realm.ram_mib * MIB):
            raise ScenarioError(
                f"RAM of {realm.ram_mib} MiB at 0x{RAM_BASE:x} does not fit the protected half of "
                f"a {realm.ipa_bits}-bit IPA space",
                where="realm.ipa_bits",
                hint="give more bits or less RAM",
            )
        if not 0 <= guest.swiotlb_mib <= realm.ram_mib - 2:
            raise ScenarioError(
                f"a pool of {guest.swiotlb_mib} MiB in {realm.ram_mib} MiB of RAM",
                where="guest.swiotlb_mib",
                hint=f"give 1 to {realm.ram_mib - 2}, or 0 for what the kernel makes of it",
            )
        if not 512 <= work.size <= 1 * MIB or work.size % 512:
            raise ScenarioError(
                f"transfers of {work.size} bytes",
                where="workload.size",
                hint="give a multiple of 512 from 512 to 1048576",
            )
        for name, most in MOST_WORK.items():
            if not 0 <= getattr(work, name) <= most:
                raise ScenarioError(
                    f"{getattr(work, name)} {name}",
                    where=f"workload.{name}",
                    hint=f"give 0 to {most}",
                )

    def _check_device(self, device: DeviceSpec) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", device.name):
            raise ScenarioError(
                f"a device cannot be called {device.name!r}",
                where="device.name",
                hint="give it a name of up to 64 letters, digits, - and _",
            )
        if device.name in {f.name for f in dataclasses.fields(self)}:
            raise ScenarioError(
                f"{device.name!r} is a table of the scenario",
                where="device.name",
                hint=f"call it {device.name}0",
            )
        where = f"device {device.name}"
        for name in ("dma_mask_bits", "address_bits"):
            if not 20 <= getattr(device, name) <= 64:
                raise ScenarioError(
                    f"{name} is {getattr(device, name)}", where=where, hint="give 20 to 64"
                )
        if device.kind == "emulated" and (device.trusted or device.dma_offset):
            raise ScenarioError(
                "an emulated device is part of the VMM: it cannot be trusted or have dma-ranges",
                where=where,
                hint='use kind = "assigned"',
            )
        if device.kind == "emulated" and device.behaviour != "good":
            raise ScenarioError(
                "an emulated device is part of the VMM: it behaves, and its errors are keys of vmm",
                where=where,
                hint='give it behaviour = "good", or kind = "assigned"',
            )
        if device.behaviour in TRUSTED_BEHAVIOURS and not device.trusted:
            raise ScenarioError(
                f"behaviour = {device.behaviour!r} is of a device that asks to be trusted",
                where=where,
                hint="give it trusted = true",
            )
        if device.kind == "emulated" and device.model not in EMULATED_MODELS:
            raise ScenarioError(
                f"the VMM does not emulate {device.model!r}",
                where=f"{where}: model",
                hint=f"give one of {', '.join(EMULATED_MODELS)}",
            )
        if device.dma_offset % 4096 or not 0 <= device.dma_offset <= RAM_BASE:
            raise ScenarioError(
                f"dma_offset 0x{device.dma_offset:x}",
                where=where,
                hint=f"give a multiple of 4096 up to 0x{RAM_BASE:x}, where RAM begins",
            )
