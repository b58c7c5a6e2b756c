"""Logs and traces of machines that were made up, in the kernels' own print formats."""

from __future__ import annotations

from dataclasses import dataclass, field

DISK = "0000:00:01.0"
S = 1 << 39
POOL = 0xFC20_0000
BUFFER = 0x8457_0000
SLOT = 0x2000
BOUNCES = "software IO TLB: Memory encryption is active and system is using DMA bounce buffers"
TDX = "Memory Encryption Features active: Intel TDX"
SNP = "Memory Encryption Features active: AMD SEV SEV-ES SEV-SNP"
PKVM = "smccc: KVM: hypervisor services detected (0x00000000 0x00000000 0x00000000 0x0000001b)"
EVENTS = {0x10: "F_TRANSLATION", 0x11: "F_ADDR_SIZE", 0x13: "F_PERMISSION", 0x04: "C_BAD_STE"}


def log(*messages: str, time: float = 0.0) -> str:
    """Lines of a kernel log."""
    return "".join(f"[{time:12.6f}] {message}\n" for message in messages)


def arm(
    release: str = "7.2.13",
    *more: str,
    realm: str = "RME: Using RSI version 1.0",
    pool: tuple[int, int] | None = (0xFBFF_F000, 0xFFFF_F000),
    bounces: bool = True,
    devices: tuple[str, ...] = (DISK,),
) -> str:
    """An arm64 guest's log; `more` comes last."""
    text = log(
        "Booting Linux on physical CPU 0x0000000000 [0x000f0510]",
        f"Linux version {release} (build@host) (aarch64-linux-gnu-gcc-14 14.2.0) #1 SMP PREEMPT",
        "  node   0: [mem 0x0000000080000000-0x00000000ffffffff]",
        *([realm] if realm else []),
        "percpu: Embedded 34 pages/cpu s101592 r8192 d29480 u139264",
    )
    if pool:
        text += log(f"software IO TLB: mapped [mem 0x{pool[0]:016x}-0x{pool[1]:016x}] (64MB)")
    text += log(*(f"pci {name}: [1af4:1042] type 00 class 0x010000" for name in devices), time=0.8)
    return text + log(*([BOUNCES] if bounces else []), *more, time=1.2)


def x86(
    release: str = "7.2.13", *more: str, says: str = SNP, devices: tuple[str, ...] = (DISK,)
) -> str:
    """An x86 guest's or host's log."""
    return log(
        f"Linux version {release} (build@host) (x86_64-linux-gnu-gcc-14 14.2.0) #1 SMP PREEMPT",
        "  node   0: [mem 0x0000000000100000-0x000000007fffffff]",
        "  node   0: [mem 0x0000000100000000-0x000000027fffffff]",
        "software IO TLB: mapped [mem 0x000000006f000000-0x0000000073000000] (64MB)",
        *([says] if says else []),
        *(f"pci {name}: [1af4:1042] type 00 class 0x010000" for name in devices),
        *more,
    )


HOST = arm(
    "7.1.2", "vfio-pci 0000:01:00.0: enabling device (0000 -> 0002)", realm="", bounces=False,
    devices=("0000:01:00.0",),
).replace("0x00000000ffffffff]", "0x0000001fffffffff]")  # fmt: skip


def smmu(sid: int, iova: int, kind: int = 0x10, client: str = "(unassigned sid)") -> str:
    """An SMMUv3's event of stage 1, as Linux 6.15 and later print it."""
    words = (sid << 32 | kind, 0x200_0000_0000, iova, 0)
    return log(
        *(
            f"arm-smmu-v3 arm-smmu-v3.0.auto: {text}"
            for text in (
                f"event 0x{kind:02x} received:",
                *(f"\t0x{word:016x}" for word in words),
                f"event: {EVENTS[kind]} client: {client} sid: {sid:#x} ssid: 0x0 iova: {iova:#x} "
                "ipa: 0x0",
                'unpriv data write s1 "Input address caused fault" stag: 0x0',
            )
        ),
        time=900.1,
    )


@dataclass
class Trace:
    """A trace's text, line by line.

    Attributes:
        names: "phys", or "page" up to Linux 6.17.
        forced: FORCE up to 7.2, NORMAL from 7.3 on.
        task: whose events they are.
    """

    names: str = "phys"
    forced: str = "FORCE"
    task: str = "fio-812"
    time: float = 101.0
    lines: list[str] = field(default_factory=list)

    def add(self, event: str, body: str) -> Trace:
        self.time += 0.0001
        self.lines.append(f"{self.task:>16}     [003] ..... {self.time:12.6f}: {event}: {body}\n")
        return self

    def bounced(self, phys: int, device: str = DISK, size: int = 4096) -> Trace:
        return self.add(
            "swiotlb_bounced",
            f"dev_name: {device} dma_mask=ffffffffffffffff dev_addr={phys:x} size={size} "
            f"{self.forced}",
        )

    def map(
        self, address: int, phys: int, device: str = DISK, *, bounce: bool = True,
        size: int = 4096, way: str = "FROM_DEVICE", attrs: str = "",
    ) -> Trace:  # fmt: skip
        if bounce:
            self.bounced(phys, device, size)
        return self.add(
            f"dma_map_{self.names}",
            f"{device} dir={way} dma_addr={address:x} size={size} phys_addr={phys:x} attrs={attrs}",
        )

    def unmap(self, address: int, device: str = DISK, size: int = 4096) -> Trace:
        return self.add(
            f"dma_unmap_{self.names}",
            f"{device} dir=FROM_DEVICE dma_addr={address:x} size={size} attrs=",
        )

    def iommu(self, iova: int, pa: int, size: int) -> Trace:
        body = f"IOMMU: iova=0x{iova:016x} - 0x{iova + size:016x} paddr=0x{pa:016x} size={size}"
        return self.add("map", body)

    def iommu_unmap(self, iova: int, size: int, done: int) -> Trace:
        end = iova + size
        body = f"IOMMU: iova=0x{iova:016x} - 0x{end:016x} size={size} unmapped_size={done}"
        return self.add("unmap", body)

    def __str__(self) -> str:
        return "".join(self.lines)


def bounces(
    bit: int = S, *, device: str = DISK, pool: int = POOL, phys: int = BUFFER, live: bool = False,
    names: str = "phys", forced: str = "FORCE",
) -> Trace:  # fmt: skip
    """Six buffers that are bounced, and unmapped unless they are to be live."""
    trace = Trace(names, forced)
    for n in range(6):
        trace.map(bit | pool + n * SLOT, phys + n * 4096, device)
    for n in range(0 if live else 6):
        trace.unmap(bit | pool + n * SLOT, device)
    return trace


def direct(step: int, base: int, phys: int = BUFFER, device: str = DISK) -> Trace:
    """Six buffers that are mapped without bouncing, at other addresses than their own."""
    trace = Trace()
    for n in range(6):
        trace.map(base + n * step, phys + n * 4096, device, bounce=False)
    for n in range(6):
        trace.unmap(base + n * step, device)
    return trace
