"""What do the drivers of a run do, and did the data arrive?

Every transfer is compared end to end, from outside: what the guest wrote with what stands on the
medium, what stands on the medium with what the guest read. So a wrong address shows as a fault, as
wrong data or as a touch of private memory, never as an opinion.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from topbit.arch.virtio import SECTOR
from topbit.errors import UsageError
from topbit.events import Emit, Event
from topbit.linux.block import BlockDriver
from topbit.scenario.tables import WorkloadSpec

PRIVATE = b"nobody but the Realm may see or change this"


@dataclass(slots=True)
class Disk:
    """One disk of the guest, seen from both ends.

    Attributes:
        driver: the guest's end.
        medium: the other end.
        misbehave: what a misbehaving device does at the end, if it is one.
        given_up: the guest would not trust the device, and binds no driver to it.
    """

    driver: BlockDriver
    medium: bytearray
    misbehave: Callable[[], None] | None = None
    given_up: bool = False


def refuse_other_work(work: WorkloadSpec) -> None:
    """Is there work in it that only a real kernel does?

    Raises:
        UsageError: there is.
    """
    for name in ("readers", "network_mib", "reloads", "unplug", "hotplug", "attest"):
        if getattr(work, name):
            raise UsageError(
                "the modelled guest has no processes, modules, network or PCI bus, only drivers",
                where=f"workload.{name}",
                hint="run it with --machine qemu",
            )


def exercise(disks: list[Disk], work: WorkloadSpec, emit: Emit) -> None:
    """Probe every disk, write and read it, and compare; then bind it anew, and unbind it."""
    for number, disk in enumerate(disks):
        if disk.given_up or not disk.driver.probe():
            emit(_payload(disk, "w", work.size, "none"))
            continue
        generator = random.Random(number)  # a fixed pattern per disk
        for i in range(work.transfers):
            sector = i * work.size // SECTOR % (len(disk.medium) // SECTOR // 2)
            _write(disk, sector, generator.randbytes(work.size), emit)
            _read(disk, sector, generator.randbytes(work.size), emit)
        for again in range(work.rebinds, 0, -1):
            disk.driver.transport.remove()
            if again > 1 and not disk.driver.probe():
                break
        if work.rebinds:
            _reuse(disk, emit)
        elif disk.misbehave:
            disk.misbehave()


def _reuse(disk: Disk, emit: Emit) -> None:
    """Put private data where the device's ring was, let a misbehaving device act, and look."""
    kernel = disk.driver.kernel
    page = kernel.alloc_pages(1)
    if page is None:
        return
    kernel.memory.write(page, PRIVATE)
    if disk.misbehave:
        disk.misbehave()
    intact = kernel.memory.read(page, len(PRIVATE)) == PRIVATE
    emit(
        Event(
            "device",
            "payload",
            device=disk.driver.device.name,
            size=len(PRIVATE),
            status="ok" if intact else "wrong",
            detail="private data where the ring was",
        )
    )


def _write(disk: Disk, sector: int, data: bytes, emit: Emit) -> None:
    at = sector * SECTOR
    disk.medium[at : at + len(data)] = bytes(len(data))
    done = disk.driver.write(sector, data)
    arrived = bytes(disk.medium[at : at + len(data)]) == data
    emit(_payload(disk, "r", len(data), _status(done, arrived)))


def _read(disk: Disk, sector: int, data: bytes, emit: Emit) -> None:
    at = sector * SECTOR
    disk.medium[at : at + len(data)] = data
    seen = disk.driver.read(sector, len(data))
    emit(_payload(disk, "w", len(data), _status(seen is not None, seen == data)))


def _status(done: bool, arrived: bool) -> str:
    """ok; wrong (the driver was told that all is well, and it is not); none (nothing moved)."""
    if done:
        return "ok" if arrived else "wrong"
    return "none"


def _payload(disk: Disk, direction: str, size: int, status: str) -> Event:
    """Which event says how a transfer ended? Direction as the device sees it: r reads memory."""
    return Event(
        "device",
        "payload",
        device=disk.driver.device.name,
        size=size,
        direction=direction,
        status=status,
        detail=None if status == "ok" else disk.driver.status,
    )
