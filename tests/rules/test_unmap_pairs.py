"""M7: does each unmap and each sync belong to a live mapping, with its size and direction?"""

from __future__ import annotations

import pytest

from rule_events import BUFFER, PAGE, POOL, REALM, S, dma_alloc, dma_map, dma_sync, dma_unmap
from rule_findings import found
from topbit.events import Event
from topbit.recording import Recording
from topbit.rules.unmap_pairs import last_of_each

ALIAS = POOL | S
NEXT = ALIAS + PAGE


@pytest.mark.parametrize(
    ("events", "says"),
    [
        ([dma_map(size=128), dma_unmap()], "another size"),
        ([dma_map(), dma_unmap(size=128)], "another size"),
        ([dma_map(direction="TO_DEVICE"), dma_unmap()], "another direction"),
        ([dma_map(direction="BIDIRECTIONAL"), dma_unmap()], "another direction"),
        ([dma_map(), dma_unmap(), dma_unmap()], "twice"),
        ([dma_map(), dma_unmap(), dma_map(NEXT), dma_unmap(), dma_unmap(NEXT)], "twice"),
        ([dma_map(), dma_unmap(), dma_sync()], "after it was unmapped"),
        ([dma_map(), dma_unmap()], ""),
        ([dma_map(), dma_unmap(), dma_map(), dma_unmap()], ""),
        ([dma_map(), dma_map(NEXT), dma_unmap(NEXT), dma_unmap()], ""),
        ([dma_map(), dma_sync(), dma_unmap()], ""),
        ([dma_map(), dma_unmap(), dma_map(), dma_sync()], ""),
        ([dma_unmap(), dma_map(), dma_unmap()], ""),  # mapped before the trace began
        ([dma_map(), dma_unmap(), dma_map(size=128), dma_unmap(size=128)], ""),
        # A larger mapping has come to lie over the address.
        ([dma_map(NEXT), dma_unmap(NEXT), dma_map(size=2 * PAGE), dma_sync(NEXT)], ""),
        ([dma_map(NEXT), dma_unmap(NEXT), dma_alloc(ALIAS, size=2 * PAGE), dma_sync(NEXT)], ""),
        ([dma_map(NEXT), dma_unmap(NEXT), dma_map(size=PAGE), dma_sync(NEXT)],
         "after it was unmapped"),
        ([dma_map(NEXT), dma_map(size=2 * PAGE), dma_unmap(size=2 * PAGE), dma_unmap(NEXT),
          dma_sync(NEXT)], "after it was unmapped"),
    ],
)  # fmt: skip
def test_an_unmap_fits_its_map(events: list[Event], says: str) -> None:
    # Another buffer first, so that both kinds of events are there.
    around = [dma_map(ALIAS + 99 * PAGE, phys=BUFFER), dma_unmap(ALIAS + 99 * PAGE)]
    findings = found("M7", REALM, *around, *events)
    assert [says in finding.message for finding in findings] == ([True] if says else [])
    assert {finding.severity for finding in findings} <= {"violation"}


def test_what_was_mapped_and_what_is_unmapped_is_told() -> None:
    (finding,) = found("M7", REALM, dma_map(size=8192), dma_unmap(size=4096))
    assert finding.seen == f"dma_unmap of 0x{ALIAS:016x} size 4096, mapped as size 8192"
    (finding,) = found("M7", REALM, dma_map(), dma_unmap(), dma_unmap())
    assert finding.seen == f"dma_unmap of 0x{ALIAS:016x} again"


def test_many_unmaps_without_a_map_are_gaps_of_the_trace() -> None:
    lone = [dma_unmap(ALIAS + n * PAGE, size=128) for n in range(1, 6)]
    # An address whose maps and unmaps do not add up is looked at, as all of these.
    (finding,) = found("M7", REALM, dma_map(), dma_unmap(), dma_unmap(), *lone)
    assert (finding.severity, "the trace has gaps" in finding.seen) == ("warning", True)
    (finding,) = found("M7", REALM, dma_map(), dma_unmap(), dma_unmap(), *lone[:3])
    assert (finding.severity, "the trace has gaps" in finding.seen) == ("violation", False)


def test_devices_have_their_own_addresses() -> None:
    events = [
        dma_map(),
        dma_map(device="nic", size=128),
        dma_unmap(),
        dma_unmap(device="nic", size=128),
    ]
    assert found("M7", REALM, *events) == []


def test_the_last_event_of_each_address() -> None:
    recording = Recording.of_events(REALM, [dma_map(), dma_unmap(), dma_sync(NEXT)])
    assert last_of_each(recording).rows() == [(ALIAS, 0, 1, None), (NEXT, None, None, 2)]
