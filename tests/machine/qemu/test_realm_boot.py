"""Does an unmodified kernel boot as a Realm, and do its devices reach what it shared?"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

import needs
from topbit.machine.qemu.guest import initramfs, steps
from topbit.machine.qemu.guest.init import INIT, plan_files
from topbit.machine.qemu.guest.integrity import MIB, Disk
from topbit.machine.qemu.guest.report import GuestReport, read_report
from topbit.machine.qemu.guest.steps import Step
from topbit.machine.qemu.host.shape import GuestImage, RealmShape
from topbit.machine.qemu.host.virtio_mmio import EmulatedDevice
from topbit.machine.qemu.machine import QemuMachine, Run
from topbit.machine.qemu.process import process
from topbit.machine.qemu.process.pci import PciDevice
from topbit.vmm.policy import SmmuMap, VmmPolicy
from topbit.vmm.virtio.blk import VirtioBlk

pytestmark = pytest.mark.qemu


def boot(
    series: str, shape: RealmShape, work: list[Step], timeout: float = 600
) -> tuple[Run, GuestReport]:
    kernel = needs.kernel(series)
    drivers = [name for device in shape.pci for name in device.kind_of_device.modules]
    if shape.emulated:
        drivers += ["virtio_blk", "virtio_mmio"]
    archive = initramfs.build(
        needs.busybox(), kernel.tree().closure(drivers), INIT, plan_files(work)
    )
    # 6.18.15 loses bounced reads of NVMe with SGLs (docs/found-faults.md).
    words = steps.command_line(trace=(), extra=["nvme.sgl_threshold=0"])
    guest = GuestImage(kernel.read(), archive, words)
    with QemuMachine(shape, guest, program=Path(needs.tool("qemu"))) as machine:
        run = machine.run(timeout)
    return run, read_report(run.console)


@pytest.mark.parametrize(
    ("cpus", "in_turns"),
    [pytest.param(1, False, marks=pytest.mark.slow), (4, False), (9, True)],
)
def test_a_kernel_boots_as_a_realm_and_its_disks_work(
    tmp_path: Path, cpus: int, in_turns: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "MOST_ON_A_CORE", 0 if in_turns else cpus)
    disks = {"vda": Disk(1), "nvme0n1": Disk(2)}
    for name, disk in disks.items():
        disk.write(tmp_path / name)
    pci = (
        PciDevice("virtio-blk", 1, tmp_path / "vda"),
        PciDevice("nvme", 2, tmp_path / "nvme0n1"),
        PciDevice("virtio-net", 3),
    )
    part = {"first": 0, "second": 32 * MIB, "size": 2 * MIB}
    work = [steps.copy_blocks(name, **part) for name in disks]
    work += [steps.configure_network(), steps.run_command("cat /proc/iomem; exit 7")]
    run, report = boot("6.18", RealmShape(ram=512 * MIB, cpus=cpus, pci=pci), work)

    run.require_end()
    assert report.complete
    assert f"cpus {cpus}".encode() in run.console
    assert b"RME: Using RSI version 1.0" in run.console
    for name, disk in disks.items():
        assert report.steps[f"copy-{name}"].status == 0
        assert disk.check_copy(tmp_path / name, **part) == ""
    assert report.steps["ping-eth0"].status == 0
    assert report.steps["run"].status == 7
    assert not [event for event in run.events if event.event == "smmu_event"]
    kinds = Counter(event.status for event in run.events if event.event == "convert")
    assert kinds["shared"] > 10
    assert not kinds["error"]
    end = [event.time for event in run.events][-1]
    assert end is not None
    assert report.ready is not None
    assert report.ready < end < report.ready + 60  # on the guest's clock


@pytest.mark.slow
def test_a_vmm_that_maps_the_protected_half_shows_as_faults_of_every_device(
    tmp_path: Path,
) -> None:
    Disk(2).write(tmp_path / "nvme")
    pci = (PciDevice("nvme", 2, tmp_path / "nvme"), PciDevice("virtio-rng", 4))
    shape = RealmShape(ram=512 * MIB, policy=VmmPolicy(smmu_map=SmmuMap.PROTECTED), pci=pci)
    run, _ = boot("6.18", shape, [Step("wait", "sleep 1")])
    faults = [event for event in run.events if event.event == "smmu_event"]
    assert {event.device for event in faults} == {"0000:00:02.0", "0000:00:04.0"}
    assert {event.status for event in faults} == {"F_TRANSLATION"}
    assert all(event.address and event.address >> 40 == 1 for event in faults)


def test_wide_addresses_with_an_emulated_disk() -> None:
    """50 bits: beyond QEMU's SMMU, FEAT_LPA2 tables; the disk is the VMM's own."""
    disk = Disk(3, 16 * MIB)
    image = bytearray(disk.content(0, 16 * MIB))
    shape = RealmShape(50, 512 * MIB, emulated=(EmulatedDevice(0, VirtioBlk(image)),))
    part = {"first": 0, "second": 8 * MIB, "size": 2 * MIB}
    run, report = boot("6.18", shape, [steps.copy_blocks("vda", **part)])
    run.require_end()
    assert report.steps["copy-vda"].status == 0
    assert image[8 * MIB : 10 * MIB] == disk.content(0, 2 * MIB)
    addresses = [event.address for event in run.events if event.event == "vmm_dma"]
    assert len(addresses) > 100
    assert all(address is not None and address >> 49 == 1 for address in addresses)
