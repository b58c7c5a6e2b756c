"""What does kvmtool (lkvm) print about a Realm and its devices?

Sources: kvmtool arm/aarch64/kvm.c:kvm__get_vm_type, vfio/core.c:vfio_map_mem_range,
vfio/iommufd.c; the CCA branches' arm64/realm.c.
"""

from __future__ import annotations

import re

from topbit.events import Event
from topbit.readers.kernel_log.message import HEX, Family, attributes, number, trouble

IPA_BITS = re.compile(r"max_ipa (?:0x)?([0-9a-f]{1,16}) ipa_bits (\d{1,2})\b")
FAILED_MAP = re.compile(
    rf"[Ff]ailed to (un)?map {HEX}(?: -> \S{{1,20}})?(?: \((\w{{1,20}})\))?.{{0,12}}DMA"
)
CREATE = re.compile(r"KVM_CAP_\w*RM[EI]\w*\((\w{1,60})\): (.{1,80})")


def ipa_bits_of(text: str) -> int | None:
    """How wide is the Realm's IPA space, if this line says it?

    For a Realm kvmtool asks for one bit more than the highest guest address needs.
    """
    match = IPA_BITS.search(text)
    if match is None:
        return None
    bits = int(match[2])
    return bits if bits == max(int(match[1], 16).bit_length(), 31) + 1 else None


def _map(text: str) -> Event | None:
    match = FAILED_MAP.search(text)
    if match is None:
        return None
    kind = "vfio_unmap" if match[1] else "vfio_map"
    return trouble(kind, text, address=number(match[2]), attrs=attributes(size=match[3]))


def _create(text: str) -> Event | None:
    match = CREATE.search(text)
    return trouble("realm_create", text, attrs=attributes(call=match[1])) if match else None


FAMILIES = (
    Family(("ailed to map 0x", "ailed to unmap 0x", "for DMA"), _map),
    Family(("KVM_CAP_",), _create),
)
SIGNS = (
    "lkvm run",
    "lkvm-static",
    "kvm__get_vm_type",
    "kvm__arch_",
    "  Info: (",
    "  Fatal: (",
    "  Error: (",
)
