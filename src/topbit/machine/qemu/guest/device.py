"""What is one device of a scenario on QEMU, for its guest and for the outside?

A device with the driver that the guest needs for it, the steps of the workload that use it, and
the comparison from outside that follows: the disk's medium and the other end of the wire are
compared with what was put there, whatever the guest says.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING

from topbit.events import Event
from topbit.machine.qemu.guest.steps import Step, rebind, replug, unplug
from topbit.machine.qemu.host.virtio_mmio import EmulatedDevice
from topbit.machine.qemu.process import pci
from topbit.machine.qemu.process.pci import PciDevice
from topbit.scenario.tables import DeviceSpec, WorkloadSpec

if TYPE_CHECKING:  # what comes of a run is read at its end, and loaded while the guest boots
    from topbit.machine.qemu.guest.report import GuestReport, StepReport
    from topbit.recording import DeviceFacts


class GuestDevice:
    """One device of the scenario, as it is on QEMU. This one only exists: nobody uses it.

    Attributes:
        spec: what the scenario says about it.
        name: what the guest kernel calls it.
        pci, emulated: the device, of QEMU or of the VMM; the other is None.
        steps: the guest's work with it.
        again: its work after all drivers were reloaded and bound anew.
        options: QEMU's options besides those of `pci`.
        inherited: sockets that QEMU gets.
    """

    def __init__(self, spec: DeviceSpec, device: PciDevice | EmulatedDevice) -> None:
        self.spec = spec
        self.name = device.name
        self.pci = device if isinstance(device, PciDevice) else None
        self.emulated = device if isinstance(device, EmulatedDevice) else None
        self.steps: list[Step] = []
        self.again: list[Step] = []
        self.options: tuple[str, ...] = ()
        self.inherited: list[socket.socket] = []

    @property
    def drivers(self) -> tuple[str, ...]:
        """Which modules does the guest need? The last one is the device's own."""
        if self.pci:
            return self.pci.kind_of_device.modules
        return "virtio_mmio", pci.VIRTIO_MODULES[self.spec.model]

    @property
    def described(self) -> str:
        """What is it, for people?"""
        return f"{self.pci.model if self.pci else f'{self.spec.model} in the VMM'} at {self.name}"

    def facts(self) -> DeviceFacts:
        """What do rules want to know about it?"""
        from topbit.recording import DeviceFacts

        return DeviceFacts(
            sid=self.pci.sid if self.pci else None,
            trusted=self.spec.trusted,
            emulated=self.pci is None,
        )

    def payload(self, report: GuestReport) -> Iterator[Event]:
        """Which data arrived, going by both ends?"""
        yield from ()

    def supplying(self) -> Iterator[None]:
        """Put there what the guest will find on it, a part in each step."""
        yield from ()

    def close(self) -> None:
        """Give up what belongs to the outside end."""

    def stress(self, work: WorkloadSpec) -> list[Step]:
        """What is done to the driver once the device has worked? (if it never did: nothing)"""
        bus, after = "pci" if self.pci else "platform", self.steps[-1].name if self.steps else ""
        steps: list[Step] = []
        if work.rebinds:
            limit = 20 + 4 * work.rebinds
            steps.append(rebind(self.name, work.rebinds, bus=bus, after=after, limit=limit))
        if work.unplug and self.pci:
            steps.append(unplug(self.name, after=after))
        if self.pci and self.pci.bus:
            steps.append(replug(self.name))
        return steps

    def event(
        self,
        step: StepReport | None,
        direction: str,
        size: int,
        wrong: str,
        took: str = "",
    ) -> Event:
        """How did a transfer end? "none": the guest did not say that it was done, or not what it
        read.

        `took`: the part of the step that the guest took the time of.
        """
        done = step is not None and step.status == 0 and step.log is not None
        status = ("wrong" if wrong else "ok") if done else "none"
        seconds = step.took(took) if step else None
        return Event(
            "device",
            "payload",
            device=self.name,
            size=size,
            direction=direction,
            status=status,
            attrs="|".join(
                ([f"step={step.name}"] if step else [])
                + ([f"seconds={seconds:.6f}"] if seconds is not None else [])
            )
            or None,
            detail=wrong or None,
            time=step.end if step else None,
        )
