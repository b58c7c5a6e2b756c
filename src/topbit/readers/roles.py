"""Whose is a file: the guest's, the host's, the VMM's, or the firmware's?

What a file itself says decides first, then what the others of the run say. Where nothing tells,
the only kernel log and the only trace are taken for those of the machine that is checked.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

from topbit.readers import firmware_log
from topbit.readers.vmm_log import log as vmm_lines

GUEST_SIGNS: dict[str, str] = {
    "Using RSI version": "it speaks RSI with the RMM",
    "Features active: Intel TDX": "it is a TDX guest",
    "tdx: Guest detected": "it is a TDX guest",
    "Features active: AMD SEV": "it is an SEV guest",
    "Isolation Config:": "it is an isolated guest of Hyper-V",
    "Hypervisor detected:": "it runs under a hypervisor",
    "hypervisor services detected": "KVM serves it",
    "linux,dummy-virt": "its machine is a virtual one",
    "DMI: QEMU": "its machine is QEMU's",
    "Booting paravirtualized kernel on KVM": "it runs under KVM",
    "Secure Execution mode": "it is an s390 guest under Secure Execution",
    "virtio-pci 0000:": "it drives virtio devices",
    "virtio_blk virtio": "it drives virtio devices",
    "virtio_net virtio": "it drives virtio devices",
    "All CPU(s) started at EL1": "its CPUs started at EL1",
}
HOST_SIGNS: dict[str, str] = {
    "RMI ABI version": "its KVM speaks RMI with the RMM",
    "VHE mode initialized": "its KVM runs guests",
    "Hyp mode initialized": "its KVM runs guests",
    "SEV-SNP: RMP table": "it owns the RMP",
    "SEV-SNP: RMPUPDATE": "it owns the RMP",
    "kvm_amd: ": "its KVM runs guests",
    "kvm_intel: ": "its KVM runs guests",
    "virt/tdx: ": "it loads the TDX module",
    "vfio-pci ": "it assigns devices with VFIO",
    "vfio_pci: ": "it assigns devices with VFIO",
    "All CPU(s) started at EL2": "its CPUs started at EL2",
    "Features active: AMD SME": "it encrypts its own memory (SME)",
}
WEAK = {
    "Hypervisor detected:", "hypervisor services detected", "linux,dummy-virt", "DMI: QEMU",
    "Booting paravirtualized kernel on KVM", "All CPU(s) started at EL1",
    "All CPU(s) started at EL2", "kvm_amd: ", "kvm_intel: ", "VHE mode initialized",
    "Hyp mode initialized", "virt/tdx: ", "virtio-pci 0000:", "virtio_blk virtio",
    "virtio_net virtio",
}  # fmt: skip
"""Signs that a guest which runs guests of its own has as well, or that many kernels print."""
VMM_TASKS = re.compile(
    r"/KVM-\d|qemu-system|\blkvm\b|kvmtool|\bcrosvm|cloud-hyper|firecracker|\bvcpu\d{1,4}-\d|\bvhost-\d"
)
KERNEL_TASKS = re.compile(
    r"(?:^|[\s>])(?:kworker/|jbd2/|irq/|swapper/|ksoftirqd|<idle>|kswapd|scsi_|nvme-|xfs|btrfs|systemd"
    r"|\(?udev-worker|modprobe|insmod)"
)
"""Tasks that map memory for a machine's own devices, never for a guest's."""
LOOK = 20_000
"""Lines that are searched for signs of a VMM or firmware at most."""


@dataclass(slots=True)
class Signs:
    """What has a file shown of whose it is?

    Attributes:
        guest, host: words seen -> what they mean.
        vmm, firmware: how many lines only these print.
    """

    guest: dict[str, str] = field(default_factory=dict)
    host: dict[str, str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    lines: int = 0

    def take(self, text: str) -> None:
        """Look at one line that is no trace event."""
        self.lines += 1
        if self.lines > LOOK:
            return
        for signs, found in ((GUEST_SIGNS, self.guest), (HOST_SIGNS, self.host)):
            for sign, meaning in signs.items():
                if sign in text:
                    found.setdefault(sign, meaning)
        if vmm_lines.is_sign(text):
            self.counts["vmm"] += 1
        elif firmware_log.is_sign(text):
            self.counts["firmware"] += 1

    def own(self, *, weak: bool) -> tuple[str, str]:
        """Whose is the file going by weak or other signs, and why? ("", "") without one."""
        for role, found in (("guest", self.guest), ("host", self.host)):
            for sign, meaning in found.items():
                if (sign in WEAK) is weak:
                    return role, meaning
        return "", ""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known about one file before its owner is?

    Attributes:
        name: the file.
        signs: what it shows by itself.
        has_log: it holds lines of a kernel log.
        has_trace: it holds DMA events of a trace.
        drives_iommu: it holds IOMMU events of a trace.
        vmm_task: a VMM's task made them.
        iommu_faults: its log tells of faults of an IOMMU.
        not_a_realm: its log got past the place where a Realm names its RSI version.
        is_realm: its log or its trace is a Realm's.
        devices: the devices of its trace.
        viommu: devices that its log says stand behind an IOMMU.
        log_devices: devices that its log names.
    """

    name: str
    signs: Signs
    has_log: bool = False
    has_trace: bool = False
    drives_iommu: bool = False
    vmm_task: bool = False
    iommu_faults: bool = False
    not_a_realm: bool = False
    is_realm: bool = False
    bounces: bool = False
    devices: frozenset[str] = frozenset()
    viommu: frozenset[str] = frozenset()
    log_devices: frozenset[str] = frozenset()


