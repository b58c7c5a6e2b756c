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
from collections.abc import Iterator
from pathlib import Path

from topbit.events import Event
from topbit.machine.qemu import devices, workload
from topbit.machine.qemu.devices import PciDevice
from topbit.machine.qemu.emulated import EmulatedDevice
from topbit.machine.qemu.guest_report import GuestReport, StepReport
from topbit.machine.qemu.integrity import MIB, Disk, EchoPeer
from topbit.machine.qemu.workload import Step
from topbit.recording import DeviceFacts
from topbit.scenario.scenario import RAM_BASE, DeviceSpec, Scenario, WorkloadSpec
from topbit.vmm.virtio_blk import VirtioBlk

DISK_BYTES = 16 * MIB
SMALL_READS = 64 * 4096  # bytes that `copy_blocks` reads 4 KiB at a time
SENT = 64 << 10
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
        options: QEMU's options besides those of `pci`.
        inherited: sockets that QEMU gets.
    """

    def __init__(self, spec: DeviceSpec, device: PciDevice | EmulatedDevice) -> None:
        self.spec = spec
        self.name = device.name
        self.pci = device if isinstance(device, PciDevice) else None
        self.emulated = device if isinstance(device, EmulatedDevice) else None
        self.steps: list[Step] = []
        self.options: tuple[str, ...] = ()
        self.inherited: list[socket.socket] = []

    @property
    def drivers(self) -> tuple[str, ...]:
        """Which modules does the guest need?"""
        return devices.MODULES[self.pci.model] if self.pci else ("virtio_mmio", "virtio_blk")

    @property
    def described(self) -> str:
        """What is it, for people?"""
        return f"{self.pci.model if self.pci else 'virtio-blk in the VMM'} at {self.name}"

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

    def _event(self, step: StepReport | None, direction: str, size: int, wrong: str) -> Event:
        """How did a transfer end? "none": the guest did not say that it was done."""
        done = step is not None and step.status == 0
        status = ("wrong" if wrong else "ok") if done else "none"
        return Event(
            "device",
            "payload",
            device=self.name,
            size=size,
            direction=direction,
            status=status,
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
        self.copied = min(-(-work.transfers * work.size // MIB) * MIB, DISK_BYTES // 2)
        bus = "pci" if self.pci else "platform"
        below = f"/sys/bus/{bus}/devices/{self.name}"
        if self.copied:
            copy = workload.copy_blocks(
                spec.name,
                first=0,
                second=DISK_BYTES // 2,
                size=self.copied,
                below=below,
                limit=COPY_LIMIT,
            )
            self.steps.append(copy)
        if work.unbind:
            after = self.steps[0].name if self.steps else ""
            self.steps.append(workload.rebind(self.name, bus=bus, after=after))

    def payload(self, report: GuestReport) -> Iterator[Event]:
        """Did the guest read what is on the medium, and is what it wrote there now?"""
        if not self.copied:
            return
        step = report.steps.get(self.steps[0].name)
        parts = {"4k": (0, min(SMALL_READS, self.copied)), "1M": (0, self.copied)}
        read = self.medium.disk.check_hashes(step, parts) if step else ""
        yield self._event(step, "w", self.copied, read)
        half = DISK_BYTES // 2
        written = self.medium.disk.check_copy(self.medium.path, 0, half, self.copied)
        yield self._event(step, "r", self.copied, written)

    def close(self) -> None:
        """Give up the medium."""
        self.medium.close()


class WirePart(Part):
    """A network device: what the guest sends comes back from a peer outside."""

    def __init__(self, spec: DeviceSpec, slot: int, work: WorkloadSpec, sent: bytes) -> None:
        ours, theirs = socket.socketpair()
        self._sent = sent
        self._theirs = theirs
        self._peer = EchoPeer(ours)
        address = f"{workload.ECHO_ADDRESS}:{workload.ECHO_PORT}"
        forward = f"guestfwd=tcp:{address}-chardev:echo"
        pci = PciDevice(spec.model, slot, forward=forward, trusted=spec.trusted)
        super().__init__(spec, pci)
        self.options = ("-chardev", f"socket,id=echo,fd={theirs.fileno()}")
        self.inherited = [theirs]
        self.steps = [workload.configure_network(), workload.send_and_receive(SENT)]
        if work.unbind:
            self.steps.append(workload.rebind(pci.name, after="echo"))

    def payload(self, report: GuestReport) -> Iterator[Event]:
        """Did the peer get what the guest sent, and did that come back?"""
        step = report.steps.get("echo")
        right = self._peer.digest() == hashlib.sha256(self._sent).hexdigest()
        wrong = "" if right else f"{self._peer.received} bytes came, or wrong ones"
        yield self._event(step, "r", SENT, wrong)
        # What came back only the guest sees: its step fails if that differs.
        back = self._event(step, "w", SENT, "")
        if right and step is not None and step.status:
            back.status, back.detail = "wrong", "what came back is not what was sent"
        yield back

    def close(self) -> None:
        """End the connection."""
        self._theirs.close()
        self._peer.close()


class RandomPart(Part):
    """A random number generator: the guest reads it. What comes cannot be compared."""

    def __init__(self, spec: DeviceSpec, pci: PciDevice) -> None:
        super().__init__(spec, pci)
        self.steps = [workload.read_random()]


class WildPart(Part):
    """QEMU's `edu`, told by the guest to read at an address beyond the IPA space."""

    def __init__(self, spec: DeviceSpec, pci: PciDevice, ipa_bits: int) -> None:
        super().__init__(spec, pci)
        shared_bit = 1 << (ipa_bits - 1)
        wild = 1 << ipa_bits | shared_bit | RAM_BASE
        self.steps = [workload.wild_dma(pci.name, shared_bit, wild)]


def part_of(spec: DeviceSpec, number: int, scenario: Scenario, sent: bytes) -> Part:
    """Which part does device `number` (from 1) of a scenario play?

    `sent`: what the guest sends over the wire, the beginning of its `workload.PAYLOAD`.
    """
    work = scenario.workload
    if spec.kind == "emulated":
        return DiskPart(spec, number, Medium(Disk(number, DISK_BYTES)), work)
    if spec.model in devices.WIRES:
        return WirePart(spec, number, work, sent)
    if spec.model in devices.DISKS and spec.habit == "good":
        return DiskPart(spec, number, Medium(Disk(number, DISK_BYTES)), work)
    if spec.habit == "wild":
        return WildPart(spec, PciDevice("edu", number), scenario.realm.ipa_bits)
    pci = PciDevice(spec.model, number, trusted=spec.trusted)
    return RandomPart(spec, pci) if spec.model == "virtio-rng" else Part(spec, pci)
