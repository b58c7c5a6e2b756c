"""Which facts about the platform does a kernel log tell?

Each line is looked at once; what a fact was read from is named at its pattern.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from topbit.events import Event
from topbit.readers.lines import LogLine
from topbit.recording import DeviceFacts

# init/main.c; the release is what `uname -r` prints.
VERSION = re.compile(r"^Linux version (\d+\.\d+\S*)(.*)")
BOOTING = re.compile(r"^Booting Linux on physical CPU")
# arch/arm64/kernel/rsi.c:arm64_rsi_init
REALM = re.compile(r"^RME: Using RSI version")
# kernel/dma/swiotlb.c:swiotlb_print_info prints the end exclusively.
POOL = re.compile(r"software IO TLB: mapped \[mem (0x[0-9a-f]+)-(0x[0-9a-f]+)\]")
RESTRICTED = re.compile(r"created restricted DMA pool at (0x[0-9a-f]+), size (\d+) MiB")
BOUNCING = "Memory encryption is active and system is using DMA bounce buffers"
# mm/mm_init.c, "Early memory node ranges"
RAM = re.compile(r"^\s+node\s+\d+: \[mem (0x[0-9a-f]+)-(0x[0-9a-f]+)\]")
FAKE_NODE = re.compile(r"NUMA: Faking a node at \[mem (0x[0-9a-f]+)-(0x[0-9a-f]+)\]")
# drivers/irqchip/irq-gic-v3-its.c: "ITS %pR"; GITS_TRANSLATER in its second 64 KiB frame
ITS = re.compile(r"^ITS \[mem (0x[0-9a-f]+)-0x[0-9a-f]+\]")
TRANSLATER = 0x1_0040
PCI = re.compile(r"^pci ([0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]): ")
DRIVER = re.compile(r"^([\w-]+) ([0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]): enabling device")
IOMMU_GROUP = re.compile(r"^\S+ (\S+): Adding to iommu group")
EARLYCON = re.compile(r"earlycon[:=]\s*\w+(?: at)?[ ,](?:mmio\w*,|MMIO\w*:? ?)(0x[0-9a-f]+)", re.I)
UART = re.compile(r"tty\w+ (?:at )?MMIO[: ]\s*(0x[0-9a-f]+)")
# arch/x86/mm/mem_encrypt.c
ENCRYPTION = re.compile(r"Memory Encryption Features active: (.*)")
# A log that has come this far would have shown the RME: line (arch/arm64/kernel/setup.c).
PAST_RSI = re.compile(r"^(?:percpu: Embedded|Kernel command line|Fallback order for Node)")
# kernel/dma/swiotlb.c:swiotlb_tbl_map_single
FULL = re.compile(
    r"(\S+): swiotlb buffer is full \(sz: (\d+) bytes\), total (\d+) \(slots\), used (\d+)"
)
SUPPRESSED = re.compile(r"swiotlb_tbl_map_single: (\d+) callbacks suppressed")
# Lines that a report shows as they stand.
NOTABLE = {
    "overflow (mask ": "dma_overflow",
    "Failed to decrypt memory": "share_failed",
    "Failed to encrypt memory": "share_failed",
    "Failed to decrypt default memory pool": "pool_disabled",
    "leaking DMA memory": "leaked",
    "RMM doesn't support RSI": "rsi_version",
    "unexpected global error": "smmu_error",
    "Failed to set memory range to protected": "ripas",
    "Can not allocate SWIOTLB buffer": "pool_missing",
}


@dataclass(slots=True)
class LogFacts:
    """What has a kernel log told so far?

    Attributes:
        seen_lines: recognised kernel lines; 0 if the text was no kernel log.
        architecture: "arm64", "x86" or "" while unknown.
        past_rsi: the log covers the place where a Realm names its RSI version.
        bouncing: the kernel said that it bounces DMA because memory is encrypted.
        doorbells: addresses of the registers that devices write for interrupts.
        earlycon, uarts: addresses of the early console and of UARTs.
        suppressed: rate-limited "swiotlb buffer is full" messages.
    """

    seen_lines: int = 0
    kernel: str | None = None
    architecture: str = ""
    realm: bool = False
    past_rsi: bool = False
    bouncing: bool = False
    encryption: str = ""
    pools: list[tuple[int, int]] = field(default_factory=list)
    ram: list[tuple[int, int]] = field(default_factory=list)
    whole_ram: list[tuple[int, int]] = field(default_factory=list)
    devices: dict[str, DeviceFacts] = field(default_factory=dict)
    doorbells: list[int] = field(default_factory=list)
    earlycon: int | None = None
    uarts: list[int] = field(default_factory=list)
    suppressed: int = 0

    def take(self, line: LogLine) -> Event | None:
        """Which event does this line tell? Facts that it tells are kept."""
        event = self._event(line)
        if event is not None or self._fact(line.text):
            self.seen_lines += 1
        return event

    def _event(self, line: LogLine) -> Event | None:
        text = line.text
        if "swiotlb buffer is full" in text and (match := FULL.search(text)):
            return Event(
                "guest",
                "swiotlb_full",
                device=match[1],
                size=int(match[2]),
                status="error",
                attrs=f"total={match[3]}|used={match[4]}",
                detail=text.strip(),
                time=line.time,
            )
        for mark, trouble in NOTABLE.items():
            if mark in text:
                return Event(
                    "guest", "trouble", status=trouble, detail=text.strip(), time=line.time
                )
        return None

    def _fact(self, text: str) -> bool:
        looks = (self._boot, self._memory, self._devices, self._console)
        return any(look(text) for look in looks)

    def _boot(self, text: str) -> bool:
        if match := VERSION.match(text):
            self.kernel = match[1]
            if "aarch64" in match[2]:
                self.architecture = "arm64"
            elif "x86_64" in match[2]:
                self.architecture = "x86"
        elif BOOTING.match(text):
            self.architecture = "arm64"
        elif REALM.match(text):
            self.realm = True
        elif match := ENCRYPTION.search(text):
            self.encryption = match[1].strip()
        elif PAST_RSI.match(text):
            self.past_rsi = self.kernel is not None
            return self._console(text)
        else:
            return False
        return True

    def _memory(self, text: str) -> bool:
        if match := POOL.search(text):
            start, end = int(match[1], 16), int(match[2], 16)
            _add(self.pools, start, end + (end & 1) - start)
        elif match := RESTRICTED.search(text):
            _add(self.pools, int(match[1], 16), int(match[2]) << 20)
        elif match := RAM.match(text):
            _add(self.ram, int(match[1], 16), int(match[2], 16) + 1 - int(match[1], 16))
        elif match := FAKE_NODE.search(text):
            _add(self.whole_ram, int(match[1], 16), int(match[2], 16) + 1 - int(match[1], 16))
        elif BOUNCING in text:
            self.bouncing = True
        elif match := SUPPRESSED.search(text):
            self.suppressed += int(match[1])
        else:
            return False
        return True

    def _devices(self, text: str) -> bool:
        if match := PCI.match(text):
            self._device(match[1])
            if IOMMU_GROUP.match(text):
                self._device(match[1]).behind_iommu = True
        elif match := DRIVER.match(text):
            self._device(match[2]).driver = match[1]
        elif match := IOMMU_GROUP.match(text):
            self._device(match[1]).behind_iommu = True
        elif match := ITS.match(text):
            self.doorbells.append(int(match[1], 16) + TRANSLATER)
        else:
            return False
        return True

    def _console(self, text: str) -> bool:
        if match := EARLYCON.search(text):
            self.earlycon = int(match[1], 16)
        elif match := UART.search(text):
            self.uarts.append(int(match[1], 16))
        else:
            return False
        return True

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
    if size > 0 and (base, size) not in ranges:
        ranges.append((base, size))
