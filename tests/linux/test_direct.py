"""Which DMA address does a buffer get, and what happens when none fits the device?"""

import dataclasses
from collections.abc import Callable

import pytest

from guest_bench import BUFFER, POOL, POOL_SIZE, GuestBench
from guest_cpu import PAGE, RAM, RAM_SIZE, S
from topbit.addressing.cc_platform import cc_platform
from topbit.addressing.dma_direct import (
    DMA_BIT_MASK,
    DMA_MAPPING_ERROR,
    PHYS_ADDR_INVALID,
    BusDmaRegion,
    DmaDevice,
    phys_to_dma_unencrypted,
)
from topbit.addressing.kernel_policy import policy_for
from topbit.events import Event
from topbit.linux import direct as direct_module
from topbit.linux.device import Device
from topbit.linux.direct import DmaDirect, Mapping
from topbit.linux.dma_attrs import NO_ATTRS, DmaAttr
from topbit.linux.pageattr import LinearMap
from topbit.linux.swiotlb import IoTlbMem
from topbit.machine.model.flat_cpu import FlatCpu

OFFSET = 0x1000_0000
RANGES = (BusDmaRegion(RAM, RAM - OFFSET, 4 << 20),)


def direct(bench: GuestBench) -> DmaDirect:
    return bench.kernel.dma.direct


def private(bench: GuestBench, mask_bits: int = 64) -> Device:
    """A device that may use private memory."""
    device = bench.device(mask_bits)
    device.force_unencrypted = False
    return device


def test_a_forced_device_gets_a_bounce_slot_at_its_alias() -> None:
    bench = GuestBench()
    bench.kernel.memory.write(BUFFER, b"payload")
    dma_addr = direct(bench).map_phys(bench.device(), BUFFER, 7, "TO_DEVICE")
    assert dma_addr == POOL | S
    assert bench.kernel.memory.read(POOL, 7) == b"payload"
    (helper,) = bench.of("helper")
    assert (helper.attrs, helper.phys, helper.address) == (
        "phys_to_dma_unencrypted",
        POOL,
        POOL | S,
    )
    assert (helper.device, bench.kernel.pool.slots_used()) == ("nvme0", 1)


def test_a_device_of_private_memory_gets_the_buffer_itself() -> None:
    bench = GuestBench()
    assert direct(bench).map_phys(private(bench), BUFFER, 7, "TO_DEVICE") == BUFFER
    assert bench.kernel.pool.slots_used() == 0
    assert bench.events == []


@pytest.mark.parametrize(("size", "fits"), [(PAGE, True), (PAGE + 1, False)])
@pytest.mark.parametrize(("release", "otherwise"), [("7.2", POOL | S), ("7.3", DMA_MAPPING_ERROR)])
def test_a_private_buffer_must_end_below_the_devices_mask(
    release: str, otherwise: int, size: int, fits: bool
) -> None:
    """Else it bounces through the shared pool; from 7.3 on that is refused without a word."""
    bench = GuestBench(release)
    phys = BUFFER
    device = private(bench, 64)
    device.dma = dataclasses.replace(device.dma, bus_dma_limit=(POOL + PAGE | S) - 1)
    assert direct(bench).map_phys(device, phys, size, "TO_DEVICE") == phys
    device.dma = dataclasses.replace(device.dma, bus_dma_limit=0, dma_mask=phys + PAGE - 1)
    got = direct(bench).map_phys(device, phys, size, "TO_DEVICE")
    if fits:
        assert got == phys
    elif release == "7.3":
        assert (got, bench.logs()) == (otherwise, [])
    else:
        assert got == DMA_MAPPING_ERROR  # the bounce buffer is out of its reach as well
        assert bench.logs() == [
            f"nvme0: swiotlb addr 0x{otherwise:016x}+{size} overflow "
            f"(mask {phys + PAGE - 1:x}, bus limit 0)."
        ]


def test_a_bounce_slot_that_the_device_cannot_drive_is_given_back() -> None:
    bench = GuestBench()
    device = bench.device(40)
    assert direct(bench).map_phys(device, BUFFER, 512, "TO_DEVICE") == DMA_MAPPING_ERROR
    assert bench.kernel.pool.slots_used() == 0
    assert bench.logs() == [
        f"nvme0: swiotlb addr 0x{POOL | S:016x}+512 overflow (mask ffffffffff, bus limit 0)."
    ]
    slot = POOL + 2048  # the search goes on behind the one that was given back
    assert direct(bench).map_phys(bench.device(41), BUFFER, 512, "TO_DEVICE") == slot | S


