"""In which state was an interface when an event came?"""

import pytest

from rule_events import REALM, vdev
from topbit.events import Event
from topbit.recording import Recording
from topbit.replay.interfaces import Interface, interfaces

OTHER = Event("guest", "state", status="x")
EVENTS = [
    vdev("UNLOCKED"),  # 0
    OTHER,
    vdev("STARTED"),  # 2
    vdev("STARTED", dma=True),
    OTHER,
    vdev("STARTED"),  # 5
    vdev("UNLOCKED"),
    vdev("STARTED", dma=True),  # 7
    OTHER,
]


@pytest.fixture
def interface() -> Interface:
    recording = Recording.of_events(REALM, [*EVENTS, vdev("LOCKED", sid=0x21)])
    found = interfaces(recording)
    assert sorted(found) == [0x20, 0x21]
    assert found is interfaces(recording)
    return found[0x20]


@pytest.mark.parametrize(
    ("number", "told", "dma", "stopped"),
    [
        (0, None, False, None),
        (1, 0, False, None),
        (3, 2, False, None),
        (4, 3, True, None),
        (5, 3, True, None),
        (6, 5, False, 5),
        (7, 6, False, 5),
        (8, 7, True, 5),
    ],
)
def test_what_holds_is_what_was_told_last(
    interface: Interface, number: int, told: int | None, dma: bool, stopped: int | None
) -> None:
    row, end = interface.before(number), interface.stopped_by(number)
    assert (row and row["number"]) == told
    assert interface.may_make_dma(number) is dma
    assert (end and end["number"]) == stopped
