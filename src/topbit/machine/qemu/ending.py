"""How did a guest end that did not do all of its work, in words?"""

from __future__ import annotations

INTERRUPTED = "interrupted"
"""`Run.ending` of a run that the user ended."""

ENDED_BY_ITSELF = ("power off", "reset")
"""`Run.ending` of a guest that has ended all that it did."""


def unfinished(ending: str, *, complete: bool, undone: bool, last_words: str) -> str:
    """Why did the guest not do all of its work? Empty if it did.

    Args:
        ending: as `Run.ending`.
        complete: it came to the end of its work and said so.
        undone: a part of that work failed.
        last_words: the kernel's line about its death, if there is one.
    """
    if complete:
        return "not all of the guest's work went well" if undone else ""
    if ending == INTERRUPTED:
        return INTERRUPTED
    words = f": {last_words}" if last_words else ""
    further = (
        "--timeout S gives it more time" if ending == "timeout" else "--log FILE keeps its console"
    )
    return f"the guest did not come to the end of its work, {ending}{words}; {further}"
