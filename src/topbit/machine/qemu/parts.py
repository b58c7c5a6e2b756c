"""Which part does each device of a scenario play on QEMU, and in which order are they used?"""

from __future__ import annotations

from collections.abc import Sequence

from topbit.errors import UsageError
from topbit.machine.qemu import devices, edu, stale, workload
from topbit.machine.qemu.devices import PciDevice, pci_name
from topbit.machine.qemu.disk_part import DISK_BYTES, DiskPart, Medium
from topbit.machine.qemu.emulated import EmulatedDevice
from topbit.machine.qemu.feasible import victim_of
from topbit.machine.qemu.integrity import Disk
from topbit.machine.qemu.part import Part
from topbit.machine.qemu.wire_part import WirePart
from topbit.machine.qemu.workload import Step
from topbit.scenario.scenario import RAM_BASE, DeviceSpec, Scenario, WorkloadSpec
from topbit.store.modules import ModuleTree, kernel_name
from topbit.vmm.virtio_rng import VirtioRng


class RandomPart(Part):
    """A random number generator: the guest reads it. What comes cannot be compared."""

    def __init__(
        self, spec: DeviceSpec, device: PciDevice | EmulatedDevice, work: WorkloadSpec
    ) -> None:
        super().__init__(spec, device)
        self.steps = [workload.read_random(f"random-{spec.name}")]
        self.steps += self.stress(work)
        self.again = [workload.read_random(f"random-again-{spec.name}")]


class WildPart(Part):
    """QEMU's `edu`, told by the guest to read at an address beyond the IPA space."""

    def __init__(self, spec: DeviceSpec, pci: PciDevice, ipa_bits: int) -> None:
        super().__init__(spec, pci)
        shared_bit = 1 << (ipa_bits - 1)
        wild = 1 << ipa_bits | shared_bit | RAM_BASE
        self.steps = [edu.wild_dma(pci.name, shared_bit, wild)]


class StalePart(Part):
    """QEMU's `edu`, told by the guest to use another device's ring after its driver is gone."""

    def __init__(self, spec: DeviceSpec, pci: PciDevice, victim: str, ipa_bits: int) -> None:
        super().__init__(spec, pci)
        self.steps = [stale.use_after_unbind(pci.name, victim, 1 << (ipa_bits - 1))]


def part_of(spec: DeviceSpec, number: int, scenario: Scenario, payload: bytes) -> Part:
    """Which part does device `number` (from 1) of a scenario play?

    `payload`: the content of the guest's `workload.PAYLOAD`.
    """
    work = scenario.workload
    bus = buses(scenario).get(spec.name, 0)
    if spec.kind == "emulated" and spec.model == "virtio-rng":
        return RandomPart(spec, EmulatedDevice(number, VirtioRng()), work)
    if spec.model in devices.WIRES:
        return WirePart(spec, number, work, payload, bus)
    if spec.model in devices.DISKS and spec.habit == "good":
        return DiskPart(spec, number, Medium(Disk(number, DISK_BYTES)), work, bus)
    if spec.habit == "wild":
        pci = PciDevice("edu", number, trusted=spec.trusted)
        return WildPart(spec, pci, scenario.realm.ipa_bits)
    pci = PciDevice(spec.model, number, bus=bus, trusted=spec.trusted)
    victim = victim_of(spec, scenario)
    if spec.habit == "stale" and victim is not None:
        name = pci_name(scenario.device.index(victim) + 1)
        return StalePart(spec, pci, name, scenario.realm.ipa_bits)
    return RandomPart(spec, pci, work) if spec.model == "virtio-rng" else Part(spec, pci)


def buses(scenario: Scenario) -> dict[str, int]:
    """On which bus is each device that stands behind a root port of its own, to be unplugged?

    Raises:
        UsageError: another device uses one of them by its place on the root bus.
    """
    if not scenario.workload.hotplug:
        return {}
    if any(spec.habit == "stale" for spec in scenario.device):
        raise UsageError(
            "a stale device watches one that stays in its slot",
            where="workload.hotplug",
            mend="set it to false",
        )
    used = (*devices.DISKS, *devices.WIRES, "virtio-rng")
    plugged = (
        spec.name
        for spec in scenario.device
        if spec.kind == "assigned" and spec.habit == "good" and spec.model in used
    )
    return {name: bus for bus, name in enumerate(plugged, 1)}


def agenda(parts: Sequence[Part], work: WorkloadSpec, tree: ModuleTree) -> list[Step]:
    """What does the guest do, in this order? Its devices' work, then what disturbs all of them.

    Drivers that are part of the kernel are not reloaded.
    """
    steps = [step for part in parts for step in part.steps]
    if work.reloads:
        drivers = {kernel_name(part.drivers[-1]): None for part in parts if part.again}
        limit = 20 + 4 * work.reloads
        steps += [
            workload.reload_module(name, work.reloads, limit)
            for name in drivers
            if name in tree.files
        ]
    if work.reloads or work.unplug or work.hotplug or work.rebinds > 1:
        steps += [step for part in parts for step in part.again]
    return steps
