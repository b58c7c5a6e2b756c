"""Random mappings of the modelled dma-direct, for the kernel's own to do as well."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path

from oracle_program import answers
from swiotlb_oracle import BASE, BUFFERS, SEGMENT, SIZE
from topbit.addressing.cc_platform import CcPlatform, cc_platform
from topbit.addressing.dma_direct import DMA_BIT_MASK, BusDmaRegion, DmaDevice
from topbit.addressing.kernel_policy import KernelPolicy
from topbit.events import Event
from topbit.linux.device import Device
from topbit.linux.direct import DmaDirect
from topbit.linux.dma_attrs import DmaAttr
from topbit.linux.pageattr import LinearMap
from topbit.linux.swiotlb import IoTlbMem
from topbit.machine.model.flat_cpu import FlatCpu

PLATFORMS = ("arm-cca", "arm-pkvm", "amd-sme", "amd-sev-snp", "intel-tdx", "s390-pv", "none")
POOL_SIZE = 2 * SEGMENT
ALL = (1 << 64) - 1
REGIONS = (
    (),
    (BusDmaRegion(BASE, 0x1000_0000, SIZE),),
    (BusDmaRegion(BASE, 0x1000_0000, BUFFERS),),  # without the pool
)
WORDS = {
    "swiotlb addr": "swiotlb addr",
    "DMA addr": "DMA addr",
    "is full": "full",
    "Can not": "Can",
}


@dataclass
class Twin:
    """The model of one release, asked at random; each question is noted for the kernel's code.

    Attributes:
        lines: the questions; results: what the model answered.
    """

    policy: KernelPolicy
    seed: int
    lines: list[str] = field(default_factory=list)
    results: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        memory = LinearMap(FlatCpu(BASE, SIZE), BASE, SIZE, None, self.events.append)
        start = BASE + SIZE - POOL_SIZE
        self.pool = IoTlbMem(memory, start, POOL_SIZE, self.events.append)
        self.direct = DmaDirect(
            self.policy,
            cc_platform("none", self.policy),
            memory,
            self.pool,
            self.events.append,
            lambda *told: None,
        )

    def run(self, devices: int, mappings: int) -> None:
        """Ask for `mappings` mappings of each of `devices` devices."""
        for _ in range(devices):
            device = self._device(self._platform())
            self._ask_besides(device)
            for _ in range(mappings):
                self._map(device)

    def _do(self, *words: int) -> None:
        padded = (*words, *[0] * (8 - len(words)))
        self.lines.append(" ".join(str(int(word)) for word in padded))

    def _platform(self) -> CcPlatform:
        pick = self.random.choice
        platform = cc_platform(pick(PLATFORMS), self.policy)
        self.direct.platform = platform
        self.pool.cc_shared = pick((True, True, False)) if platform.mem_encrypt else False
        forces = platform.forces(self.policy) and not self.policy.capable_by_attrs
        self.pool.force_bounce = forces or pick((False, False, True))
        attributes = platform.mem_encrypt << 1 | platform.guest_mem_encrypt(self.policy) << 2
        attributes |= platform.host_mem_encrypt << 3
        scheme = platform.scheme
        self._do(0, scheme.encrypted_mask, scheme.unencrypted_mask, attributes,
                 self.pool.force_bounce, self.pool.cc_shared)  # fmt: skip
        return platform

    def _device(self, platform: CcPlatform) -> Device:
        pick = self.random.choice
        mask = DMA_BIT_MASK(pick((30, 31, 32, 40, 41, 47, 48, 52, 64, 64)))
        limit = pick((0, 0, 0, DMA_BIT_MASK(31), DMA_BIT_MASK(41)))
        regions = pick(REGIONS)
        forced = platform.force_dma_unencrypted(
            self.policy, coherent_dma_mask=mask, bus_dma_limit=limit
        )
        # The model's way of a proposal is not the kernel's: whoever is forced by a pool is forced.
        self.direct.pool = pick((self.pool, self.pool, self.pool, None))
        region = regions[0] if regions else BusDmaRegion(0, 0, 0)
        self._do(1, mask, limit, forced, region.cpu_start, region.dma_start, region.size,
                 self.direct.pool is not None)  # fmt: skip
        dma = DmaDevice(platform.device_scheme(self.policy), regions, mask, limit)
        return Device("dev", dma, mask, force_unencrypted=forced)

    def _ask_besides(self, device: Device) -> None:
        mask = DMA_BIT_MASK(self.random.choice((24, 30, 31, 32, 40)))
        self._do(3, mask)
        supported = self.direct.supported(device, mask, zone_dma_limit=ALL)
        longest = self.direct.max_mapping_size(device)
        self.results.append(f"{self.direct.required_mask(device)} {supported:d} {longest}")

    def _map(self, device: Device) -> None:
        pick = self.random.choice
        attrs = DmaAttr(0)
        for attr in DmaAttr:
            if self.random.random() < 0.2:
                attrs |= attr
        size = pick((1, 512, 4096, 70_000, 300_000))
        phys = BASE + self.random.randrange(BUFFERS - size)
        self.events.clear()
        address = self.direct.map_phys(device, phys, size, "BIDIRECTIONAL", attrs)
        said = [event.detail or "" for event in self.events if event.detail]
        word = "".join(short for line in said for key, short in WORDS.items() if key in line)
        self._do(2, phys, size, attrs)
        self.results.append(f"{address} {self.pool.slots_used()} {word}".strip())
        if address != ALL:
            self.direct.unmap_phys(device, address, size, "BIDIRECTIONAL", attrs)


def run_kernels(program: Path, twin: Twin) -> list[str]:
    """What does the kernel's code answer to the same questions?"""
    # Of the line about the missing pool the first word tells enough.
    lines = answers(program, (SIZE, POOL_SIZE), twin.lines)
    return [line.partition(" not allocate")[0].strip() for line in lines]
