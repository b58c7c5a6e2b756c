"""Which events left entries of the host's that lead to physical memory?"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.booleans(), st.sampled_from([0x10, 0x11, None]), *[st.integers(0, 3)] * 3),
        max_size=20,
    )
)
def test_it_is_what_page_by_page_accounts_say(
    steps: list[tuple[bool, int | None, int, int, int]],
) -> None:
    tables, pages = HostTables(), dict[tuple[int | None, int], int]()
    for number, (maps, sid, iova, pa, more) in enumerate(steps):
        size = (more + 1) * PAGE
        made = iommu_map(iova * PAGE, pa * PAGE, size) if maps else iommu_unmap(iova * PAGE, size)
        made.sid = sid
        tables.apply(Recording.of_events(REALM, [made]).row(0) | {"number": number})
        for page in range(more + 1):
            if maps:
                pages[sid, iova + page] = pa + page
                continue
            for stream in {sid} if sid is not None else {each for each, _ in pages}:
                pages.pop((stream, iova + page), None)
    for page in range(8):
        there = page in pages.values()
        assert (tables.leads_to(page * PAGE, PAGE) is not None) == there
