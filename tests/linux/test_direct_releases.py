"""What does dma-direct of each release give a device, on each platform?"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from direct_bench import DirectBench
from guest_bench import BUFFER, POOL
from guest_cpu import PAGE, S
from topbit.addressing.cc_platform import cc_platform
from topbit.addressing.dma_direct import (
    DMA_BIT_MASK,
    DMA_MAPPING_ERROR,
)
from topbit.addressing.kernel_policy import policy_for
from topbit.linux.direct import Mapping
from topbit.linux.dma_attrs import NO_ATTRS, DmaAttr

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
        ("arm-cca", "6.18", MMIO, ERROR, ["DMA add"]),
        ("arm-cca", "7.1", MMIO, ERROR, ["DMA add"]),
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
