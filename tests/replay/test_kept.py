"""Is an answer found out once for each recording, and let go with it?"""

from __future__ import annotations

import gc
import weakref

from topbit.recording import Platform, Recording
from topbit.replay.kept import kept


def test_each_recording_is_asked_once() -> None:
    asked = []

    @kept
    def answer(recording: Recording) -> list[int]:
        """What is told?"""
        asked.append(recording.platform.ipa_bits)
        return [len(asked)]

    first, second = (Recording.of_events(Platform(ipa_bits=bits), []) for bits in (41, 42))
    assert answer(first) is answer(first)
    assert answer(second) == [2]
    assert answer(first) == [1]
    assert asked == [41, 42]
    assert answer.__doc__ == "What is told?"


def test_an_answer_does_not_keep_its_recording() -> None:
    @kept
    def answer(recording: Recording) -> int:
        return 1

    recording = Recording.of_events(Platform(), [])
    answer(recording)
    gone = weakref.ref(recording)
    del recording
    gc.collect()
    assert gone() is None
