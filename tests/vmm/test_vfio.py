"""Where are shared pages mapped for assigned devices, and when does the SMMU forget them?"""

import pytest

from realm_bench import PAGE, RAM, SHARED_PA, SID, RealmBench, S
from topbit.events import Event
from topbit.smmu import Fault, Ok
from topbit.vmm.policy import MapFault, SmmuMap, VmmPolicy
from topbit.vmm.vfio import VMID, VfioError

DOORBELL = 0x0809_0040
WHERE = {
    SmmuMap.ALIAS: [RAM | S],
    SmmuMap.PROTECTED: [RAM],
    SmmuMap.BOTH: [RAM, RAM | S],
    SmmuMap.NONE: [],
}


@pytest.mark.parametrize(("policy", "iovas"), WHERE.items())
def test_each_policy_maps_at_its_addresses_and_unmaps_there(
    policy: SmmuMap, iovas: list[int]
) -> None:
    bench = RealmBench(VmmPolicy(smmu_map=policy))
    assert bench.vfio.iovas(RAM) == iovas
    bench.vfio.map(RAM, 2 * PAGE, SHARED_PA)
    for iova in (RAM, RAM | S):
        mapped = [bench.table.lookup(iova + page) for page in (0, PAGE)]
        assert mapped == ([SHARED_PA, SHARED_PA + PAGE] if iova in iovas else [None, None])
    bench.vfio.unmap(RAM, 2 * PAGE)
    assert bench.table.lookup(RAM) is None
    assert bench.table.lookup(RAM | S) is None
    where = {"size": 2 * PAGE, "status": "ok"}
    assert bench.events == [
        *(Event("vmm", "iommu_map", address=iova, pa=SHARED_PA, **where) for iova in iovas),
        *(
            Event("vmm", "iommu_unmap", address=iova, detail="unmapped 0x2000 bytes", **where)
            for iova in iovas
        ),
    ]


def test_an_attached_stream_goes_through_the_containers_table() -> None:
    bench = RealmBench()
    bench.vfio.attach(SID)
    bench.vfio.map(RAM, PAGE, SHARED_PA)
    reached = bench.smmu.access(SID, RAM + 8 | S, 8)
    assert isinstance(reached, Ok)
    assert reached.pa == SHARED_PA + 8
    assert isinstance(bench.smmu.access(SID, RAM, 8), Fault)


@pytest.mark.parametrize("invalidate", [True, False])
def test_an_unmapped_page_is_forgotten_by_a_vmm_that_invalidates(invalidate: bool) -> None:
    bench = RealmBench(VmmPolicy(invalidate=invalidate))
    bench.vfio.attach(SID)
    bench.vfio.map(RAM, PAGE, SHARED_PA)
    assert isinstance(bench.smmu.access(SID, RAM | S, 8), Ok)
    bench.vfio.unmap(RAM, PAGE)
    after = bench.smmu.access(SID, RAM | S, 8)
    assert isinstance(after, Fault if invalidate else Ok)


def test_what_is_forgotten_is_the_guests_own_and_only_where_something_was_mapped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for policy, forgotten in ((SmmuMap.BOTH, [VMID]), (SmmuMap.NONE, [])):
        bench = RealmBench(VmmPolicy(smmu_map=policy))
        vmids: list[int] = []
        monkeypatch.setattr(bench.driver, "invalidate", vmids.append)
        bench.vfio.map(RAM, PAGE, SHARED_PA)
        bench.vfio.unmap(RAM, PAGE)
        assert vmids == forgotten


def test_an_injected_failure_maps_nothing() -> None:
    bench = RealmBench(VmmPolicy(smmu_map=SmmuMap.BOTH, map_fault=MapFault.MAP))
    with pytest.raises(VfioError, match=r"^map$"):
        bench.vfio.map(RAM, PAGE, SHARED_PA)
    assert bench.table.lookup(RAM) is None
    assert bench.events == [
        Event(
            "vmm", "iommu_map", address=RAM, pa=SHARED_PA, size=PAGE, status="error",
            detail="ENOMEM (injected)",
        )
    ]  # fmt: skip


def test_what_the_table_refuses_fails_the_map() -> None:
    bench = RealmBench()
    bench.vfio.map(RAM, PAGE, SHARED_PA)
    with pytest.raises(VfioError, match=r"^map$"):
        bench.vfio.map(RAM, PAGE, SHARED_PA + PAGE)
    assert bench.table.lookup(RAM | S) == SHARED_PA
    assert (bench.events[-1].status, bench.events[-1].detail) == ("error", "EEXIST")


def test_an_injected_failure_leaves_the_mapping() -> None:
    bench = RealmBench(VmmPolicy(map_fault=MapFault.UNMAP))
    bench.vfio.map(RAM, PAGE, SHARED_PA)
    with pytest.raises(VfioError, match=r"^unmap$"):
        bench.vfio.unmap(RAM, PAGE)
    assert bench.table.lookup(RAM | S) == SHARED_PA
    assert (bench.events[-1].status, bench.events[-1].detail) == ("error", "EIO (injected)")


def test_an_unmap_that_finds_less_than_asked_says_so() -> None:
    bench = RealmBench()
    bench.vfio.map(RAM, PAGE, SHARED_PA)
    bench.vfio.unmap(RAM, 2 * PAGE)
    assert bench.table.lookup(RAM | S) is None
    last = bench.events[-1]
    assert (last.status, last.detail) == ("error", "unmapped 0x1000 bytes")


def test_the_doorbells_page_is_mapped_as_it_is() -> None:
    bench = RealmBench()
    bench.vfio.map_doorbell(DOORBELL)
    page = DOORBELL & ~0xFFF
    assert bench.table.lookup(DOORBELL) == DOORBELL
    assert bench.table.lookup(DOORBELL | S) is None
    assert bench.events == [
        Event(
            "vmm", "iommu_map", address=page, pa=page, size=PAGE, status="ok",
            detail="MSI doorbell",
        )
    ]  # fmt: skip


def test_a_vmm_may_forget_the_doorbell() -> None:
    bench = RealmBench(VmmPolicy(msi_doorbell=False))
    bench.vfio.map_doorbell(DOORBELL)
    assert bench.table.lookup(DOORBELL) is None
    assert bench.events == []