def test_what_a_slot_held_is_not_copied_back_when_it_is_given_back() -> None:
    bench = GuestBench()
    bench.kernel.memory.write(BUFFER, b"mine")
    direct(bench).map_phys(bench.device(40), BUFFER, 4, "TO_DEVICE")
    assert bench.kernel.memory.read(BUFFER, 4) == b"mine"


def test_a_full_pool_is_told_with_its_figures() -> None:
    bench = GuestBench()
    device = bench.device()
    for _ in range(4):
        direct(bench).map_phys(device, BUFFER, 256 << 10, "TO_DEVICE")
    assert direct(bench).map_phys(device, BUFFER, 1, "TO_DEVICE") == DMA_MAPPING_ERROR
    assert bench.logs() == [
        "nvme0: swiotlb buffer is full (sz: 1 bytes), total 512 (slots), used 512 (slots)"
    ]


def test_an_unmapped_slot_is_copied_back_and_free() -> None:
    bench = GuestBench()
    device = bench.device()
    dma_addr = direct(bench).map_phys(device, BUFFER, 4, "TO_DEVICE")
    bench.kernel.memory.write(POOL, b"data")
    bench.events.clear()
    assert direct(bench).unmap_phys(device, dma_addr, 4, "FROM_DEVICE") == POOL
    assert bench.kernel.memory.read(BUFFER, 4) == b"data"
    assert bench.kernel.pool.slots_used() == 0
    (helper,) = bench.of("helper")
    assert (helper.attrs, helper.phys, helper.address) == ("dma_to_phys", POOL, dma_addr)


def test_an_address_that_is_no_slot_ends_nothing() -> None:
    bench = GuestBench()
    device = bench.device()
    direct(bench).map_phys(device, BUFFER, 4, "TO_DEVICE")
    assert direct(bench).unmap_phys(device, POOL + 2048 | S, 4, "FROM_DEVICE") == POOL + 2048
    assert bench.kernel.pool.slots_used() == 1


@pytest.mark.parametrize(
    ("release", "alias", "looked_up", "found", "phys"),
    [
        ("6.15", S, POOL - OFFSET, POOL, POOL),
        ("6.14", 0, POOL - OFFSET, POOL, POOL),
        ("6.14", S, POOL - OFFSET | S, PHYS_ADDR_INVALID, PHYS_ADDR_INVALID & ~S),
    ],
)
def test_behind_dma_ranges_the_order_of_lookup_and_bit_decides(
    release: str, alias: int, looked_up: int, found: int, phys: int
) -> None:
    bench = GuestBench(release)
    device = bench.device(dma_ranges=RANGES)
    assert direct(bench).map_phys(device, BUFFER, 4, "TO_DEVICE") == POOL - OFFSET | (
        S if release == "6.15" else 0
    )
    bench.events.clear()
    assert direct(bench).unmap_phys(device, POOL - OFFSET | alias, 4, "TO_DEVICE") == phys
    told = [(event.attrs, event.phys, event.address) for event in bench.of("helper")]
    assert told == [
        ("translate_dma_to_phys", found, looked_up),
        ("dma_to_phys", phys, POOL - OFFSET | alias),
    ]
    assert bench.kernel.pool.slots_used() == (0 if phys == POOL else 1)


def test_the_pool_stands_at_the_end_of_memory() -> None:
    bench = GuestBench()
    assert (bench.kernel.pool.start, bench.kernel.pool.size) == (POOL, POOL_SIZE)


