"""A run that the user ended."""

import pytest

from topbit.machine.interrupted import RunInterrupted
from topbit.recording import Platform, Recording


def test_it_is_an_interruption_and_no_error_and_has_the_recording() -> None:
    recording = Recording.of_events(Platform(), [])
    with pytest.raises(KeyboardInterrupt) as stop:
        raise RunInterrupted(recording)
    assert not isinstance(stop.value, Exception)
    assert stop.value.recording is recording