def roles_of(
    files: list[Seen], told: dict[str, str], *, a_realm: bool
) -> dict[str, tuple[str, str]]:
    """Whose is each file, and what tells so?

    Args:
        files: of one run.
        told: file -> whose it is, as the user says.
        a_realm: the user says that the guest is a Realm.
    """
    found: dict[str, tuple[str, str]] = {}
    for file in files:
        if file.name in told:
            found[file.name] = (told[file.name], "option")
        elif (own := _own(file))[0]:
            found[file.name] = own
    a_realm = a_realm or any(file.is_realm for file in files)
    for file in files:
        if file.name not in found and (role := _by_contrast(file, files, found, a_realm)):
            found[file.name] = role
    for file in files:
        if file.name not in found:
            found[file.name] = _rest(file)
    return found


def _own(file: Seen) -> tuple[str, str]:
    """Whose is a file, going by itself?"""
    role, why = file.signs.own(weak=False)
    if role:
        return role, why
    if file.drives_iommu and file.vmm_task:
        return "host", "a VMM's task maps memory for devices in it"
    counts = file.signs.counts
    if counts and not (file.has_log or file.has_trace):
        role = counts.most_common(1)[0][0]
        return role, f"{counts[role]} lines that only {_a(role)} prints"
    return ("guest", "its DMA addresses are a Realm's") if file.is_realm else ("", "")


def _a(role: str) -> str:
    return "a VMM" if role == "vmm" else "firmware"


def _by_contrast(
    file: Seen, files: list[Seen], found: dict[str, tuple[str, str]], a_realm: bool
) -> tuple[str, str] | None:
    """Whose is a file, going by the others?"""
    guests = [other for other in files if found.get(other.name, ("",))[0] == "guest"]
    others = [other for other in files if other is not file and (other.has_log or other.has_trace)]
    if file.has_trace and file.drives_iommu:
        viommu = frozenset().union(*(other.viommu for other in guests))
        if file.devices and file.devices <= viommu:
            return "guest", "the guest's log says that it has an IOMMU of its own"
    if file.drives_iommu:
        return "host", "the machine that it traces drives an IOMMU"
    if file.has_log and a_realm and file.not_a_realm:
        return "host", "its log shows no Realm, and the run is one of a Realm"
    if not file.has_trace or file.has_log or not others:
        return None
    logs = [found.get(other.name, ("", ""))[0] for other in others if other.has_log]
    if not guests and not file.bounces and set(logs) == {"host"}:
        return "host", "no file tells of a guest"
    if guests:
        known = frozenset().union(*(other.devices | other.log_devices for other in guests))
        if known and not file.bounces and file.devices and not file.devices & known:
            return "host", "its devices are none of the guest's"
    return None


def _rest(file: Seen) -> tuple[str, str]:
    role, why = file.signs.own(weak=True)
    if role:
        return role, why
    if file.iommu_faults and not file.has_trace:
        return "host", "it tells of faults of an IOMMU"
    if file.has_log or file.has_trace:
        return "guest", "nothing says otherwise"
    counts = file.signs.counts
    if counts:
        role = counts.most_common(1)[0][0]
        return role, f"{counts[role]} lines that only {_a(role)} prints"
    return "unknown", "it tells nothing"
