"""R: which width was the Realm told?"""

from __future__ import annotations

import dataclasses

import pytest

from rule_events import REALM, S
from rule_findings import found
from topbit.events import Event
from topbit.recording import Recording
from topbit.rules import check


def told(bit: int | None) -> Event:
    return Event("rmm", "realm_config", address=bit)


@pytest.mark.parametrize(("bit", "width"), [(S >> 1, 40), (S << 1, 42), (1 << 31, 32)])
def test_a_wrong_width_is_the_rmms_fault(bit: int, width: int) -> None:
    (finding,) = found("R1", REALM, told(S), told(bit))
    assert (finding.agent, finding.count) == ("rmm", 1)
    assert finding.seen == f"ipa_width={width}: bit {width - 1} as the shared bit"
    assert finding.expected == "ipa_width=41: bit 40, the shared bit"


@pytest.mark.parametrize("bit", [S, None])
def test_the_right_width_and_no_width_are_no_lie(bit: int | None) -> None:
    assert found("R1", REALM, told(bit)) == []


def test_where_the_true_width_is_unknown_nothing_is_checked() -> None:
    unknown = dataclasses.replace(REALM, ipa_bits=None)
    checked = check(Recording.of_events(unknown, [told(S)]))
    (reason,) = [each.reason for each in checked.not_checked if each.rule == "R1"]
    assert reason == "the width of the IPA space is not known"
