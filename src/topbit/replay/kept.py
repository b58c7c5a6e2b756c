"""How is what several rules ask of one recording found out only once?"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar
from weakref import WeakKeyDictionary

from topbit.recording import Recording

T = TypeVar("T")


def kept(ask: Callable[[Recording], T]) -> Callable[[Recording], T]:
    """Which function answers as `ask` does, and keeps the answer as long as the recording lives?

    A recording is not changed once rules look at it.
    """
    known: WeakKeyDictionary[Recording, T] = WeakKeyDictionary()

    @wraps(ask)
    def answer(recording: Recording) -> T:
        if recording not in known:
            known[recording] = ask(recording)
        return known[recording]

    return answer
