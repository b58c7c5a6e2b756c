"""A page turns from private to shared and back: what the Realm, the devices and the host see."""

import numpy as np
import pytest

from realm_bench import PAGE, PRIVATE_PA, RAM, RAM_SIZE, SHARED_PA, RealmBench, S
from topbit.arch.rmi import Ripas, Rmi, Rmi2
from topbit.events import Event
from topbit.rmm import Sea, State, Translated
from topbit.vmm.convert import runs
from topbit.vmm.policy import MapFault, VmmPolicy

AT = RAM + 0x10 * PAGE


def shared_pa(ipa: int) -> int:
    return SHARED_PA + ipa - RAM


def private_pa(ipa: int) -> int:
    return PRIVATE_PA + ipa - RAM


def converted(bench: RealmBench) -> list[Event]:
    return [event for event in bench.events if event.event == "convert"]


@pytest.fixture(params=["1.0", "2.0"])
def bench(request: pytest.FixtureRequest) -> RealmBench:
    return RealmBench(abi=request.param)


def test_a_shared_page_is_reached_at_the_alias_by_realm_and_devices(bench: RealmBench) -> None:
    assert bench.share(AT)
    assert bench.reaches(AT | S) == Translated(shared_pa(AT), ns=True)
    assert isinstance(bench.reaches(AT), Sea)
    assert bench.table.lookup(AT | S) == shared_pa(AT)
    assert bench.table.lookup(AT) is None
    assert bench.slot.shared.nonzero()[0].tolist() == [0x10]
    assert converted(bench) == [
        Event("vmm", "convert", phys=AT, pa=shared_pa(AT), size=PAGE, status="shared")
    ]
    assert bench.vmm.converter.latest == AT


def test_a_page_made_private_again_is_reached_by_the_realm_alone(bench: RealmBench) -> None:
    assert bench.share(AT)
    assert bench.unshare(AT)
    assert bench.touch(AT) == Translated(private_pa(AT), ns=False)
    assert bench.table.lookup(AT | S) is None
    assert not bench.slot.shared.any()
    assert bench.slot.populated.nonzero()[0].tolist() == [0x10]
    assert converted(bench)[1:] == [
        Event("vmm", "convert", phys=AT, pa=private_pa(AT), size=PAGE, status="private")
    ]


def test_the_private_page_of_a_shared_one_goes_back_to_the_host(bench: RealmBench) -> None:
    bench.touch(AT)
    bench.memory.write(private_pa(AT), b"private")
    assert bench.rmm.granules.get(private_pa(AT)) == State.DATA
    assert bench.share(AT)
    assert bench.rmm.granules.get(private_pa(AT)) == State.NS
    assert not bench.slot.populated.any()
    assert bench.memory.read(private_pa(AT), 7) == bytes(7)


@pytest.mark.parametrize("in_place", [False, True])
def test_a_reshared_page_is_wiped(in_place: bool) -> None:
    bench = RealmBench(in_place=in_place)
    assert bench.share(AT, 2 * PAGE)
    bench.memory.write(shared_pa(AT), b"left by a device")
    assert bench.unshare(AT, 2 * PAGE)
    assert bench.share(AT, 2 * PAGE)
    assert not any(bench.memory.read(shared_pa(AT), 2 * PAGE))


def test_what_the_host_left_in_backing_that_is_one_is_wiped() -> None:
    bench = RealmBench(in_place=True)
    bench.memory.fill(SHARED_PA, RAM_SIZE, 0xA5)
    assert bench.share(AT, 2 * PAGE)
    assert not any(bench.memory.read(shared_pa(AT), 2 * PAGE))
    assert bench.memory.read(shared_pa(AT) - 1, 1) == b"\xa5"
    assert bench.memory.read(shared_pa(AT) + 2 * PAGE, 1) == b"\xa5"


def test_a_page_that_is_shared_already_keeps_its_content(bench: RealmBench) -> None:
    assert bench.share(AT + PAGE)
    bench.memory.write(shared_pa(AT + PAGE), b"in use")
    bench.touch(AT + 2 * PAGE)
    assert bench.share(AT, 4 * PAGE)
    assert bench.memory.read(shared_pa(AT + PAGE), 6) == b"in use"
    for page in range(AT, AT + 4 * PAGE, PAGE):
        assert bench.reaches(page | S) == Translated(shared_pa(page), ns=True)
        assert bench.table.lookup(page | S) == shared_pa(page)
    assert bench.slot.shared.nonzero()[0].tolist() == [0x10, 0x11, 0x12, 0x13]


def test_only_the_shared_pages_of_a_range_are_unmapped(bench: RealmBench) -> None:
    assert bench.share(AT + PAGE)
    bench.touch(AT)
    bench.memory.write(private_pa(AT), b"in use")
    assert bench.unshare(AT, 3 * PAGE)
    assert bench.reaches(AT) == Translated(private_pa(AT), ns=False)
    assert bench.memory.read(private_pa(AT), 6) == b"in use"
    assert bench.touch(AT + PAGE) == Translated(private_pa(AT + PAGE), ns=False)
    unmapped = [event for event in bench.events if event.event == "iommu_unmap"]
    assert [(event.address, event.size) for event in unmapped] == [(AT + PAGE | S, PAGE)]


def test_pages_of_which_none_is_shared_become_ram_without_a_word(bench: RealmBench) -> None:
    assert bench.unshare(AT, 2 * PAGE)
    assert bench.events == []