@pytest.mark.parametrize("ranges", [(), RANGES])
@pytest.mark.parametrize("release", ["6.14", "7.3"])
def test_an_address_is_looked_up_once(
    release: str, ranges: tuple[BusDmaRegion, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = GuestBench(release)
    device = bench.device(dma_ranges=ranges)
    lookups = []
    look_up = direct_module.translate_dma_to_phys
    monkeypatch.setattr(
        direct_module,
        "translate_dma_to_phys",
        lambda *args: lookups.append(args) or look_up(*args),
    )
    direct(bench).unmap_phys(device, phys_to_dma_unencrypted(device.dma, POOL), 4, "TO_DEVICE")
    assert len(lookups) == 1


def test_what_the_lookup_finds_is_what_is_unmapped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lookup that goes wrong shows in the trace and in the act alike."""
    bench = GuestBench()
    device = bench.device(dma_ranges=RANGES)
    monkeypatch.setattr(direct_module, "translate_dma_to_phys", lambda regions, bus: 0x1234)
    assert direct(bench).unmap_phys(device, POOL - OFFSET | S, 4, "TO_DEVICE") == 0x1234
    assert [(event.attrs, event.phys, event.address) for event in bench.of("helper")] == [
        ("translate_dma_to_phys", 0x1234, POOL - OFFSET),
        ("dma_to_phys", 0x1234, POOL - OFFSET | S),
    ]


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


MMIO, SHARED, COHERENT = DmaAttr.MMIO, DmaAttr.CC_SHARED, DmaAttr.REQUIRE_COHERENT
C47, C51, ERROR = 1 << 47, 1 << 51, DMA_MAPPING_ERROR
BOUNCED = ["swiotlb_bounced"]


# What each release does, read in kernel/dma/direct.h (7.2), direct.c (7.3) and swiotlb.c.
@pytest.mark.parametrize(
    ("platform", "release", "attrs", "address", "said"),
    [
        ("arm-cca", "7.2", NO_ATTRS, POOL | S, BOUNCED),
        ("arm-cca", "7.3", NO_ATTRS, POOL | S, BOUNCED),
        ("arm-cca", "6.14", NO_ATTRS, POOL, BOUNCED),
        ("arm-cca", "7.2", SHARED, BUFFER | S, []),
        ("arm-cca", "7.3", SHARED, BUFFER | S, []),
        ("arm-cca", "7.2", COHERENT, ERROR, []),
        ("arm-cca", "7.3", COHERENT, ERROR, ["DMA add"]),
        ("arm-cca", "7.3", COHERENT | SHARED, BUFFER | S, []),
        ("arm-cca", "6.17", MMIO, BUFFER, []),
        ("arm-cca", "6.18", MMIO, ERROR, []),
        ("arm-cca", "7.2", MMIO, ERROR, []),
        ("arm-cca", "7.3", MMIO, ERROR, ["DMA add"]),
        ("arm-cca", "7.2", MMIO | SHARED, BUFFER, []),  # raw: without the shared bit
        ("arm-cca", "7.3", MMIO | SHARED, BUFFER | S, []),
        ("arm-pkvm", "7.2", NO_ATTRS, BUFFER, []),  # private memory, if no restricted pool is there
        ("arm-pkvm", "7.2", SHARED, ERROR, []),
        ("arm-pkvm", "7.3", NO_ATTRS, POOL, BOUNCED),
        ("arm-pkvm", "7.3", SHARED, BUFFER, []),
        ("amd-sme", "7.2", NO_ATTRS, BUFFER | C47, []),
        ("amd-sme", "7.2", SHARED, ERROR, []),
        ("amd-sme", "7.2", MMIO, BUFFER, []),
        ("amd-sme", "7.3", NO_ATTRS, BUFFER | C47, []),
        ("amd-sme", "7.3", MMIO, BUFFER, []),
        ("amd-sev-snp", "7.2", NO_ATTRS, POOL, BOUNCED),
        ("amd-sev-snp", "7.3", NO_ATTRS, POOL, BOUNCED),
        ("amd-sev-snp", "7.3", SHARED, BUFFER, []),
        ("intel-tdx", "7.3", NO_ATTRS, POOL, BOUNCED),
        ("intel-tdx", "7.3", SHARED, BUFFER, []),
        ("s390-pv", "7.2", NO_ATTRS, POOL, BOUNCED),
        ("none", "7.2", NO_ATTRS, BUFFER, []),
        ("none", "7.3", MMIO, BUFFER, []),
        ("none", "7.3", SHARED, BUFFER, []),
    ],
)
def test_what_a_mapping_gets(
    platform: str, release: str, attrs: DmaAttr, address: int, said: list[str]
) -> None:
    bench = DirectBench(platform, release)
    assert bench.map(bench.device(), attrs) == address
    assert bench.said() == said


@pytest.mark.parametrize(
    ("platform", "release", "mask_bits", "address", "said"),
    [
        ("arm-cca", "7.2", 32, ERROR, ["swiotlb_bounced", "swiotlb"]),
        ("arm-cca", "7.3", 40, ERROR, ["swiotlb_bounced", "swiotlb"]),
        ("arm-cca", "7.3", 41, POOL | S, BOUNCED),
        ("amd-sme", "7.2", 47, POOL, BOUNCED),  # too narrow for the C bit
        ("amd-sme", "7.3", 47, POOL, BOUNCED),
        ("amd-sme", "7.3", 48, BUFFER | C47, []),
        ("none", "7.3", 30, ERROR, ["swiotlb_bounced", "swiotlb"]),
        ("none", "7.3", 32, BUFFER, []),
    ],
)
def test_what_a_narrow_device_gets(
    platform: str, release: str, mask_bits: int, address: int, said: list[str]
) -> None:
    bench = DirectBench(platform, release)
    assert bench.map(bench.device(mask_bits)) == address
    assert bench.said() == said


@pytest.mark.parametrize(
    ("platform", "release", "address", "said"),
    [
        ("none", "7.3", ERROR, ["DMA add"]),
        ("arm-cca", "7.2", ERROR, ["DMA add"]),
        ("arm-cca", "7.3", ERROR, ["DMA add"]),
    ],
)
def test_without_a_pool_there_is_no_way_out(
    platform: str, release: str, address: int, said: list[str]
) -> None:
    bench = DirectBench(platform, release, pool=False)
    assert bench.map(bench.device(30)) == address
    assert bench.said() == said


def test_a_bounce_without_a_pool_is_refused() -> None:
    bench = DirectBench("none", "7.3", pool=False)
    assert bench.direct._swiotlb_map(bench.device(), BUFFER, 1, "TO_DEVICE", NO_ATTRS) == ERROR
    (event,) = bench.events
    assert event.status == "pool_missing"
    assert (event.detail or "").startswith("dev0: Can not allocate SWIOTLB buffer earlier")


@pytest.mark.parametrize(
    ("release", "shared", "private", "address"),
    [
        ("7.2", False, False, POOL | S),  # nobody asks what the pool is
        ("7.3", True, False, POOL | S),
        ("7.3", False, False, ERROR),
        ("7.3", True, True, ERROR),
        ("7.3", False, True, POOL),
    ],
)
def test_from_7_3_on_a_pool_serves_its_own_kind(
    release: str, shared: bool, private: bool, address: int
) -> None:
    bench = DirectBench("arm-cca", release)
    assert bench.direct.pool is not None
    bench.direct.pool.cc_shared = shared
    bench.direct.pool.force_bounce = True
    device = bench.device()
    if private:
        bench.policy = policy_for("proposed:private-for-trusted")
        device = bench.device(private=True)
        bench.direct.platform = cc_platform("none", bench.policy)  # swiotlb=force, for all
        bench.direct.platform = cc_platform("arm-cca", bench.policy)
        bench.direct.force_bounce = lambda dev: True  # type: ignore[method-assign]
    assert bench.map(device) == address
    assert bench.said() == BOUNCED


@pytest.mark.parametrize(("shared", "address"), [(True, POOL), (False, ERROR)])
def test_an_sme_hosts_pool_must_be_unencrypted(shared: bool, address: int) -> None:
    bench = DirectBench("amd-sme", "7.3")
    assert bench.direct.pool is not None
    bench.direct.pool.force_bounce = True
    bench.direct.pool.cc_shared = shared
    assert bench.map(bench.device()) == address


def test_a_full_pool_is_not_told_where_nobody_wants_to_know() -> None:
    bench = DirectBench("arm-cca", "7.3")
    device = bench.device()
    for _ in range(4):
        bench.direct.map_phys(device, BUFFER, 256 << 10, "TO_DEVICE")
    assert bench.map(device, DmaAttr.NO_WARN) == ERROR
    assert bench.said() == BOUNCED * 5


@pytest.mark.parametrize("attrs", [MMIO, COHERENT, MMIO | SHARED])
def test_what_never_bounces_is_not_looked_up_at_its_end(attrs: DmaAttr) -> None:
    bench = DirectBench("arm-cca", "7.3")
    device = bench.device()
    slot = bench.map(device)
    assert bench.direct.unmap_phys(device, slot, 64, "TO_DEVICE", attrs) is None
    assert bench.direct.unmap_phys(device, slot, 64, "TO_DEVICE") == POOL


def test_a_scatterlist_is_mapped_entry_by_entry() -> None:
    bench = DirectBench("arm-cca", "7.3")
    device = bench.device()
    got = bench.direct.map_sg(device, [(BUFFER, 4), (BUFFER + PAGE, 4096)], "FROM_DEVICE")
    assert got == [Mapping(POOL | S, 4), Mapping(POOL + PAGE | S, 4096)]
    bench.direct.memory.write(POOL, b"read")
    bench.direct.unmap_sg(device, got, "FROM_DEVICE")
    assert bench.direct.memory.read(BUFFER, 4) == b"read"


def test_a_scatterlist_of_which_one_entry_fails_leaves_nothing_mapped_or_copied() -> None:
    bench = DirectBench("arm-cca", "7.3")
    device = bench.device()
    sizes = [(BUFFER, 4), (BUFFER, (256 << 10) + 1)]
    assert bench.direct.map_sg(device, sizes, "BIDIRECTIONAL") == -5
    assert bench.direct.pool is not None
    assert bench.direct.pool.slots_used() == 0


@pytest.mark.parametrize(
    ("whom", "expected"), [("sync_single_for_cpu", b"dev"), ("sync_single_for_device", b"cpu")]
)
def test_a_mapping_is_synchronised(whom: str, expected: bytes) -> None:
    bench = DirectBench("arm-cca", "7.3")
    device, memory = bench.device(), bench.direct.memory
    slot = bench.map(device)
    memory.write(BUFFER, b"cpu")
    memory.write(POOL, b"dev")
    sync: Callable[..., None] = getattr(bench.direct, whom)
    sync(device, slot, 3, "BIDIRECTIONAL")
    assert memory.read(BUFFER, 3) == memory.read(POOL, 3) == expected


@pytest.mark.parametrize(
    ("platform", "mask"),
    [
        ("arm-cca", DMA_BIT_MASK(41)),
        ("amd-sme", DMA_BIT_MASK(48)),
        ("amd-sev-snp", DMA_BIT_MASK(31)),
        ("none", DMA_BIT_MASK(31)),
    ],
)
def test_the_mask_that_reaches_all_memory(platform: str, mask: int) -> None:
    bench = DirectBench(platform, "7.3")
    device = bench.device()
    assert bench.direct.required_mask(device) == mask
    assert not bench.direct.addressing_limited(bench.device(mask.bit_length()))
    assert bench.direct.addressing_limited(bench.device(40, limit=DMA_BIT_MASK(30)))


@pytest.mark.parametrize(
    ("platform", "release", "mask_bits", "supported"),
    [
        ("arm-cca", "7.3", 32, True),  # although no mapping succeeds
        ("arm-cca", "7.3", 31, False),
        ("arm-cca", "6.14", 31, True),
        ("none", "7.3", 31, True),
        ("none", "7.3", 30, False),
        ("amd-sme", "7.3", 31, True),
        ("arm-cca", "proposed:canonical-mask-check", 31, True),
        ("arm-cca", "proposed:canonical-mask-check", 30, False),
    ],
)
def test_which_masks_may_be_set(
    platform: str, release: str, mask_bits: int, supported: bool
) -> None:
    bench = DirectBench(platform, release)
    device = bench.device()
    assert bench.direct.supported(device, DMA_BIT_MASK(mask_bits)) is supported


def test_a_mask_of_24_bits_must_reach_zone_dma() -> None:
    bench = DirectBench("none", "7.3")
    device = bench.device()
    assert bench.direct.supported(device, DMA_BIT_MASK(24), zone_dma_limit=DMA_BIT_MASK(24))
    assert not bench.direct.supported(device, DMA_BIT_MASK(23), zone_dma_limit=DMA_BIT_MASK(24))


@pytest.mark.parametrize(
    ("platform", "release", "mask_bits", "longest"),
    [
        ("arm-cca", "7.2", 64, 256 << 10),
        ("arm-cca", "7.3", 64, 256 << 10),
        ("none", "7.3", 64, (1 << 64) - 1),
        ("none", "7.3", 30, 256 << 10),
        ("amd-sme", "7.3", 47, 256 << 10),
    ],
)
def test_the_longest_mapping(platform: str, release: str, mask_bits: int, longest: int) -> None:
    bench = DirectBench(platform, release)
    assert bench.direct.max_mapping_size(bench.device(mask_bits)) == longest


def test_without_a_pool_a_mapping_may_have_any_length() -> None:
    bench = DirectBench("arm-cca", "7.3", pool=False)
    assert bench.direct.max_mapping_size(bench.device()) == (1 << 64) - 1
