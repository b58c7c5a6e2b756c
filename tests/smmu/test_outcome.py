"""What does an SMMU event record say, as an event of a recording?"""

import pytest

from topbit.arch.smmuv3 import EventRecord, EventType
from topbit.events import Event
from topbit.smmu.outcome import event_of

FAULTS = ["F_UUT", "F_TRANSLATION", "F_ADDR_SIZE", "F_ACCESS", "F_PERMISSION"]


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_an_access_has_its_address_and_direction(name: str) -> None:
    record = EventRecord(
        Type=EventType[name], StreamID=0x10, RnW=1, S2=1, CLASS=2, InputAddr=0x1234, IPA=0x1000
    )
    assert event_of(record) == Event(
        "smmu", "smmu_event", sid=0x10, status=name, address=0x1234, direction="r",
        attrs="s2|IN", phys=0x1000,
    )  # fmt: skip


def test_a_failed_fetch_has_no_ipa_but_where_it_fetched() -> None:
    record = EventRecord(
        Type=EventType.F_WALK_EABT, StreamID=1, S2=1, CLASS=1, InputAddr=0x1234, FetchAddr=0x8000
    )
    event = event_of(record)
    assert (event.direction, event.attrs, event.phys) == ("w", "s2|TT", None)


@pytest.mark.parametrize(
    ("stage2", "kind", "attrs"), [(0, 0, "s1|CD"), (0, 2, "s1|IN"), (1, 3, "s2|class 3")]
)
def test_stage_and_class_are_told_and_stage_1_has_no_ipa(
    stage2: int, kind: int, attrs: str
) -> None:
    event = event_of(EventRecord(Type=EventType.F_TRANSLATION, S2=stage2, CLASS=kind))
    assert (event.attrs, event.phys) == (attrs, 0 if stage2 else None)


@pytest.mark.parametrize(
    ("kind", "name"),
    [(EventType.C_BAD_STE, "C_BAD_STE"), (EventType.F_STE_FETCH, "F_STE_FETCH"), (0x7F, "0x7f")],
)
def test_other_events_have_a_name_and_a_stream_only(kind: int, name: str) -> None:
    record = EventRecord(Type=kind, StreamID=7, InputAddr=0x1234)
    assert event_of(record) == Event("smmu", "smmu_event", sid=7, status=name)
