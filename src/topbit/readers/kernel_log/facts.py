"""Which facts about its machine does a kernel log tell?

Each line is looked at once; what a fact was read from is named at its pattern.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from topbit.readers.kernel_log.message import HEX, Unreadable
from topbit.readers.wrapping import LogLine
from topbit.recording import DeviceFacts

# init/main.c; the release is what `uname -r` prints.
VERSION = re.compile(r"\bLinux version (\d{1,3}\.\d{1,4}\S{0,100}) \((.*)")
BOOTING = re.compile(r"\bBooting Linux on physical CPU")
# Both the Realm's RSI code of 6.13 to 7.3 (arch/arm64/kernel/rsi.c:arm64_rsi_init, "RME:") and
# that of 7.4 (drivers/firmware/arm_rmm), whatever prefix it has.
REALM = "Using RSI version"
# kernel/dma/swiotlb.c:swiotlb_print_info prints the end exclusively.
POOL = re.compile(rf"software IO TLB: mapped \[mem {HEX}-{HEX}\]")
# kernel/dma/swiotlb.c:rmem_swiotlb_setup; MiB up to 7.3, KiB from 7.4 on
RESTRICTED = re.compile(rf"created restricted DMA pool at {HEX}, size (\d{{1,9}}) ([KM])iB")
BOUNCING = "Memory encryption is active and system is using DMA bounce buffers"
# mm/mm_init.c, "Early memory node ranges"
RAM = re.compile(rf"\bnode +\d{{1,5}}: \[mem {HEX}-{HEX}\]")
FAKE_NODE = re.compile(rf"NUMA: Faking a node at \[mem {HEX}-{HEX}\]")
CUT_OFF = re.compile(
    r"software IO TLB: mapped \[mem|\bnode +\d{1,5}: \[mem|Isolation Config: Group"
)
"""How lines begin that tell a fact only if they are whole."""
# drivers/irqchip/irq-gic-v3-its.c: "ITS %pR"; GITS_TRANSLATER in its second 64 KiB frame
ITS = re.compile(rf"\bITS \[mem {HEX}-{HEX}\]")
TRANSLATER = 0x1_0040
_BDF = r"([0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])"
PCI = re.compile(rf"\bpci {_BDF}: ")
DRIVER = re.compile(rf"(?:^|[\s\]])([\w-]{{1,40}}) {_BDF}: enabling device")
IOMMU_GROUP = re.compile(r"(?:^|[\s\]])[\w-]{1,40} ([\w.:@-]{1,80}): Adding to iommu group")
EARLYCON = re.compile(
    rf"earlycon[:=]\s{{0,4}}\w{{1,20}}(?: at)?[ ,](?:mmio\w{{0,4}},|MMIO\w{{0,4}}:? ?){HEX}", re.I
)
UART = re.compile(rf"tty\w{{1,10}} (?:at )?MMIO[: ]\s{{0,4}}{HEX}")
# arch/x86/mm/mem_encrypt.c; "AMD Memory Encryption Features active" up to 5.18,
# "AMD Secure Memory Encryption (SME) active" up to 5.9
ENCRYPTION = re.compile(r"(AMD )?Memory Encryption Features active: ?(.{0,80})")
OLD_ENCRYPTION = re.compile(
    r"AMD Secure (?:Memory Encryption \((SME)\)|Encrypted Virtualization \((SEV)\)) active"
)
# arch/x86/coco/sev/core.c: sev_status_show
SEV_STATUS = re.compile(r"\bSEV: Status: (.{0,120})")
# arch/x86/kernel/cpu/mshyperv.c; the low 4 bits of group B are the isolation type, bit 5 says
# that there is a shared boundary, bits 11:6 at which bit
HYPERV = re.compile(rf"Hyper-V: Isolation Config: Group A {HEX}, Group B {HEX}")
# drivers/firmware/smccc/kvm_guest.c; bits 3 and 4: MEM_SHARE and MEM_UNSHARE of pKVM
KVM_SERVICES = re.compile(r"hypervisor services detected \((?:0x[0-9a-f]{8} ){3}0x([0-9a-f]{8})\)")
# QEMU's -object sev-guest, sev-snp-guest
C_BIT = re.compile(r"\bcbitpos=(\d{1,2})\b|\bC-bit(?: position)?:? (?:at )?(?:bit )?(\d{1,2})\b")
# A log that has come this far would have shown the RSI line (arch/arm64/kernel/setup.c).
PAST_RSI = re.compile(r"\b(?:percpu: Embedded|Kernel command line|Fallback order for Node)")
ARCHITECTURES = {
    "aarch64": "arm64",
    "x86_64": "x86",
    "x86-64": "x86",
    "s390x": "s390",
    "ppc64le": "power",
    "powerpc64": "power",
    "riscv64": "riscv",
    "armv7": "arm",
}
NEEDLES = (
    "Linux version", "Booting Linux", REALM, "software IO TLB", "restricted DMA pool",
    "Memory encryption", "node ", "Faking a node", "ITS [mem", "pci ", "enabling device",
    "iommu group", "earlycon", "MMIO", "Encryption Features", "AMD Secure", "SEV: Status",
    "Isolation Config", "hypervisor services", "C-bit", "cbitpos", "percpu:", "Kernel command line",
    "Fallback order",
)  # fmt: skip
"""A line without any of these tells no fact."""


@dataclass(slots=True)
class LogFacts:
    """What has a kernel log told so far?

    Attributes:
        seen_lines: recognised kernel lines; 0 if the text was no kernel log.
        told_at: fact -> the line that told it first.
        architecture: "arm64", "x86" ... or "" while unknown.
        realm: it names the RSI version that it uses.
        past_rsi: the log covers the place where a Realm names its RSI version.
        bouncing: the kernel said that it bounces DMA because memory is encrypted.
        encryption: what an x86 kernel says about memory encryption.
        isolation: group B of Hyper-V's isolation configuration.
        services: KVM's services for its guests, as a bitmap.
        c_bit: number of the C bit.
        doorbells: addresses of the registers that devices write for interrupts.
        earlycon, uarts: addresses of the early console and of UARTs.
    """

    seen_lines: int = 0
    told_at: dict[str, int] = field(default_factory=dict)
    kernel: str | None = None
    architecture: str = ""
    realm: bool = False
    past_rsi: bool = False
    bouncing: bool = False
    encryption: str = ""
    isolation: int | None = None
    services: int = 0
    c_bit: int | None = None
    pools: list[tuple[int, int]] = field(default_factory=list)
    ram: list[tuple[int, int]] = field(default_factory=list)
    whole_ram: list[tuple[int, int]] = field(default_factory=list)
    devices: dict[str, DeviceFacts] = field(default_factory=dict)
    doorbells: list[int] = field(default_factory=list)
    earlycon: int | None = None
    uarts: list[int] = field(default_factory=list)

    def take(self, line: LogLine) -> bool:
        """Does this line tell a fact? It is kept.

        Raises:
            Unreadable: it is one that tells a fact, but is cut off or mangled.
        """
        text = line.text
        if not any(needle in text for needle in NEEDLES):
            return False
        for look in (self._boot, self._scheme, self._memory, self._devices, self._console):
            fact = look(text)
            if fact is not None:
                # The C bit is told by a VMM's command line.
                self.seen_lines += fact != "c_bit"
                if fact:
                    self.told_at.setdefault(fact, line.number)
                return True
        if CUT_OFF.search(text):
            raise Unreadable
        return False

    def _boot(self, text: str) -> str | None:
        if match := VERSION.search(text):
            self.kernel = match[1]
            rest = match[2]
            known = (name for word, name in ARCHITECTURES.items() if word in rest)
            self.architecture = next(known, self.architecture)
            return "kernel"
        if BOOTING.search(text):
            self.architecture = "arm64"
            return ""
        if REALM in text:
            self.realm = True
            return "realm"
        if PAST_RSI.search(text):
            self.past_rsi = self.kernel is not None
            self._console(text)
            return "past_rsi"
        return None

    def _scheme(self, text: str) -> str | None:
        if match := ENCRYPTION.search(text):
            self.encryption = f"{match[1] or ''}{match[2]}".strip()
            self.architecture = "x86"
        elif match := OLD_ENCRYPTION.search(text):
            self.encryption = f"AMD {match[1] or match[2]}"
            self.architecture = "x86"
        elif match := SEV_STATUS.search(text):
            self.encryption = f"AMD {match[1].strip()}"
            self.architecture = "x86"
        elif match := HYPERV.search(text):
            self.isolation = int(match[2], 16)
            return "isolation"
        elif match := KVM_SERVICES.search(text):
            self.services = int(match[1], 16)
            return "services"
        elif BOUNCING in text:
            self.bouncing = True
            return "bouncing"
        elif (match := C_BIT.search(text)) and int(match[1] or match[2]) < 64:
            self.c_bit = int(match[1] or match[2])
            return "c_bit"
        else:
            return None
        return "encryption"

    def _memory(self, text: str) -> str | None:
        if match := POOL.search(text):
            start, end = int(match[1], 16), int(match[2], 16)
            _add(self.pools, start, end + (end & 1) - start)
            return "pools"
        if match := RESTRICTED.search(text):
            _add(self.pools, int(match[1], 16), int(match[2]) << (20 if match[3] == "M" else 10))
            return "pools"
        if match := RAM.search(text):
            _add(self.ram, int(match[1], 16), int(match[2], 16) + 1 - int(match[1], 16))
            return "ram"
        if match := FAKE_NODE.search(text):
            _add(self.whole_ram, int(match[1], 16), int(match[2], 16) + 1 - int(match[1], 16))
            return "whole_ram"
        return None

    def _devices(self, text: str) -> str | None:
        if match := PCI.search(text):
            self._device(match[1])
            if "Adding to iommu group" in text:
                self._device(match[1]).behind_iommu = True
        elif match := DRIVER.search(text):
            self._device(match[2]).driver = match[1]
        elif match := IOMMU_GROUP.search(text):
            self._device(match[1]).behind_iommu = True
        elif match := ITS.search(text):
            self.doorbells.append(int(match[1], 16) + TRANSLATER)
        else:
            return None
        return ""

    def _console(self, text: str) -> str | None:
        if match := EARLYCON.search(text):
            self.earlycon = int(match[1], 16)
            return "earlycon"
        if match := UART.search(text):
            self.uarts.append(int(match[1], 16))
            return "uarts"
        return None

    def _device(self, name: str) -> DeviceFacts:
        return self.devices.setdefault(name, DeviceFacts(sid=requester_id(name)))


def requester_id(name: str) -> int | None:
    """Which requester id has a PCI device of this name ("0000:00:02.0": 0x10)?

    On QEMU's virt machine, as on most, it is the StreamID too.
    """
    match = re.fullmatch(r"[0-9a-f]{4}:([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])", name)
    if match is None:
        return None
    bus, slot, function = (int(part, 16) for part in match.groups())
    return bus << 8 | slot << 3 | function


def _add(ranges: list[tuple[int, int]], base: int, size: int) -> None:
    if size > 0 and base + size <= 1 << 64 and (base, size) not in ranges:
        ranges.append((base, size))
