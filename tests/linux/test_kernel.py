"""How does the modelled kernel boot, and what does it know of memory and devices?"""

import dataclasses

import pytest

from guest_bench import POOL, POOL_SIZE, GuestBench
from guest_cpu import IPA_BITS, PAGE, RAM, RAM_SIZE, S
from topbit.addressing.dma_direct import BusDmaRegion
from topbit.addressing.scheme import NONE
from topbit.arch.rmi import Ripas
from topbit.arch.rsi import CHANGE_DESTROYED, Rsi, RsiStatus
from topbit.linux.rsi import RsiError

END = RAM + RAM_SIZE


def test_a_realm_boots_in_the_kernels_order() -> None:
    bench = GuestBench("7.3", boot=False)
    bench.kernel.boot()
    assert bench.cpu.calls == [
        (Rsi.VERSION, 0x1_0000),
        (Rsi.IPA_STATE_SET, RAM, END, Ripas.RAM, 0),
        (Rsi.REALM_CONFIG, RAM),
        (Rsi.IPA_STATE_SET, POOL, END, Ripas.EMPTY, CHANGE_DESTROYED),
    ]
    assert bench.logs() == []
    assert bench.kernel.platform.scheme.ipa_bits == IPA_BITS
    shared = bench.kernel.memory.shared.nonzero()[0].tolist()
    assert shared == list(range((POOL - RAM) // PAGE, RAM_SIZE // PAGE))
    assert bench.kernel.memory.ipa(POOL) == POOL | S


@pytest.mark.parametrize(("release", "version"), [("6.12", 0), ("7.3", RsiStatus.ERROR_INPUT)])
def test_a_kernel_that_is_no_realm_shares_nothing(release: str, version: int) -> None:
    bench = GuestBench(release, boot=False)
    bench.cpu.version = (version, 0x1_0000, 0x1_0000)
    bench.kernel.boot()
    assert bench.cpu.calls == [(Rsi.VERSION, 0x1_0000)]
    assert bench.kernel.platform.scheme is NONE
    assert bench.kernel.memory.ipa(POOL) == POOL
    assert bench.device().force_unencrypted is False
    assert bench.kernel.dma.dma_map_phys(bench.device(), RAM, 4, "TO_DEVICE") == RAM


@pytest.mark.parametrize(
    ("release", "lines"),
    [
        ("7.2", []),
        ("7.3", ["software IO TLB: Failed to decrypt default memory pool, disabling it"]),
    ],
)
def test_a_pool_that_cannot_be_shared_is_told(release: str, lines: list[str]) -> None:
    bench = GuestBench(release, boot=False)
    bench.cpu.answers = [(0, END, 0), (RsiStatus.ERROR_INPUT, POOL, 0)]
    bench.kernel.boot()
    leaked = f"Failed to decrypt memory, {POOL_SIZE // PAGE} pages will be leaked"
    assert bench.logs() == [leaked, *lines]
    assert (bench.kernel.pool.slots_used() == 512) is (release == "7.3")


@pytest.mark.parametrize(("release", "size"), [("7.2", 2 << 20), ("7.3", 256 << 10)])
def test_a_pool_may_be_as_large_as_the_release_makes_it(release: str, size: int) -> None:
    """4 MiB of RAM: half of it is all that is free; or RAM/1024, a segment at least."""
    bench = GuestBench(release, boot=False)
    bench.kernel.config = dataclasses.replace(bench.kernel.config, swiotlb_size=0)
    bench.kernel.boot()
    assert (bench.kernel.pool.start, bench.kernel.pool.size) == (END - size, size)


def test_ram_that_cannot_be_protected_is_a_panic() -> None:
    bench = GuestBench(boot=False)
    bench.cpu.answers = [(RsiStatus.ERROR_INPUT, RAM, 0)]
    with pytest.raises(RsiError):
        bench.kernel.boot()


@pytest.mark.parametrize(
    ("release", "alias", "canonical"), [("6.14", False, False), ("6.15", True, True)]
)
def test_a_device_has_the_conventions_of_its_kernel(
    release: str, alias: bool, canonical: bool
) -> None:
    bench = GuestBench(release)
    ranges = [BusDmaRegion(0, 1, 2)]
    device = bench.kernel.device(
        "edu0", dma_mask=0xFFFF, dma_ranges=ranges, bus_dma_limit=0xFF, min_align_mask=0xFFF
    )
    assert (device.name, device.min_align_mask, device.coherent_dma_mask) == ("edu0", 0xFFF, 0xFFFF)
    assert device.dma.scheme is bench.kernel.platform.scheme
    assert (device.dma.dma_mask, device.dma.bus_dma_limit) == (0xFFFF, 0xFF)
    assert device.dma.dma_range_map == (BusDmaRegion(0, 1, 2),)
    assert device.dma.alias_for_shared is alias
    assert device.dma.canonical_before_lookup is canonical


@pytest.mark.parametrize(
    ("trusted", "private", "forced"),
    [(False, False, True), (True, False, True), (False, True, True), (True, True, False)],
)
def test_only_an_accepted_device_may_use_private_memory_and_only_if_the_kernel_lets_it(
    trusted: bool, private: bool, forced: bool
) -> None:
    bench = GuestBench(private_dma_for_trusted=private)
    assert bench.device(trusted=trusted).force_unencrypted is forced
    bench = GuestBench("proposed:private-for-trusted" if private else "7.3")
    assert bench.device(trusted=trusted).force_unencrypted is forced


@pytest.mark.parametrize(("trusted", "mask"), [(False, 0), (True, S)])
def test_a_proposed_kernel_leaves_the_bit_out_for_untrusted_devices(
    trusted: bool, mask: int
) -> None:
    bench = GuestBench("proposed:zero-based-iova")
    assert bench.device(trusted=trusted).dma.scheme.unencrypted_mask == mask


def test_a_kernel_is_built_for_48_bits_and_bounces_for_all_unless_it_is_said() -> None:
    config = GuestBench(boot=False).kernel.config
    assert (config.pa_bits_52, config.private_dma_for_trusted) == (False, False)


def test_52_bit_addresses_change_which_bit_the_kernel_sets() -> None:
    bench = GuestBench("7.3", boot=False, pa_bits_52=True)
    bench.kernel.boot()
    assert bench.kernel.platform.scheme == bench.kernel.config.policy.realm_scheme(
        IPA_BITS, pa_bits_52=True
    )


def test_the_first_page_is_not_given_and_the_pool_neither() -> None:
    bench = GuestBench()
    kernel = bench.kernel
    assert kernel.alloc_pages(1) == RAM + PAGE
    left = (RAM_SIZE - POOL_SIZE) // PAGE - 2
    assert kernel.alloc_pages(left + 1) is None
    assert kernel.alloc_pages(left) == RAM + 2 * PAGE
    assert kernel.alloc_pages(1) is None


def test_pages_that_came_back_are_given_to_who_wants_as_many() -> None:
    kernel = GuestBench().kernel
    two, one = kernel.alloc_pages(2), kernel.alloc_pages(1)
    assert two is not None
    assert one is not None
    kernel.free_pages(two, 2)
    assert kernel.alloc_pages(1) == one + PAGE
    assert kernel.alloc_pages(2) == two
    assert kernel.alloc_pages(2) == one + 2 * PAGE


INFO, ASK, ENABLE = Rsi.VDEV_GET_INFO, Rsi.HOST_CALL, Rsi.VDEV_DMA_ENABLE
GIVEN_UP = ["nvme0: failed to accept the device"]


@pytest.mark.parametrize(
    ("vdev", "host", "enable_dma", "calls", "log"),
    [
        ((0, 0), 0, True, [INFO, ASK, ENABLE], []),
        ((0, 0), 0, False, [INFO, ASK], []),
        ((1, 0), 0, True, [INFO], GIVEN_UP),
        ((0, 0), 1, True, [INFO, ASK], GIVEN_UP),
        ((0, 1), 0, True, [INFO, ASK, ENABLE], GIVEN_UP),
    ],
)
def test_an_assigned_device_is_accepted_or_that_is_told(
    vdev: tuple[int, int], host: int, enable_dma: bool, calls: list[Rsi], log: list[str]
) -> None:
    bench = GuestBench()
    bench.cpu.vdev, bench.cpu.host = vdev, host
    bench.kernel.config = dataclasses.replace(bench.kernel.config, enable_dma=enable_dma)
    bench.kernel.accept(bench.device(), 0x10)
    assert [call[0] for call in bench.cpu.calls] == calls
    assert {call[1] for call in bench.cpu.calls if call[0] != ASK} == {0x10}
    assert bench.cpu.calls[0][2] == RAM + PAGE
    assert bench.logs() == log
    assert bench.kernel.alloc_pages(1) == RAM + PAGE  # the page went back


def test_a_kernel_without_a_page_accepts_nothing() -> None:
    bench = GuestBench()
    assert bench.kernel.alloc_pages((RAM_SIZE - POOL_SIZE) // PAGE - 1) is not None
    bench.kernel.accept(bench.device(), 0x10)
    assert bench.cpu.calls == []
    assert bench.logs() == ["nvme0: failed to accept the device"]
    assert bench.kernel.alloc_pages(1) is None


def test_a_kernel_that_is_no_realm_accepts_nothing() -> None:
    bench = GuestBench("6.12")
    bench.kernel.accept(bench.device(), 0x10)
    assert bench.cpu.calls == []
    assert bench.logs() == []
