"""Which events left entries of the host's that lead to physical memory?"""

import pytest

from rule_events import HOST, PAGE, REALM, S, iommu_map, iommu_unmap
from topbit.events import Event
from topbit.recording import Recording
from topbit.replay.host_tables import HostTables

IOVA = S | 0x4000_0000
EVERY = Event("vmm", "iommu_unmap", address=IOVA, size=PAGE)


@pytest.mark.parametrize(
    ("events", "made"),
    [
        ([], None),
        ([iommu_map(IOVA, HOST)], 0),
        ([iommu_map(IOVA, HOST + PAGE)], None),
        ([iommu_map(IOVA, HOST - PAGE, size=2 * PAGE)], 0),
        ([iommu_map(IOVA, HOST, status="error")], 0),
        ([iommu_map(IOVA, HOST), iommu_unmap(IOVA)], None),
        ([iommu_map(IOVA, HOST), iommu_unmap(IOVA, status="error")], 0),
        ([iommu_map(IOVA, HOST), iommu_unmap(IOVA, sid=0x11)], 0),
        ([iommu_map(IOVA, HOST), EVERY], None),
        ([iommu_map(IOVA, HOST), iommu_unmap(IOVA + PAGE)], 0),
        ([iommu_map(IOVA, HOST), iommu_map(0, HOST, sid=0x11), iommu_unmap(IOVA)], 1),
        ([iommu_map(IOVA, HOST), iommu_map(0, HOST), iommu_unmap(0)], 0),
        ([iommu_map(IOVA, HOST), iommu_map(IOVA, HOST + PAGE, sid=0x11)], 0),
    ],
)
def test_which_entry_leads_there(events: list[Event], made: int | None) -> None:
    tables = HostTables()
    for row in (
        Recording.of_events(REALM, events)
        .scan("iommu_map", "iommu_unmap")
        .collect()
        .iter_rows(named=True)
    ):
        tables.apply(row)
    assert tables.leads_to(HOST, PAGE) == made
