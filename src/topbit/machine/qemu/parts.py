"""Which part does each device of a scenario play on QEMU, and is its data right?

A part is one device with the driver that the guest needs for it, the steps of the workload that
use it, and the comparison from outside that follows: the disk's medium and the other end of the
wire are compared with what was put there, whatever the guest says.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

from topbit.events import Event
from topbit.machine.qemu import devices, stale, workload
from topbit.machine.qemu.devices import PciDevice, pci_name
from topbit.machine.qemu.emulated import EmulatedDevice
from topbit.machine.qemu.feasible import victim_of
from topbit.machine.qemu.guest_report import GuestReport, StepReport
from topbit.machine.qemu.integrity import MIB, Disk, EchoPeer
from topbit.machine.qemu.modules import ModuleTree, kernel_name
from topbit.machine.qemu.workload import Step
from topbit.recording import DeviceFacts
from topbit.scenario.scenario import RAM_BASE, DeviceSpec, Scenario, WorkloadSpec
from topbit.vmm.virtio_blk import VirtioBlk
from topbit.vmm.virtio_net import VirtioNet
from topbit.vmm.virtio_rng import VirtioRng

DISK_BYTES = 16 * MIB
HALF = DISK_BYTES // 2
LAST = DISK_BYTES - MIB  # where the second copy is written
SMALL_READS = 64 * 4096  # bytes that `copy_blocks` reads 4 KiB at a time
SENT = 64 << 10
MAC = bytes.fromhex("525400123456")  # of an emulated network card, as QEMU's first has it
COPY_LIMIT = 20  # seconds; a copy takes one


class Medium:
    """A disk's content in a file without a name: nothing is left behind however a run ends.

    Attributes:
        path: where this process and its children open it.
    """

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self._fd = os.memfd_create("topbit-disk")
        self.path = Path(f"/proc/{os.getpid()}/fd/{self._fd}")
        disk.write(self.path)

    def mapped(self) -> mmap.mmap:
        """Which bytes are it, for a device in this process?"""
        return mmap.mmap(self._fd, self.disk.size)

    def close(self) -> None:
        """Give it up."""
        os.close(self._fd)


class Part:
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
            return devices.MODULES[self.pci.model]
        return "virtio_mmio", devices.VIRTIO_MODULES[self.spec.model]

    @property
    def described(self) -> str:
        """What is it, for people?"""
        return f"{self.pci.model if self.pci else f'{self.spec.model} in the VMM'} at {self.name}"

    def facts(self) -> DeviceFacts:
        """What do rules want to know about it?"""
        return DeviceFacts(
            sid=self.pci.sid if self.pci else None,
            trusted=self.spec.trusted,
            emulated=self.pci is None,
        )

    def payload(self, report: GuestReport) -> Iterator[Event]:
        """Which data arrived, going by both ends?"""
        yield from ()

    def close(self) -> None:
        """Give up what belongs to the outside end."""

    def _stress(self, work: WorkloadSpec) -> list[Step]:
        """What is done to the driver once the device has worked? (if it never did: nothing)"""
        bus, after = "pci" if self.pci else "platform", self.steps[-1].name if self.steps else ""
        steps = []
        if work.rebinds:
            limit = 20 + 4 * work.rebinds
            steps.append(
                workload.rebind(self.name, work.rebinds, bus=bus, after=after, limit=limit)
            )
        if work.unplug and self.pci:
            steps.append(workload.unplug(self.name, after=after))
        return steps

    def _event(
        self,
        step: StepReport | None,
        direction: str,
        size: int,
        wrong: str,
        took: str = "",
    ) -> Event:
        """How did a transfer end? "none": the guest did not say that it was done.

        `took`: the part of the step that the guest took the time of.
        """
        done = step is not None and step.status == 0
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


class DiskPart(Part):
    """A disk: the guest copies its first part to its second half, and says what it read."""

    def __init__(self, spec: DeviceSpec, number: int, medium: Medium, work: WorkloadSpec) -> None:
        device: PciDevice | EmulatedDevice
        if spec.kind == "emulated":
            device = EmulatedDevice(number, VirtioBlk(medium.mapped()))
        else:
            device = PciDevice(spec.model, number, image=medium.path, trusted=spec.trusted)
        super().__init__(spec, device)
        self.medium = medium
        self.readers = work.readers
        self.copied = min(-(-work.transfers * work.size // MIB) * MIB, LAST - HALF)
        below = f"/sys/bus/{'pci' if self.pci else 'platform'}/devices/{self.name}"
        if self.copied:
            self.steps.append(self._copy("copy", HALF, self.copied, below))
        if self.readers:
            self.steps.append(
                workload.read_in_parallel(
                    spec.name,
                    readers=self.readers,
                    size=MIB,
                    span=HALF,
                    below=below,
                    limit=COPY_LIMIT + self.readers,
                )
            )
        self.steps += self._stress(work)
        self.again = [self._copy("again", LAST, MIB, below)]

    def _copy(self, step: str, to: int, size: int, below: str) -> Step:
        return workload.copy_blocks(
            self.spec.name,
            first=0,
            second=to,
            size=size,
            below=below,
            step=step,
            limit=COPY_LIMIT,
        )

    def payload(self, report: GuestReport) -> Iterator[Event]:
        """Did the guest read what is on the medium, and is what it wrote there now?"""
        if self.copied:
            yield from self._copied(report.steps.get(f"copy-{self.spec.name}"), HALF, self.copied)
        if self.readers:
            step = report.steps.get(f"parallel-{self.spec.name}")
            parts = {str(i): (i * MIB % HALF, MIB) for i in range(self.readers)}
            wrong = self.medium.disk.check_hashes(step, parts) if step else ""
            yield self._event(step, "w", self.readers * MIB, wrong, "read")
        if step := report.steps.get(f"again-{self.spec.name}"):
            yield from self._copied(step, LAST, MIB)

    def _copied(self, step: StepReport | None, to: int, size: int) -> Iterator[Event]:
        parts = {"4k": (0, min(SMALL_READS, size)), "1M": (0, size)}
        read = self.medium.disk.check_hashes(step, parts) if step else ""
        yield self._event(step, "w", size, read, "read")
        written = self.medium.disk.check_copy(self.medium.path, 0, to, size)
        yield self._event(step, "r", size, written, "write")

    def close(self) -> None:
        """Give up the medium."""
        self.medium.close()


class WirePart(Part):
    """A network device: what the guest sends comes back from a peer outside.

    A second peer serves the guest's work after its driver was bound anew.
    """

    def __init__(self, spec: DeviceSpec, slot: int, work: WorkloadSpec, payload: bytes) -> None:
        self._wires = [socket.socketpair() for _ in range(2)]
        self.size = work.network_mib * MIB or SENT
        self._sent = workload.sent(payload, self.size)
        self._peers = [EchoPeer(ours, self.size) for ours, _ in self._wires]
        forward = ",".join(
            f"guestfwd=tcp:{workload.ECHO_ADDRESS}:{workload.ECHO_PORT + i}-chardev:echo{i}"
            for i in range(2)
        )
        chardevs = [
            word
            for i, (_, theirs) in enumerate(self._wires)
            for word in ("-chardev", f"socket,id=echo{i},fd={theirs.fileno()}")
        ]
        device: PciDevice | EmulatedDevice
        if spec.kind == "emulated":
            wire = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
            chardevs += devices.hub(wire[1].fileno(), forward)
            device = EmulatedDevice(slot, VirtioNet(wire[0], MAC))
            self._wires.append(wire)
        else:
            device = PciDevice(spec.model, slot, forward=forward, trusted=spec.trusted)
        super().__init__(spec, device)
        self.inherited = [theirs for _, theirs in self._wires]
        self.options = tuple(chardevs)
        self.steps = self._echo("ping", "echo", 0)
        self.steps += self._stress(work)
        self.again = self._echo("ping-again", "echo-again", 1)

    def _echo(self, ping: str, echo: str, peer: int) -> list[Step]:
        port, limit = workload.ECHO_PORT + peer, 30 + 4 * (self.size // MIB)
        return [
            workload.configure_network(step=ping),
            workload.send_and_receive(self.size, port=port, step=echo, limit=limit),
        ]

    def payload(self, report: GuestReport) -> Iterator[Event]:
        """Did the peer get what the guest sent, and did that come back?"""
        for name, peer in zip(("echo", "echo-again"), self._peers, strict=True):
            step = report.steps.get(name)
            if step is None and name != "echo":
                continue
            right = peer.digest() == hashlib.sha256(self._sent).hexdigest()
            wrong = "" if right else f"{peer.received} bytes came, or wrong ones"
            yield self._event(step, "r", self.size, wrong, "both")
            # What came back only the guest sees: its step fails if that differs.
            back = self._event(step, "w", self.size, "", "both")
            if right and step is not None and step.status:
                back.status, back.detail = "wrong", "what came back is not what was sent"
            yield back

    def close(self) -> None:
        """End the connections."""
        for theirs in self.inherited:
            theirs.close()
        for peer in self._peers:
            peer.close()
        if self.emulated and isinstance(self.emulated.backend, VirtioNet):
            self.emulated.backend.wire.close()


class RandomPart(Part):
    """A random number generator: the guest reads it. What comes cannot be compared."""

    def __init__(
        self, spec: DeviceSpec, device: PciDevice | EmulatedDevice, work: WorkloadSpec
    ) -> None:
        super().__init__(spec, device)
        self.steps = [workload.read_random(f"random-{spec.name}")]
        self.steps += self._stress(work)
        self.again = [workload.read_random(f"random-again-{spec.name}")]


class WildPart(Part):
    """QEMU's `edu`, told by the guest to read at an address beyond the IPA space."""

    def __init__(self, spec: DeviceSpec, pci: PciDevice, ipa_bits: int) -> None:
        super().__init__(spec, pci)
        shared_bit = 1 << (ipa_bits - 1)
        wild = 1 << ipa_bits | shared_bit | RAM_BASE
        self.steps = [workload.wild_dma(pci.name, shared_bit, wild)]


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
    if spec.kind == "emulated" and spec.model == "virtio-rng":
        return RandomPart(spec, EmulatedDevice(number, VirtioRng()), work)
    if spec.model in devices.WIRES:
        return WirePart(spec, number, work, payload)
    if spec.model in devices.DISKS and spec.habit == "good":
        return DiskPart(spec, number, Medium(Disk(number, DISK_BYTES)), work)
    if spec.habit == "wild":
        return WildPart(spec, PciDevice("edu", number), scenario.realm.ipa_bits)
    pci = PciDevice(spec.model, number, trusted=spec.trusted)
    victim = victim_of(spec, scenario)
    if spec.habit == "stale" and victim is not None:
        name = pci_name(scenario.device.index(victim) + 1)
        return StalePart(spec, pci, name, scenario.realm.ipa_bits)
    return RandomPart(spec, pci, work) if spec.model == "virtio-rng" else Part(spec, pci)


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
    if work.reloads or work.unplug or work.rebinds > 1:
        steps += [step for part in parts for step in part.again]
    return steps
