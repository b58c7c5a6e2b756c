"""Does the guest's own part work: kernel, initramfs, device tree, workload and report?

Booted in plain QEMU, without Realm, EL2 program and SMMU: what fails here is not their fault.
"""

import hashlib
import os
import socket
import subprocess
from pathlib import Path

import pytest

import needs
from topbit.machine.qemu.guest import initramfs, steps
from topbit.machine.qemu.guest.evidence import read_evidence
from topbit.machine.qemu.guest.init import INIT, plan_files
from topbit.machine.qemu.guest.integrity import MIB, Disk, EchoPeer
from topbit.machine.qemu.guest.report import read_report
from topbit.machine.qemu.host.devicetree import realm_tree

MACHINE = ["-machine", "virt,gic-version=3", "-cpu", "max,sve=off,sme=off", "-m", "1024"]
QUIET = ["-display", "none", "-nic", "none", "-no-reboot"]
STEPS = [
    steps.copy_blocks("nvme0n1", first=0, second=32 * MIB, size=4 * MIB),
    steps.copy_blocks("vda", first=0, second=32 * MIB, size=4 * MIB),
    steps.read_in_parallel("vda", readers=4, size=MIB, span=8 * MIB),
    steps.configure_network(),
    steps.send_and_receive(64 << 10),
    steps.reload_module("virtio_rng", times=1),
    steps.rebind("0000:00:02.0"),
    steps.unplug("0000:00:02.0"),
    steps.run_command("echo hello; exit 3"),
    steps.Step("hang", "sleep 100 & sleep 100", limit=1),
    steps.Step("afterwards", "! ps | grep '[s]leep 100'"),
    steps.copy_blocks("absent", first=0, second=MIB, size=MIB),
]


@pytest.mark.qemu
def test_workload_runs_and_is_verified_from_outside(tmp_path: Path) -> None:
    qemu, kernel, busybox = needs.tool("qemu"), needs.kernel("6.18"), needs.busybox()
    drivers = ["virtio_blk", "virtio_net", "nvme", "virtio_rng"]
    archive = initramfs.build(busybox, kernel.tree().closure(drivers), INIT, plan_files(STEPS))
    (tmp_path / "initramfs").write_bytes(archive)
    disks = {"vda": Disk(1), "nvme0n1": Disk(2)}
    for name, disk in disks.items():
        disk.write(tmp_path / name)
    dump = tmp_path / "dump.dtb"
    dumping = [qemu, *MACHINE, "-machine", f"dumpdtb={dump}", *QUIET]
    subprocess.run(dumping, check=True, capture_output=True)
    words = steps.command_line()
    tree = realm_tree(dump.read_bytes(), memory=[(1 << 30, 1 << 30)], command_line=words)
    (tmp_path / "tree").write_bytes(tree)

    ours, theirs = socket.socketpair()
    peer = EchoPeer(ours)
    os.set_inheritable(theirs.fileno(), True)
    subprocess.run(
        [
            *(qemu, *MACHINE, *QUIET, "-serial", f"file:{tmp_path / 'console'}"),
            *("-kernel", str(kernel.image), "-initrd", str(tmp_path / "initramfs")),
            *("-dtb", str(tmp_path / "tree"), "-append", words),
            *("-drive", f"if=none,id=d0,format=raw,file={tmp_path / 'vda'}"),
            *("-drive", f"if=none,id=d1,format=raw,file={tmp_path / 'nvme0n1'}"),
            *("-chardev", f"socket,id=echo,fd={theirs.fileno()}"),
            *("-netdev", "user,id=n0,restrict=on,guestfwd=tcp:10.0.2.100:7-chardev:echo"),
            *("-device", "virtio-blk-pci,drive=d0,addr=1,romfile="),
            *("-device", "nvme,drive=d1,serial=nv1,addr=2"),
            *("-device", "virtio-net-pci,netdev=n0,addr=3,romfile="),
            *("-device", "virtio-rng-pci,addr=4"),
        ],
        check=True,
        pass_fds=[theirs.fileno()],
        timeout=600,
    )
    theirs.close()
    peer.close()

    report = read_report((tmp_path / "console").read_bytes())
    assert report.damage == ""
    assert report.complete
    assert report.release == kernel.release
    assert report.failed_modules == {}
    assert {name: step.status for name, step in report.steps.items()} == {
        **{step.name: 0 for step in STEPS},
        "run": 3,
        "hang": None,
        "copy-absent": 1,
    }
    for name, disk in disks.items():
        assert disk.check_copy(tmp_path / name, 0, 32 * MIB, 4 * MIB) == ""
        parts = {"4k": (0, 256 << 10), "all": (0, 4 * MIB)}
        assert disk.check_hashes(report.steps[f"copy-{name}"], parts) == ""
    readers = {str(index): (index * MIB, MIB) for index in range(4)}
    assert disks["vda"].check_hashes(report.steps["parallel-vda"], readers) == ""
    assert report.steps["run"].log == "hello\n"
    assert report.steps["copy-absent"].log == "/dev/absent did not come\n"
    assert peer.received == 64 << 10
    assert peer.digest() == hashlib.sha256(busybox.read_bytes()[: 64 << 10]).hexdigest()
    evidence = read_evidence(report, b"")
    assert any(event.event == "dma_map" for event in evidence.events)
    assert evidence.lost_events == 0
    assert "Linux version" in report.dmesg


@pytest.mark.qemu
def test_realm_tree_of_this_qemu_is_a_device_tree(tmp_path: Path) -> None:
    """Oracle: dtc reads what is made of the dump of the QEMU that is installed."""
    dump = tmp_path / "dump.dtb"
    machine = f"virt,virtualization=on,gic-version=3,iommu=smmuv3,dumpdtb={dump}"
    qemu = [needs.tool("qemu"), "-machine", machine, "-cpu", "max", "-smp", "4", *QUIET]
    subprocess.run(qemu, check=True, capture_output=True)
    tree = realm_tree(dump.read_bytes(), memory=[(1 << 30, 1 << 30)], command_line="")
    dtc = [needs.tool("dtc"), "-I", "dtb", "-O", "dts"]
    text = subprocess.run(dtc, input=tree, capture_output=True, check=True).stdout.decode()
    assert text.count("memory@") == 1
    assert "smmu" not in text
