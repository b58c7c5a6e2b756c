"""What do QEMU's error messages and trace lines tell about devices' mappings?

Sources: QEMU 10.0 hw/vfio/trace-events, hw/vfio/container.c:vfio_legacy_dma_map,
hw/vfio/listener.c:vfio_iommu_map_notify, backends/iommufd.c, backends/trace-events,
hw/arm/trace-events, hw/arm/smmuv3.c:smmuv3_translate.
"""

from __future__ import annotations

import re

from topbit.events import Event
from topbit.readers.kernel_log.message import HEX, Family, attributes, number, trouble

REGION = re.compile(rf"region_(add|del) (?:\[ram\] )?{HEX} - {HEX}")
NOTIFY = re.compile(rf"iommu (MAP|UNMAP) @ {HEX} - {HEX}")
IOMMUFD = re.compile(
    rf"ioas=\d{{1,9}} iova={HEX} size={HEX}(?: addr=\S{{1,20}} readonly=\d)? \((-?\d{{1,6}})\)"
)
CALL = re.compile(
    rf"vfio_(?:container_|legacy_)?dma_(un)?map\([^,()]{{1,40}}, {HEX}, {HEX}"
    r"(?:, [^)]{1,40})?\) = (-?\d{1,6})"
)
CANNOT = re.compile(rf"can'?t map guest IOVA region {HEX}\.\.{HEX}")
FAILED = re.compile(r"VFIO_(UN)?MAP_DMA failed|IOMMU_IOAS_(UN)?MAP failed")
TRANSLATION = re.compile(rf"translation failed for iova={HEX} ?\((?:SMMU_EVT_)?([\w ]{{1,40}})\)")
ABORT = re.compile(rf"sid=0x([0-9a-f]{{1,8}}) (?:iova|addr)={HEX} is_write=(\d)")
RECORD = re.compile(
    r"smmuv3_record_event.{0,40}?(?:SMMU_EVT_)?([CFE]_\w{3,30}) sid=0x([0-9a-f]{1,8})"
)
FROM_QEMU = re.compile(r"qemu|virtio|Virtqueue|used index|avail index|descriptor")
CONVERT = re.compile(rf"\({HEX} ?,\+ {HEX}\)")
REGION_SID = re.compile(r"smmuv3-iommu-memory-region-(\d{1,5})-")


def _mapping(kind: str, start: str, end: int | None, size: int | None, text: str) -> Event | None:
    """Which event is a mapping or its end? The trace tells host addresses, but no physical ones."""
    first = int(start, 16)
    length = size if size is not None else (end or 0) + 1 - first
    if length <= 0:
        return None
    return Event("vmm", kind, address=first, size=length, status="ok", detail=text)


def _region(text: str) -> Event | None:
    match = REGION.search(text)
    if match is None:
        return None
    kind = "iommu_map" if match[1] == "add" else "iommu_unmap"
    return _mapping(kind, match[2], int(match[3], 16), None, text)


def _notify(text: str) -> Event | None:
    match = NOTIFY.search(text)
    if match is None:
        return None
    kind = "iommu_map" if match[1] == "MAP" else "iommu_unmap"
    return _mapping(kind, match[2], int(match[3], 16), None, text)


def _iommufd(text: str) -> Event | None:
    match = IOMMUFD.search(text)
    if match is None:
        return None
    unmap = "unmap_dma" in text
    if int(match[3]):
        return _refused(unmap, match[1], match[2], match[3], text)
    kind = "iommu_unmap" if unmap else "iommu_map"
    return _mapping(kind, match[1], None, int(match[2], 16), text)


def _call(text: str) -> Event | None:
    match = CALL.search(text)
    return _refused(bool(match[1]), match[2], match[3], match[4], text) if match else None


def _refused(unmap: bool, iova: str, size: str, error: str, text: str) -> Event:
    return trouble(
        "vfio_unmap" if unmap else "vfio_map",
        text,
        address=int(iova, 16),
        size=int(size, 16),
        attrs=attributes(error=error),
    )


def _cannot(text: str) -> Event | None:
    match = CANNOT.search(text)
    if match is None:
        return trouble("vfio_map", text)
    first, last = int(match[1], 16), int(match[2], 16)
    return trouble("vfio_map", text, address=first, size=max(last + 1 - first, 0))


def _failed(text: str) -> Event | None:
    match = FAILED.search(text)
    if match is None:
        return None
    return trouble("vfio_unmap" if match[1] or match[2] else "vfio_map", text)


def _translation(text: str) -> Event | None:
    match = TRANSLATION.search(text)
    if match is None:
        return None
    region = REGION_SID.search(text)
    return trouble(
        "vmm_smmu",
        text,
        sid=int(region[1]) if region else None,
        address=number(match[1]),
        attrs=attributes(event=match[2]),
    )


def _abort(text: str) -> Event | None:
    if record := RECORD.search(text):
        return trouble("vmm_smmu", text, sid=int(record[2], 16), attrs=f"event={record[1]}")
    match = ABORT.search(text)
    if match is None:
        return None
    return trouble(
        "vmm_smmu",
        text,
        sid=int(match[1], 16),
        address=number(match[2]),
        direction="w" if match[3] != "0" else "r",
    )


def _ring(text: str) -> Event | None:
    return trouble("ring", text) if FROM_QEMU.search(text) else None


def _conversion(text: str) -> Event | None:
    match = CONVERT.search(text)
    start, size = (int(match[1], 16), int(match[2], 16)) if match else (None, None)
    return trouble("conversion", text, phys=start, size=size)


def _vhost(text: str) -> Event:
    return trouble("vmm_dma", text)


FAMILIES = (
    # hw/virtio/virtio.c, hw/block/virtio-blk.c
    Family(
        (
            "Guest moved used index",
            "Guest moved avail index",
            "zero sized buffers are not allowed",
            "bogus descriptor or out of resources",
            "Virtqueue size exceeded",
            "Looped descriptor",
            "virtio-blk missing headers",
            "incorrect virtio header size",
        ),
        _ring,
    ),
    # accel/kvm/kvm-all.c:kvm_convert_memory, system/physmem.c:ram_block_discard_range
    Family(("Convert non guest_memfd", "failed to set memory (0x"), _conversion),
    # hw/virtio/vhost.c
    Family(
        (
            "vhost_set_mem_table failed",
            "Fail to lookup the translated address",
            "Fail to update device iotlb",
        ),
        _vhost,
    ),
    Family(("vfio_listener_region_add", "vfio_listener_region_del", "region_add [ram]"), _region),
    Family(("vfio_iommu_map_notify", "iommu MAP @", "iommu UNMAP @"), _notify),
    Family(("iommufd_backend_map_dma", "iommufd_backend_unmap_dma"), _iommufd),
    Family(("dma_map(0x", "dma_unmap(0x"), _call),
    Family(("map guest IOVA region", "DMA mapping failed, unable to continue"), _cannot),
    Family(("MAP_DMA failed", "IOAS_MAP failed", "IOAS_UNMAP failed"), _failed),
    Family(("translation failed for iova=",), _translation),
    Family(("smmuv3_translate_abort", "smmuv3_record_event"), _abort),
)
SIGNS = (
    "qemu-system-", "qemu: ", "vfio_listener_", "iommufd_backend_", "smmuv3_", "vfio_dma_map(",
    "-machine virt", "-accel kvm", "confidential-guest-support",
)  # fmt: skip
"""Words that QEMU's own output, its command line in libvirt's logs, or its traces have."""
