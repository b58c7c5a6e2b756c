"""Events of one device with something in each half, for the tests of the address map."""

from __future__ import annotations

import dataclasses

from topbit.events import Event
from topbit.recording import DeviceFacts, Platform

S = 1 << 40
RAM, POOL = 0x4000_0000, 0x76B0_0000
PLATFORM = Platform(
    realm=True,
    ipa_bits=41,
    ram=[(RAM, 1 << 30)],
    pools=[(POOL, 64 << 20)],
    devices={"nvme0": DeviceFacts(sid=8), "virtio0": DeviceFacts(emulated=True)},
    msi_doorbells=[0x809_0040],
)
GIVEN = Event("guest", "dma_map", device="nvme0", address=S | POOL, phys=RAM, size=64)
REFUSED = Event("smmu", "smmu_event", sid=8, address=S | RAM + 0x5000, status="F_TRANSLATION")
LET = Event("device", "access", device="nvme0", sid=8, address=S | POOL, status="ok")
SERVED = Event("vmm", "vmm_dma", device="virtio0", address=S | POOL, status="ok")
TABLE = Event("vmm", "iommu_map", sid=8, address=RAM, pa=RAM, size=0x2000, status="ok")
EVERY = dataclasses.replace(TABLE, sid=None, address=0x809_0000, pa=0x809_0000)
SHARED = Event("vmm", "convert", phys=POOL, size=0x3000, status="shared")
