"""dma-direct of one kernel release on one confidential platform, without a guest around it."""

from __future__ import annotations

from guest_bench import BUFFER, POOL, POOL_SIZE
from guest_cpu import RAM, RAM_SIZE
from topbit.addressing.cc_platform import cc_platform
from topbit.addressing.dma_direct import (
    DMA_BIT_MASK,
    DmaDevice,
)
from topbit.addressing.kernel_policy import policy_for
from topbit.events import Event
from topbit.linux.device import Device
from topbit.linux.direct import DmaDirect
from topbit.linux.dma_attrs import NO_ATTRS, DmaAttr
from topbit.linux.pageattr import LinearMap
from topbit.linux.swiotlb import IoTlbMem
from topbit.machine.model.flat_cpu import FlatCpu


class DirectBench:
    """dma-direct of one release on one platform, on flat RAM.

    Attributes:
        events: what it printed.
    """

    def __init__(self, platform: str, release: str, *, pool: bool = True, ipa_bits: int = 41):
        self.policy = policy_for(release)
        self.platform = cc_platform(platform, self.policy, ipa_bits=ipa_bits)
        self.events: list[Event] = []
        memory = LinearMap(FlatCpu(RAM, RAM_SIZE), RAM, RAM_SIZE, None, self.events.append)
        mem = IoTlbMem(memory, POOL, POOL_SIZE, self.events.append) if pool else None
        if mem is not None:
            forced = self.platform.forces(self.policy) and not self.policy.capable_by_attrs
            mem.force_bounce = forced
            if self.platform.mem_encrypt:
                mem.cc_shared = True
        self.direct = DmaDirect(
            self.policy, self.platform, memory, mem, self.events.append, lambda *told: None
        )

    def device(self, mask_bits: int = 64, limit: int = 0, *, private: bool = False) -> Device:
        mask = DMA_BIT_MASK(mask_bits)
        forced = self.platform.force_dma_unencrypted(
            self.policy, coherent_dma_mask=mask, bus_dma_limit=limit
        )
        dma = DmaDevice(
            self.platform.device_scheme(self.policy), (), mask, limit, self.policy.alias_for_shared
        )
        return Device("dev0", dma, mask, force_unencrypted=forced and not private)

    def map(self, device: Device, attrs: DmaAttr = NO_ATTRS, phys: int = BUFFER) -> int:
        return self.direct.map_phys(device, phys, 64, "TO_DEVICE", attrs)

    def said(self) -> list[str]:
        return [(e.detail or e.event).partition(":")[2][1:8] or e.event for e in self.events]
