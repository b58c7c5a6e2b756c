"""How a guest that did not do all of its work is told."""

import pytest

from topbit.machine.qemu.ending import INTERRUPTED, unfinished


@pytest.mark.parametrize(
    ("complete", "undone", "ending", "last_words", "told"),
    [
        (True, False, "power off", "", ""),
        (True, True, "power off", "", "not all of the guest's work went well"),
        (True, False, INTERRUPTED, "", ""),
        (False, True, INTERRUPTED, "", "interrupted"),
        (
            False,
            True,
            "timeout",
            "",
            "the guest did not come to the end of its work, timeout; "
            "--timeout S gives it more time",
        ),
        (
            False,
            False,
            "reset",
            "Kernel panic - not syncing: x",
            "the guest did not come to the end of its work, reset: "
            "Kernel panic - not syncing: x; --log FILE keeps its console",
        ),
    ],
)
def test_unfinished(complete: bool, undone: bool, ending: str, last_words: str, told: str) -> None:
    assert unfinished(ending, complete=complete, undone=undone, last_words=last_words) == told
