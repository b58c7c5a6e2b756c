"""Runs that were made up: what is in the files, and what an engineer concludes from them.

Each is (files, options of `read`, what is found). What is found: the severity, agent and id of each
violation and warning, or what stands in the report as unjudged trouble; "" where all is right.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from case_text import (
    BUFFER,
    DISK,
    HOST,
    PKVM,
    POOL,
    SLOT,
    TDX,
    S,
    Trace,
    arm,
    bounces,
    direct,
    log,
    smmu,
    x86,
)

Case: TypeAlias = tuple[dict[str, object], dict[str, Any], str]

NIC = "0000:02:00.0"
RESTRICTED = "Reserved memory: created restricted DMA pool at 0x00000000fc000000, size {}"
VIOMMU = f"pci {DISK}: Adding to iommu group 1"
FULL = "{}: swiotlb buffer is full (sz: {} bytes), total {} (slots), used {} (slots)"
WIDE = {"ipa_bits": 40}
SNP_HOST = log(
    "Linux version 7.2.13 (build@host) (x86_64-linux-gnu-gcc-14) #1 SMP",
    "SEV-SNP: RMP table physical range [0x0000000035600000 - 0x00000000757fffff]",
)


def of_vmm() -> Trace:
    return Trace(task="CPU 0/KVM-4021", time=5.0)


def realm(trace: object, release: str = "7.2.13", *more: str, **files: object) -> dict[str, object]:
    return {"dmesg": arm(release, *more), "trace": trace, **files}


def xen() -> Trace:
    """Machine addresses of a dom0."""
    trace = Trace("page")
    for n in range(8):
        trace.map(0x20_80A0_0000 + n * 0x5000, 0x120_0000 + n * 4096, bounce=False)
    return trace


def trusted() -> Trace:
    trace = bounces(forced="NORMAL")
    for n in range(4):
        trace.map(BUFFER + n * 4096, BUFFER + n * 4096, NIC, bounce=False)
    return trace


def late() -> Trace:
    """A trace that begins while buffers are mapped, and whose slots go to another device."""
    trace = Trace()
    for n in range(4):
        trace.unmap(S | POOL + 0x10_0000 + n * SLOT)
    for n in range(8):
        device = (DISK, NIC)[n % 2]
        trace.map(S | POOL, BUFFER + n * 4096, device).unmap(S | POOL, device)
    return trace


def odd() -> Trace:
    """What is no memory, and what is shared already, is not bounced."""
    trace = bounces()
    trace.map(0x40_1000_0000, 0x40_1000_0000, bounce=False, attrs="MMIO")
    for n in range(3):
        trace.map(
            S | 0x9000_0000 + n * 4096, 0x9000_0000 + n * 4096, bounce=False, attrs="CC_SHARED"
        )
    return trace


RIGHT: dict[str, Case] = {
    **{
        f"a Realm on Linux {release}": (realm(bounces(names=names), release), {}, "")
        for release, names in (
            ("6.15.4", "page"), ("6.17.3", "page"), ("6.18.2", "phys"), ("7.1.1", "phys"),
            ("6.12.0-211.7.1.el10_2.aarch64", "page"),  # a distribution's backport
        )
    },
    "a Realm on Linux 7.4, a pool in KiB": (
        {"dmesg": arm("7.4.0-rc3-next-20261020+", RESTRICTED.format("65536 KiB"),
                      realm="arm-rmm-rsi: Using RSI version 2.0"),
         "trace": bounces(forced="NORMAL")}, {}, "",
    ),
    "a restricted pool is forced on 7.3 too": (
        {"dmesg": arm("7.3.4", RESTRICTED.format("64 MiB"), pool=None), "trace": bounces()}, {}, "",
    ),
    "no memory, and memory that is shared": (realm(odd()), {}, ""),
    "a trace that begins late": (realm(late()), {}, ""),
    "a trusted device's own addresses": (
        {"dmesg": arm("7.3.4", devices=(DISK, NIC)), "trace": trusted()}, {"trusted": [NIC]}, "",
    ),
    "a guest's own IOMMU": (realm(direct(-4096, 0xF_FFFF_F000), "7.2.13", VIOMMU), {}, ""),
    "a server's trace of 48-bit IOVAs": ({"trace": direct(-4096, 0xFFFF_FFFF_F000)}, {}, ""),
    "an SME host's C bit": (
        {"trace": direct(4096, 1 << 47 | 0x20_80A0_0000, 0x20_80A0_0000)}, {"c_bit": 47}, "",
    ),
    "a dom0 of Xen": ({"dmesg": x86(says="Booting kernel on Xen"), "trace": xen()}, {}, ""),
    "a board whose bus adds a bit to all bounces": (
        {"dmesg": arm("6.12.34", "Machine model: Raspberry Pi 5", realm="", bounces=False),
         "trace": bounces(0x10_0000_0000, forced="NORMAL")}, {}, "",
    ),
    "a TDX guest": ({"dmesg": x86(says=TDX), "trace": bounces(0, pool=0x6F20_0000)}, {}, ""),
    "a TDX guest's own IOMMU": (
        {"dmesg": x86("7.2.13", VIOMMU, says=TDX), "trace": direct(-4096, 0xFFFF_FFFF_F000)},
        {}, "",
    ),
    "a pKVM guest on 7.3": (
        {"dmesg": arm("7.3.4", PKVM, realm=""), "trace": bounces(0, forced="NORMAL")}, {}, "",
    ),
    "a pKVM guest on 7.2 with a restricted pool": (
        {"dmesg": arm("7.2.13", PKVM, RESTRICTED.format("64 MiB"), realm="", bounces=False),
         "trace": bounces(0)}, {}, "",
    ),
    "a host that maps the alias": (
        realm(bounces(), host=of_vmm().iommu(S | 1 << 31, 0x8_9000_0000, 1 << 31)), {}, "",
    ),
    "UEFI had the plain addresses first": (
        realm(bounces(), host=of_vmm().iommu(1 << 31, 0x8_9000_0000, 1 << 31)
              .iommu_unmap(1 << 31, 1 << 31, 1 << 31).iommu(S | 1 << 31, 0x8_9000_0000, 1 << 31)),
        {}, "",
    ),
    "faults of the host's own devices": (
        realm(bounces(), host=HOST + smmu(0x7D00, 0xFEFF_E000, client="007d:00:00.0")), {}, "",
    ),
    "a kernel's first boot was old, the last is not": (
        {"console": arm("6.13.2") + arm(), "trace": bounces()}, {}, "",
    ),
}  # fmt: skip
SHARED_DEVICE = {"streams": {0x100: DISK}}
FAULT = smmu(0x100, S | POOL, client="0000:01:00.0")
WRONG: dict[str, Case] = {
    "an old Realm": (realm(bounces(0, names="page"), "6.13.5"), WIDE, "violation guest M1"),
    "the alias is not mapped": (
        realm(bounces(live=True), host=HOST + FAULT), SHARED_DEVICE, "violation vmm F1",
    ),
    "a plain address in RAM, the width unknown": (
        {"guest": arm("6.13.4"), "host": HOST + smmu(0x8, BUFFER)}, {}, "violation guest F2",
    ),
    "only plain addresses are mapped": (
        realm(bounces(), host=of_vmm().iommu(1 << 31, 0x8_9000_0000, 1 << 31)), {},
        "violation vmm V1",
    ),
    "an unmap that left something": (
        realm(bounces(), host=of_vmm().iommu(S | 1 << 31, 0x8_9000_0000, 1 << 31)
              .iommu_unmap(S | POOL, 0x20_0000, 0x1000)), {}, "warning vmm V3",
    ),
    "a Realm's buffer is not bounced": (
        realm(direct(4096, S | BUFFER, BUFFER)), {}, "violation guest M2",
    ),
    "a TDX guest's buffer is not bounced": (
        {"dmesg": x86(says=TDX), "trace": direct(4096, 1 << 32, 1 << 32)}, {}, "violation guest M2",
    ),
    "a pKVM guest's buffer is not bounced on 7.3": (
        {"dmesg": arm("7.3.4", PKVM, realm=""), "trace": direct(4096, BUFFER)}, {},
        "violation guest M2",
    ),
    "a page table's bit in a TDX guest's addresses": (
        {"dmesg": x86(says=TDX), "trace": bounces(1 << 47, pool=0x6F20_0000)}, {},
        "violation guest H5",
    ),
    "the C bit in an SEV guest's addresses": (
        {"dmesg": x86(), "trace": bounces(1 << 51, pool=0x6F20_0000)}, {"c_bit": 51},
        "violation guest M1",
    ),
    "one request is larger than a pool gives at once": (
        {"dmesg": x86("6.12.30", FULL.format(f"nvidia {DISK}", 2097152, 524288, 564), says=TDX)},
        {}, "warning guest S1",
    ),
    "the same in a Realm of 52 bits": (
        {"dmesg": arm("7.3.4", FULL.format(f"nvidia {DISK}", 2097152, 32768, 0))},
        {"ipa_bits": 52}, "warning guest S1",
    ),
    "a slot is given to two": (
        realm(Trace().map(S | POOL, BUFFER).map(S | POOL, BUFFER + 0x8000).unmap(S | POOL)
              .unmap(S | POOL)), {}, "violation guest M6",
    ),
    "a page that is private, on SNP": (
        {"guest": x86(devices=("0000:c1:00.0",)),
         "host": SNP_HOST + log("vfio-pci 0000:c1:00.0: AMD-Vi: Event logged [RMP_PAGE_FAULT "
                                "vmg_tag=0x0001, gpa=0x740b8784, flags_rmp=0x0003, flags=0x0020]")},
        {}, "warning guest F7",
    ),
}  # fmt: skip
UNJUDGED: dict[str, Case] = {
    name: (files, {}, kind)
    for name, files, kind in (
        ("a drive that does not answer", {"dmesg": arm("7.2.13", "nvme nvme0: I/O tag 0 (0000) "
         "opcode 0x2 (I/O Cmd) QID 3 timeout, aborting")}, "timeout"),
        ("a ring of garbage", {"dmesg": arm("7.2.13", "virtio_blk virtio0: requests.0:id 0 is not "
         "a head!")}, "ring"),
        ("Xen's IOMMU", {"xl": "(XEN) AMD-Vi: IO_PAGE_FAULT: 0000:03:00.0 d0 addr 00000000fee00000 "
         "flags 0x20 RW\n"}, "amd_vi"),
        ("a host's DMAR beside a TDX guest", {"guest": x86(says=TDX), "host": log(
         "Linux version 7.2.13 (x) (x86_64-linux-gnu-gcc-14) #1 SMP",
         "virt/tdx: module initialized",
         "DMAR: [DMA Write NO_PASID] Request device [01:00.0] fault addr 0x80006f200000 "
         "[fault reason 0x05] PTE Write access is not set")}, "dmar"),
        ("an SMMUv2 before a Realm", realm(bounces(live=True), host=HOST + log("arm-smmu "
         f"5000000.iommu: Unhandled context fault: fsr=0x402, iova={S | POOL:#x}, fsynr=0x11, "
         "cbfrsynra=0x8, cb=2")), "smmu_v2"),
        ("a queue of an SMMU that stands still", {"guest": arm(), "host": HOST + log("arm-smmu-v3 "
         "a.auto: CMD_SYNC timeout at 0x0100003b [hwprod 0x0100003c, hwcons 0x0000003b]")},
         "smmu_timeout"),
    )
}  # fmt: skip