def test_the_range_may_be_the_last_of_the_slot(bench: RealmBench) -> None:
    last = RAM + RAM_SIZE - PAGE
    assert bench.share(last)
    assert bench.table.lookup(last | S) == shared_pa(last)
    assert bench.unshare(last)


@pytest.mark.parametrize(("base", "size"), [(RAM - PAGE, PAGE), (RAM + RAM_SIZE - PAGE, 2 * PAGE)])
def test_what_is_no_ram_of_the_guest_is_not_converted(
    bench: RealmBench, base: int, size: int
) -> None:
    assert bench.ask(base, base + size, Ripas.EMPTY) == (base, 0)
    assert bench.ask(base, base + size, Ripas.RAM) == (base, 1)
    assert bench.events == []


def refused_by_vfio(page: int, pa: int, wanted: str) -> Event:
    return Event(
        "vmm", "convert", phys=page, pa=pa, size=PAGE, status="error",
        attrs=wanted, detail="refused: the VFIO operation failed",
    )  # fmt: skip


def test_a_failed_vfio_map_leaves_the_page_private() -> None:
    bench = RealmBench(VmmPolicy(map_fault=MapFault.MAP))
    bench.touch(AT)
    assert bench.ask(AT, AT + PAGE, Ripas.EMPTY) == (AT, 0)
    assert bench.reaches(AT) == Translated(private_pa(AT), ns=False)
    assert not bench.slot.shared.any()
    assert bench.vmm.converter.latest == 0
    assert converted(bench) == [refused_by_vfio(AT, shared_pa(AT), "shared")]


def test_a_failed_vfio_unmap_leaves_the_page_shared() -> None:
    bench = RealmBench(VmmPolicy(map_fault=MapFault.UNMAP))
    assert bench.share(AT)
    assert bench.ask(AT, AT + PAGE, Ripas.RAM) == (AT, 1)
    assert bench.reaches(AT | S) == Translated(shared_pa(AT), ns=True)
    assert bench.table.lookup(AT | S) == shared_pa(AT)
    assert bench.slot.is_shared(AT, PAGE)
    assert converted(bench)[1:] == [refused_by_vfio(AT, private_pa(AT), "private")]


def test_a_vmm_that_ignores_a_failed_map_shares_all_the_same() -> None:
    bench = RealmBench(VmmPolicy(map_fault=MapFault.MAP, fail_closed=False))
    assert bench.share(AT)
    assert bench.reaches(AT | S) == Translated(shared_pa(AT), ns=True)
    assert bench.table.lookup(AT | S) is None


def test_a_vmm_that_ignores_a_failed_unmap_leaves_devices_a_stale_mapping() -> None:
    bench = RealmBench(VmmPolicy(map_fault=MapFault.UNMAP, fail_closed=False))
    assert bench.share(AT)
    assert bench.unshare(AT)
    assert not bench.slot.shared.any()
    assert bench.table.lookup(AT | S) == shared_pa(AT)


def test_a_share_that_the_rmm_refuses_is_taken_from_the_devices_again() -> None:
    bench = RealmBench()
    assert bench.share(AT + PAGE)
    bench.port.refused = {Rmi2.RTT_UNPROT_MAP}
    bench.ask(AT, AT + 3 * PAGE, Ripas.EMPTY)
    assert bench.table.lookup(AT | S) is None
    assert bench.table.lookup(AT + PAGE | S) == shared_pa(AT + PAGE)  # it was shared before
    assert bench.table.lookup(AT + 2 * PAGE | S) is None
    assert bench.slot.shared.nonzero()[0].tolist() == [0x11]
    assert converted(bench)[-1].detail == "refused: RMI_RTT_UNPROT_MAP: ERROR_INPUT, index 0"


def test_pages_that_the_rmm_does_not_make_ram_are_refused(bench: RealmBench) -> None:
    bench.port.refused = {Rmi.RTT_SET_RIPAS}
    assert bench.ask(AT, AT + PAGE, Ripas.RAM) == (AT, 1)
    (refused,) = converted(bench)
    assert (refused.status, refused.attrs, refused.phys) == ("error", "private", AT)
    assert refused.detail == "refused: RMI_RTT_SET_RIPAS: ERROR_INPUT, index 0"


def test_an_unmapped_page_is_shared_no_more_though_ram_is_refused(bench: RealmBench) -> None:
    assert bench.share(AT)
    bench.port.refused = {Rmi.RTT_SET_RIPAS}
    assert bench.ask(AT, AT + PAGE, Ripas.RAM) == (AT, 1)
    assert not bench.slot.shared.any()
    assert converted(bench)[1].attrs == "private"
    bench.port.refused.clear()
    assert bench.share(AT)
    assert bench.reaches(AT | S) == Translated(shared_pa(AT), ns=True)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("", []),
        ("0", []),
        ("1", [(0, 1)]),
        ("0110", [(1, 3)]),
        ("1011", [(0, 1), (2, 4)]),
        ("111", [(0, 3)]),
    ],
)
def test_runs_are_the_ranges_of_true_pages(flags: str, expected: list[tuple[int, int]]) -> None:
    changes = np.array([flag == "1" for flag in flags], np.bool_)
    ranges = [(AT + first * PAGE, (last - first) * PAGE) for first, last in expected]
    assert runs(changes, AT) == ranges
