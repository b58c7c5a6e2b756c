"""What is each device of a scenario on QEMU, and in which order are they used?"""

from __future__ import annotations

from collections.abc import Sequence

from topbit.arch.ipa import IpaSpace
from topbit.errors import UsageError
from topbit.machine.qemu.feasible import victim_of
from topbit.machine.qemu.guest import edu, testdev
from topbit.machine.qemu.guest.device import GuestDevice
from topbit.machine.qemu.guest.disk import DiskDevice, Medium, disk_bytes
from topbit.machine.qemu.guest.integrity import Disk
from topbit.machine.qemu.guest.nic import Nic
from topbit.machine.qemu.guest.steps import Step, probed, read_random, reload_module
from topbit.machine.qemu.host.virtio_mmio import EmulatedDevice
from topbit.machine.qemu.process.pci import PciDevice, pci_name
from topbit.machine.qemu.process.pci_model import model_of
from topbit.scenario.scenario import RAM_BASE, Scenario
from topbit.scenario.tables import DeviceSpec, WorkloadSpec
from topbit.store.modules import ModuleTree, kernel_name
from topbit.vmm.virtio.rng import VirtioRng


class RandomDevice(GuestDevice):
    """A random number generator: the guest reads it. What comes cannot be compared."""

    def __init__(
        self, spec: DeviceSpec, device: PciDevice | EmulatedDevice, work: WorkloadSpec
    ) -> None:
        super().__init__(spec, device)
        self.steps = [read_random(f"random-{spec.name}")]
        self.steps += self.stress(work)
        self.again = [read_random(f"random-again-{spec.name}")]


class DrivenDevice(GuestDevice):
    """A device of which only its driver is known: it is probed, and bound anew."""

    def __init__(self, spec: DeviceSpec, device: PciDevice, work: WorkloadSpec) -> None:
        super().__init__(spec, device)
        self.steps = [probed(f"probe-{spec.name}", device.name)]
        self.steps += self.stress(work)
        self.again = [probed(f"probe-again-{spec.name}", device.name)]


class TestDevice(GuestDevice):
    """QEMU's `iommu-testdev`, which the guest has write to a shared page by its alias."""

    def __init__(self, spec: DeviceSpec, device: PciDevice, space: IpaSpace) -> None:
        super().__init__(spec, device)
        self.steps = [testdev.translate(f"translate-{spec.name}", device.name, space)]


class WildDevice(GuestDevice):
    """QEMU's `edu`, told by the guest to read at an address beyond the IPA space.

    Or `iommu-testdev`, told to write there.
    """

    def __init__(self, spec: DeviceSpec, device: PciDevice, space: IpaSpace) -> None:
        super().__init__(spec, device)
        wild = space.size + space.unprotected(RAM_BASE)
        told = testdev if device.kind_of_device.name == testdev.MODEL else edu
        self.steps = [told.wild_dma(device.name, space, wild)]


class StaleDevice(GuestDevice):
    """QEMU's `edu`, told by the guest to use another device's ring after its driver is gone."""

    def __init__(self, spec: DeviceSpec, device: PciDevice, victim: str, space: IpaSpace) -> None:
        super().__init__(spec, device)
        self.steps = [edu.use_after_unbind(device.name, victim, space)]


def device_of(spec: DeviceSpec, number: int, scenario: Scenario, payload: bytes) -> GuestDevice:
    """What is device `number` (from 1) of a scenario?

    `payload`: the content of the guest's `workload.PAYLOAD`.
    """
    work = scenario.workload
    bus = buses(scenario).get(spec.name, 0)
    space = IpaSpace(scenario.realm.ipa_bits)
    if spec.kind == "emulated" and spec.model == "virtio-rng":
        return RandomDevice(spec, EmulatedDevice(number, VirtioRng()), work)
    known = model_of(spec.model)
    if known.is_wire:
        return Nic(spec, number, work, payload, bus)
    if known.is_disk and spec.behaviour == "good":
        return DiskDevice(spec, number, Medium(Disk(number, disk_bytes(work))), work, bus)
    if spec.behaviour == "wild":
        model = spec.model if known.name == testdev.MODEL else "edu"
        return WildDevice(spec, PciDevice(model, number, trusted=spec.trusted), space)
    device = PciDevice(spec.model, number, bus=bus, trusted=spec.trusted)
    if known.name == testdev.MODEL:
        return TestDevice(spec, device, space)
    victim = victim_of(spec, scenario)
    if spec.behaviour == "stale" and victim is not None:
        name = pci_name(scenario.device.index(victim) + 1)
        return StaleDevice(spec, device, name, space)
    if spec.model == "virtio-rng":
        return RandomDevice(spec, device, work)
    return DrivenDevice(spec, device, work) if known.modules else GuestDevice(spec, device)


def buses(scenario: Scenario) -> dict[str, int]:
    """On which bus is each device that stands behind a root port of its own, to be unplugged?

    Raises:
        UsageError: another device uses one of them by its place on the root bus.
    """
    if not scenario.workload.hotplug:
        return {}
    if any(spec.behaviour == "stale" for spec in scenario.device):
        raise UsageError(
            "a stale device watches one that stays in its slot",
            where="workload.hotplug",
            hint="set it to false",
        )
    plugged = (
        spec.name
        for spec in scenario.device
        if spec.kind == "assigned" and spec.behaviour == "good" and model_of(spec.model).modules
    )
    return {name: bus for bus, name in enumerate(plugged, 1)}


def agenda(devices: Sequence[GuestDevice], work: WorkloadSpec, tree: ModuleTree) -> list[Step]:
    """What does the guest do, in this order? Its devices' work, then what disturbs all of them.

    Drivers that are part of the kernel are not reloaded.
    """
    steps = [step for device in devices for step in device.steps]
    if work.reloads:
        drivers = {kernel_name(device.drivers[-1]): None for device in devices if device.again}
        limit = 20 + 4 * work.reloads
        steps += [
            reload_module(name, work.reloads, limit) for name in drivers if name in tree.files
        ]
    if work.reloads or work.unplug or work.hotplug or work.rebinds > 1:
        steps += [step for device in devices for step in device.again]
    return steps
