"""Which messages of a host kernel tell that a confidential VM or its devices were refused?

Sources: Linux 7.2 drivers/vfio/vfio_iommu_type1.c; virt/kvm; the series "arm64: Support for Arm
CCA in KVM" (v16, 2026).
"""

from __future__ import annotations

import re

from topbit.events import Event
from topbit.readers.kernel_log.message import Family, trouble

FAILS = re.compile(r"fail|error|unable|cannot|denied", re.I)


def _pinning(text: str) -> Event:
    return trouble("vfio_map", text, attrs="reason=RLIMIT_MEMLOCK")


def _realm(text: str) -> Event | None:
    return trouble("realm_create", text) if FAILS.search(text) else None


FAMILIES = (
    Family(("RLIMIT_MEMLOCK",), _pinning),
    Family(("RMI_REALM_CREATE", "CREATE_RD", "create realm", "create Realm"), _realm),
)
