"""Is told what arrived, what did not, and how fast?"""

from __future__ import annotations

from topbit.events import Event
from topbit.recording import Platform, Recording
from topbit.report.transfers import lines, transfers

MIB = 1 << 20


def payload(
    status: str, direction: str | None = "w", size: int = MIB, attrs: str | None = None
) -> Event:
    return Event(
        "device", "payload", device="d", size=size, direction=direction, status=status, attrs=attrs
    )


def told(*events: Event) -> list[str]:
    return lines(transfers(Recording.of_events(Platform(), list(events))))


def test_nothing_was_transferred() -> None:
    assert told() == []


def test_steps_have_lines_of_their_own_and_rates() -> None:
    assert told(
        payload("ok", "w", 2 * MIB, "step=copy-a|seconds=0.500000"),
        payload("ok", "r", MIB, "step=copy-a|seconds=2.000000"),
        payload("ok", "w", MIB, "step=again-a"),
    ) == [
        "d copy-a: 2 MiB to the guest, right, 4.0 MiB/s; "
        "1 MiB from the guest, right, 0.5 MiB/s (rates by the guest's clock)",
        "d again-a: 1 MiB to the guest, right",
    ]


def test_many_transfers_are_one_line() -> None:
    assert told(*[payload("ok", "r", 512)] * 3) == ["d: 1.5 KiB from the guest, right"]


def test_what_went_wrong_is_counted() -> None:
    assert told(payload("wrong")) == ["d: 1 MiB to the guest, WRONG"]
    assert told(payload("none")) == ["d: 1 MiB to the guest, not ended"]
    assert told(payload("ok"), payload("wrong"), payload("none")) == [
        "d: 3 MiB to the guest, 1 right, 1 WRONG, 1 not ended"
    ]


def test_a_rate_of_no_time_is_not_told() -> None:
    assert told(payload("ok", attrs="step=a|seconds=0.000000")) == [
        "d a: 1 MiB to the guest, right"
    ]


def test_what_has_no_direction_is_no_transfer() -> None:
    assert told(payload("ok", None)) == []
