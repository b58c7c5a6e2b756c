"""A disk of the guest: what stands on it, what the guest does with it, and is that right?"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from topbit.events import Event
from topbit.machine.qemu.guest import steps
from topbit.machine.qemu.guest.device import GuestDevice
from topbit.machine.qemu.guest.integrity import MIB, Disk
from topbit.machine.qemu.guest.steps import Step
from topbit.machine.qemu.host.virtio_mmio import EmulatedDevice
from topbit.machine.qemu.process.pci import PciDevice
from topbit.scenario.tables import DeviceSpec, WorkloadSpec
from topbit.vmm.virtio.blk import VirtioBlk

if TYPE_CHECKING:
    from topbit.machine.qemu.guest.report import GuestReport, StepReport

LEAST_HALF = 4 * MIB  # of a disk: what is read, and what is written
SMALL_READS = 64 * 4096  # bytes that `copy_blocks` reads 4 KiB at a time
COPY_LIMIT = 20  # seconds, and one more for each MiB; 20 MiB take one


def copied_bytes(work: WorkloadSpec) -> int:
    """How much is copied from a disk's first half to its second? Whole MiB."""
    return -(-work.transfers * work.size // MIB) * MIB


def disk_bytes(work: WorkloadSpec) -> int:
    """How large is a disk? Behind the copy, the second half has room for another MiB."""
    return 2 * max(LEAST_HALF, copied_bytes(work) + MIB)


class Medium:
    """A disk's content in a file without a name: nothing is left behind however a run ends.

    It is empty until it is filled.

    Attributes:
        path: where this process and its children open it.
    """

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self._fd = os.memfd_create("topbit-disk")
        self.path = Path(f"/proc/{os.getpid()}/fd/{self._fd}")
        os.ftruncate(self._fd, disk.size)

    def filling(self) -> Iterator[None]:
        """Write the content, a part in each step. Who has the file open sees it come."""
        with open(self._fd, "wb", closefd=False) as image:
            yield from self.disk.writing(image)

    def mapped(self) -> mmap.mmap:
        """Which bytes are it, for a device in this process?"""
        return mmap.mmap(self._fd, self.disk.size)

    def close(self) -> None:
        """Give it up."""
        os.close(self._fd)


class DiskDevice(GuestDevice):
    """A disk: the guest copies its first part to its second half, and says what it read."""

    def __init__(
        self, spec: DeviceSpec, number: int, medium: Medium, work: WorkloadSpec, bus: int = 0
    ) -> None:
        device: PciDevice | EmulatedDevice
        if spec.kind == "emulated":
            device = EmulatedDevice(number, VirtioBlk(medium.mapped()))
        else:
            device = PciDevice(spec.model, number, image=medium.path, bus=bus, trusted=spec.trusted)
        super().__init__(spec, device)
        self.medium = medium
        self.readers = work.readers
        self.block = work.size
        self.copied = copied_bytes(work)
        self.half = disk_bytes(work) // 2
        self.last = disk_bytes(work) - MIB  # where the second copy is written
        below = f"/sys/bus/{'pci' if self.pci else 'platform'}/devices/{self.name}"
        if self.copied:
            self.steps.append(self._copy("copy", self.half, self.copied, below))
        if self.readers:
            self.steps.append(
                steps.read_in_parallel(
                    spec.name,
                    readers=self.readers,
                    size=MIB,
                    span=self.half,
                    below=below,
                    limit=COPY_LIMIT + self.readers,
                )
            )
        self.steps += self.stress(work)
        self.again = [self._copy("again", self.last, MIB, below)]

    def _copy(self, step: str, to: int, size: int, below: str) -> Step:
        return steps.copy_blocks(
            self.spec.name,
            first=0,
            second=to,
            size=size,
            block=self.block,
            below=below,
            step=step,
            limit=COPY_LIMIT + size // MIB,
        )

    def payload(self, report: GuestReport) -> Iterator[Event]:
        """Did the guest read what is on the medium, and is what it wrote there now?"""
        if self.copied:
            yield from self._copied(
                report.steps.get(f"copy-{self.spec.name}"), self.half, self.copied
            )
        if self.readers:
            step = report.steps.get(f"parallel-{self.spec.name}")
            parts = {str(i): (i * MIB % self.half, MIB) for i in range(self.readers)}
            wrong = self.medium.disk.check_hashes(step, parts) if step else ""
            yield self.event(step, "w", self.readers * MIB, wrong, "read")
        if step := report.steps.get(f"again-{self.spec.name}"):
            yield from self._copied(step, self.last, MIB)

    def _copied(self, step: StepReport | None, to: int, size: int) -> Iterator[Event]:
        read = self.medium.disk.check_hashes(step, self._parts_read(size)) if step else ""
        yield self.event(step, "w", size, read, "read")
        written = self.medium.disk.check_copy(self.medium.path, 0, to, size)
        yield self.event(step, "r", size, written, "write")

    def supplying(self) -> Iterator[None]:
        """Fill the medium, and find out which hashes the guest must tell of it."""
        yield from self.medium.filling()
        for first, size in self._parts_read(self.copied).values():
            self.medium.disk.hash(first, size)
            yield

    @staticmethod
    def _parts_read(size: int) -> dict[str, tuple[int, int]]:
        """Which parts does a guest read that copies `size` bytes, by the name of their hash?"""
        return {"4k": (0, min(SMALL_READS, size)), "all": (0, size)} if size else {}

    def close(self) -> None:
        """Give up the medium."""
        self.medium.close()
