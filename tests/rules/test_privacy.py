"""What is kept of several reasons, and how are mappings with the same answer told?"""

import pytest

from rule_events import BUFFER, REALM, dma_map
from topbit.recording import Recording
from topbit.rules.finding import Evidence
from topbit.rules.privacy import Mapping, Privacy, Reason, answered

ROW = Recording.of_events(REALM, [dma_map(BUFFER, "tdisp")]).row(0)
DOUBT, OTHER = (Reason(Privacy.INCONCLUSIVE, why) for why in ("a doubt", "another"))
SHARED, STALE = (Reason(Privacy.NOT, why) for why in ("shared", "stale"))


def mapping(*reasons: Reason) -> Mapping:
    made = Mapping(ROW, 0x20, BUFFER, 64)
    for reason in reasons:
        made.spoil(reason)
    return made


@pytest.mark.parametrize(
    ("reasons", "kept"),
    [
        ([DOUBT], DOUBT),
        ([DOUBT, OTHER], DOUBT),
        ([DOUBT, SHARED], SHARED),
        ([SHARED, DOUBT], SHARED),
        ([SHARED, STALE], SHARED),
    ],
)
def test_what_is_certain_outweighs_a_doubt_and_the_first_is_kept(
    reasons: list[Reason], kept: Reason
) -> None:
    assert mapping(*reasons).reason is kept
    assert mapping().reason.answer is Privacy.CONFIDENTIAL


@pytest.mark.parametrize(
    ("pa", "size", "held"),
    [(0x1000, 1, True), (0xFFF, 1, False), (0xFFF, 2, True), (0x1FFF, 9, True), (0x2000, 1, False)],
)
def test_which_memory_it_holds(pa: int, size: int, held: bool) -> None:
    made = mapping()
    made.pages.append((0x1000, 0x1000))
    assert made.holds(pa, size) is held
    assert not mapping().holds(pa, size)


def test_the_same_answer_is_told_once() -> None:
    shown = Reason(Privacy.NOT, "stale", ROW)
    found = answered([mapping(), mapping(SHARED), mapping(), mapping(shown)])
    told = [(each.device, each.answer, each.why, each.count) for each in found]
    assert told == [
        ("tdisp", "confidential", "", 2),
        ("tdisp", "not confidential", "shared", 1),
        ("tdisp", "not confidential", "stale", 1),
    ]
    assert [len(each.evidence) for each in found] == [1, 1, 2]
    evidence = found[0].evidence[0]
    assert isinstance(evidence, Evidence)
    assert found[0].to_dict() == {
        "device": "tdisp",
        "answer": "confidential",
        "why": None,
        "count": 2,
        "evidence": [evidence.to_dict()],
    }
