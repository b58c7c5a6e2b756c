"""A network device of the guest: does what it sends arrive outside, and come back?"""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING

from topbit.events import Event
from topbit.machine.qemu.guest import steps
from topbit.machine.qemu.guest.device import GuestDevice
from topbit.machine.qemu.guest.integrity import MIB, EchoPeer
from topbit.machine.qemu.guest.steps import Step
from topbit.machine.qemu.host.virtio_mmio import EmulatedDevice
from topbit.machine.qemu.process import pci
from topbit.machine.qemu.process.pci import PciDevice
from topbit.scenario.tables import DeviceSpec, WorkloadSpec
from topbit.vmm.virtio.net import VirtioNet

if TYPE_CHECKING:
    from topbit.machine.qemu.guest.report import GuestReport

SENT = 64 << 10
MAC = bytes.fromhex("525400123456")  # of an emulated network card, as QEMU's first has it


class Nic(GuestDevice):
    """A network device: what the guest sends comes back from a peer outside.

    A second peer serves the guest's work after its driver was bound anew.
    """

    def __init__(
        self, spec: DeviceSpec, slot: int, work: WorkloadSpec, payload: bytes, bus: int = 0
    ) -> None:
        self._wires = [socket.socketpair() for _ in range(2)]
        self.size = work.network_mib * MIB or SENT
        self._sent = steps.sent(payload, self.size)
        self._peers = [EchoPeer(ours, self.size) for ours, _ in self._wires]
        forward = ",".join(
            f"guestfwd=tcp:{steps.ECHO_ADDRESS}:{steps.ECHO_PORT + i}-chardev:echo{i}"
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
            chardevs += pci.hub(wire[1].fileno(), forward)
            device = EmulatedDevice(slot, VirtioNet(wire[0], MAC))
            self._wires.append(wire)
        else:
            device = PciDevice(spec.model, slot, forward=forward, bus=bus, trusted=spec.trusted)
        super().__init__(spec, device)
        self.inherited = [theirs for _, theirs in self._wires]
        self.options = tuple(chardevs)
        self.steps = self._echo("ping", "echo", 0)
        self.steps += self.stress(work)
        self.again = self._echo("ping-again", "echo-again", 1)

    def _echo(self, ping: str, echo: str, peer: int) -> list[Step]:
        port, limit = steps.ECHO_PORT + peer, 30 + 4 * (self.size // MIB)
        return [
            steps.configure_network(step=ping),
            steps.send_and_receive(self.size, port=port, step=echo, limit=limit),
        ]

    def payload(self, report: GuestReport) -> Iterator[Event]:
        """Did the peer get what the guest sent, and did that come back?"""
        for name, peer in zip(("echo", "echo-again"), self._peers, strict=True):
            step = report.steps.get(name)
            if step is None and name != "echo":
                continue
            right = peer.digest() == hashlib.sha256(self._sent).hexdigest()
            wrong = "" if right else f"{peer.received} bytes came, or wrong ones"
            yield self.event(step, "r", self.size, wrong, "both")
            # What came back only the guest sees: its step fails if that differs.
            back = self.event(step, "w", self.size, "", "both")
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
