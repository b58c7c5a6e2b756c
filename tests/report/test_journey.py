"""The way of one address, as far as the evidence tells it."""

from __future__ import annotations

import dataclasses

import pytest

from topbit.events import Event
from topbit.recording import Platform, Recording
from topbit.report.evidence_events import events_of
from topbit.report.journey import Step, journey
from topbit.rules.finding import Evidence, Finding
from topbit.rules.wording import evidence_of

S = 1 << 40
PLATFORM = Platform(realm=True, ipa_bits=41, pools=[(0x76B0_0000, 64 << 20)])
MAP = Event("guest", "dma_map", device="a", address=S | 0x76B0_1000, phys=0x43D9_2000, size=64)
OWN = dataclasses.replace(MAP, address=0x43D9_2000)
FAILED = dataclasses.replace(MAP, status="error")
REFUSED = Event(
    "smmu", "smmu_event", device="a", sid=8, address=MAP.address, direction="r",
    status="F_TRANSLATION",
)  # fmt: skip
LET = Event(
    "device", "access", device="a", sid=8, address=MAP.address, direction="w", status="ok",
    pa=0x1000, attrs="private",
)  # fmt: skip
SERVED = Event("vmm", "vmm_dma", device="v", address=MAP.address, status="unmapped")
GPF = dataclasses.replace(LET, status="GPF")


def way(*events: Event, platform: Platform = PLATFORM, **parts: object) -> tuple[Step, ...]:
    recording = Recording.of_events(platform, events)
    pieces = [evidence_of(recording.row(number)) for number in range(len(events))]
    finding = Finding("F1", "violation", "vmm", "x", evidence=[Evidence("a fact"), *pieces])
    finding = dataclasses.replace(finding, **parts)  # type: ignore[arg-type]
    return journey(recording, finding, events_of(recording, finding.evidence))


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (
            [REFUSED, MAP],
            [
                ("0x0000000043d92000", "bounced: 0x0000000076b01000 is the copy", "good"),
                ("0x0000010076b01000", "unprotected half: bit 40 set", "good"),
                ("F_TRANSLATION", "StreamID 0x8, read", "bad"),
                ("not reached", "", "bad"),
            ],
        ),
        (
            [REFUSED],
            [
                ("0x0000000076b01000", "a bounce buffer; no map recorded", "unknown"),
                ("0x0000010076b01000", "unprotected half: bit 40 set", "good"),
                ("F_TRANSLATION", "StreamID 0x8, read", "bad"),
                ("not reached", "", "bad"),
            ],
        ),
        (
            [OWN],
            [
                ("0x0000000043d92000", "the driver's own buffer", "good"),
                ("0x0000000043d92000", "protected half: bit 40 clear", "good"),
                ("", "no use of it recorded", "unknown"),
                ("", "not recorded", "unknown"),
            ],
        ),
        (
            [LET, FAILED],
            [
                ("0x0000000043d92000", "the map failed", "bad"),
                ("0x0000010076b01000", "unprotected half: bit 40 set", "good"),
                ("translated", "StreamID 0x8, write", "good"),
                ("0x0000000000001000", "private memory", "good"),
            ],
        ),
    ],
)
def test_each_step(events: list[Event], expected: list[tuple[str, str, str]]) -> None:
    made = way(*events)
    assert [step.place for step in made] == [
        "guest memory", "DMA address", "SMMU, stage 2", "host memory",
    ]  # fmt: skip
    assert [(step.value, step.note, step.state) for step in made] == expected


@pytest.mark.parametrize(
    ("agent", "place"), [("guest", 1), ("device", 1), ("vmm", 2), ("smmu", 2), ("host", 3)]
)
def test_who_chose_wrong_is_marked_of_a_violation_only(agent: str, place: int) -> None:
    assert [step.blamed for step in way(REFUSED, agent=agent)].index(True) == place
    assert not any(step.blamed for step in way(REFUSED, agent=agent, severity="warning"))


def test_an_emulated_devices_address_goes_to_the_vmm() -> None:
    gate = way(SERVED)[2]
    assert (gate.place, gate.value, gate.state) == ("VMM, memory slot", "unmapped", "bad")


def test_what_granule_protection_refused_says_where() -> None:
    assert way(GPF)[3].note == "refused at 0x0000000000001000"


def test_an_address_beyond_the_space_or_in_an_unknown_one() -> None:
    beyond = dataclasses.replace(REFUSED, address=1 << 41)
    assert way(beyond)[1].note == "beyond the IPA space"
    assert way(REFUSED, platform=Platform())[1].state == "unknown"


def test_without_an_address_there_is_no_way() -> None:
    assert way(Event("smmu", "smmu_event", sid=8, status="C_BAD_STE")) == ()
    assert way() == ()
