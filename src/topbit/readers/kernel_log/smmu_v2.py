"""Which faults do the drivers of SMMUv2 and of other IOMMUs print?

Sources: Linux 7.2 drivers/iommu/arm/arm-smmu/arm-smmu.c:arm_smmu_context_fault,
:arm_smmu_global_fault, qcom_iommu.c; mtk_iommu.c, rockchip-iommu.c, apple-dart.c, ipmmu-vmsa.c,
sun50i-iommu.c, exynos-iommu.c, virtio-iommu.c, riscv/iommu.c, io-pgtable-arm.c; a downstream
Qualcomm kernel's "Unhandled arm-smmu context fault from".
"""

from __future__ import annotations

import re

from topbit.events import Event
from topbit.readers.kernel_log.message import (
    HEX,
    Family,
    Unreadable,
    attributes,
    device_before,
    number,
    trouble,
)

CONTEXT = re.compile(
    rf"context fault: (?:fsr={HEX}(?: \[[^\]]{{0,60}}\])?, ?)?iova={HEX}, ?fsynr={HEX}"
    r"(?: \[[^\]]{0,60}\])?"
    rf"(?:, ?cbfrsynra={HEX})?(?:, ?cb=(\d{{1,5}}))?"
)
FROM = re.compile(r"context fault from (\S{1,80}?)!?(?:\s|$)")
WRITE = 1 << 4
"""FSYNR0.WNR (drivers/iommu/arm/arm-smmu/arm-smmu.h)."""
SID = 0xFFFF
# drivers/memory/tegra: the memory controller of a Tegra refuses for itself and for its SMMU
CLIENT = re.compile(
    r"\b([\w-]{1,40}): (?:(?:non-)?secure )?(read|write) @(0x[0-9a-f]{1,16}): "
    r"([\w ]{1,60}(?:violation|error|fault)) \("
)
UNKNOWN_SID = re.compile(rf"Blocked unknown Stream ID {HEX}")
OTHERS = (
    # mtk_iommu
    re.compile(
        rf"fault type={HEX} iova=(?P<iova>0x[0-9a-f]{{1,16}}).{{0,120}}?\b(?P<way>read|write)"
    ),
    # rockchip, exynos, sun50i, virtio-iommu, ipmmu, apple-dart, riscv
    re.compile(r"Page fault at (?P<iova>0x[0-9a-f]{1,16}) of type (?P<way>read|write)"),
    re.compile(r"Page fault for (?P<iova>0x[0-9a-f]{1,16}) .{0,60}dir (?P<way>rd|wr|read|write)"),
    re.compile(r"PAGE FAULT occurred at (?P<iova>0x[0-9a-f]{1,16})(?P<way>)"),
    re.compile(
        r"(?:page|unknown|domain) fault from EP (?P<sid>\d{1,9})"
        r"(?: at (?P<iova>0x[0-9a-f]{1,16}) \[(?P<way>[RWX]{0,3})\])?"
    ),
    re.compile(r"Unhandled fault: status 0x[0-9a-f]{1,8} iova (?P<iova>0x[0-9a-f]{1,16})(?P<way>)"),
    re.compile(r"translation fault: .{0,80}\bat (?P<iova>0x[0-9a-f]{1,16})(?P<way>)"),
    re.compile(
        r"\bdevid: (?P<sid>0x[0-9a-f]{1,8}).{0,20}iotval: (?P<iova>[0-9a-f]{1,16})(?P<way>)"
    ),
)


def _context(text: str) -> Event:
    match = CONTEXT.search(text)
    if match is None:
        named = FROM.search(text)
        if named is None:
            raise Unreadable
        return trouble("smmu_v2", text, device=named[1], attrs="registers=on the next lines")
    fsr, iova, fsynr, stream, bank = match.groups()
    sid = number(stream)
    return trouble(
        "smmu_v2",
        text,
        sid=None if sid is None else sid & SID,
        address=number(iova),
        direction="w" if int(fsynr, 16) & WRITE else "r",
        attrs=attributes(
            smmu=device_before(text, "Unhandled"),
            fsr=f"0x{int(fsr, 16):x}" if fsr else None,
            cb=bank,
        ),
    )


def _global(text: str) -> Event | None:
    if "GFSR" in text:
        return None  # the registers of the fault on the line before
    match = UNKNOWN_SID.search(text)
    sid = number(match[1]) if match else None
    mark = "Blocked" if match else "Unexpected"
    return trouble(
        "smmu_v2_global",
        text,
        sid=sid if sid is None or sid <= 0xFFFFFFFF else None,
        attrs=attributes(smmu=device_before(text, mark)),
    )


def _timeout(text: str) -> Event:
    return trouble("smmu_timeout", text, attrs=attributes(smmu=device_before(text, "TLB sync")))


def _other(text: str) -> Event | None:
    for pattern in OTHERS:
        match = pattern.search(text)
        if match is None:
            continue
        fields = match.groupdict()
        way, sid = (fields.get("way") or "").lower(), fields.get("sid")
        return trouble(
            "iommu_fault",
            text,
            sid=int(sid, 0) if sid else None,
            address=number(fields.get("iova")),
            direction={"r": "r", "w": "w"}.get(way[:1]),
        )
    return None


def _memory_controller(text: str) -> Event | None:
    match = CLIENT.search(text)
    if match is None:
        return None
    return trouble(
        "iommu_fault",
        text,
        device=match[1],
        address=number(match[3]),
        direction=match[2][0],
        attrs=attributes(reason=match[4]),
    )


def _tables(text: str) -> Event:
    return trouble("smmu_error", text)


FAMILIES = (
    Family((" violation (", " decode error (", "page fault ("), _memory_controller),
    Family(("Cannot accommodate DMA translation for IOMMU page tables",), _tables),
    Family(("context fault",), _context),
    Family(("Unexpected global fault", "Blocked unknown Stream ID", "GFSR 0x"), _global),
    Family(("TLB sync timed out",), _timeout),
    Family(
        (
            "fault type=",
            "age fault",
            "AGE FAULT",
            "fault from EP",
            "Unhandled fault: status",
            "translation fault: status",
            "iotval",
        ),
        _other,
    ),
)
