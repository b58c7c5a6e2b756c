"""Files of one run: logs and traces of a Realm, of a host, of a VMM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from log_wrappings import GUEST, HOST, stamp
from topbit.readers.read import read
from topbit.recording import Platform, Recording

REALM = "".join(f"{stamp(time)} {text}\n" for time, _, text in GUEST)
PLAIN = REALM.replace("RME: Using RSI version 1.0", "percpu: Embedded 34 pages/cpu")
PLAIN = PLAIN.replace("Memory encryption is active", "all is well")
EVENT = "".join(f"{stamp(time)} {text}\n" for time, _, text in HOST)
VIRTIO = PLAIN
PLAIN = PLAIN.replace("virtio-pci", "nvme")
HOST_LOG = PLAIN.replace("6.16.12", "6.15.0").replace("0x0000000080000000", "0x0000000040000000")
RMI = HOST_LOG + "[    0.100000] kvm [1]: RMI ABI version 1.0\n"
TASK = "         fio-812     [003] .....   101.{:06}: "


def trace(bit: int = 1 << 40, device: str = "0000:00:02.0", count: int = 6) -> str:
    """A trace of a guest that bounces all of its maps."""
    lines = []
    for n in range(count):
        phys, pool = 0x84570000 + n * 0x1000, 0x97200000 + n * 0x1000
        head = TASK.format(100 + 2 * n)
        lines.append(
            f"{head}swiotlb_bounced: dev_name: {device} dma_mask=ffffffffffffffff "
            f"dev_addr={phys:x} size=4096 FORCE"
        )
        head = TASK.format(101 + 2 * n)
        lines.append(
            f"{head}dma_map_phys: {device} dir=TO_DEVICE dma_addr={bit | pool:x} size=4096 "
            f"phys_addr={phys:x} attrs="
        )
    return "\n".join(lines) + "\n"


DIRECT = "".join(
    f"{TASK.format(n)}dma_map_phys: 0000:03:00.0 dir=TO_DEVICE dma_addr=ffff{n:x}000 size=4096 "
    f"phys_addr=1234{n:x}000 attrs=\n"
    for n in range(1, 7)
)
VFIO = (
    "  CPU 0/KVM-4021     [006] .....   900.000101: map: IOMMU: iova=0x0000010097200000 - "
    "0x0000010097208000 paddr=0x0000000884570000 size=32768\n"
)
OWN_MAP = (
    "  jbd2/nvme0n1-77    [006] .....   900.000202: map: IOMMU: iova=0x00000000ffff1000 - "
    "0x00000000ffff2000 paddr=0x0000000012341000 size=4096\n"
)
OWN_UNMAP = (
    "         swapper/0-1 [006] .....   900.000302: unmap: IOMMU: iova=0x00000000ffff1000 - "
    "0x00000000ffff2000 size=4096 unmapped_size=4096\n"
)
QEMU = "qemu-system-aarch64: vfio_dma_map(0x55de, 0xc0000, 0x20000, 0x7f75) = -22 (Invalid)\n"
TF_A = "NOTICE:  BL31: v2.11.0\nINFO:    BL31: Initializing runtime services\n"


def run(tmp_path: Path, files: dict[str, str], **options: Any) -> Recording:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return read([tmp_path / name for name in files], **options)[-1]


def roles(platform: Platform) -> dict[str, str]:
    return {Path(file.name).name: file.role for file in platform.files}
