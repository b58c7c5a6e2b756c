"""What is to be fetched, how large is it, and how far is that?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from topbit.store.apt_program import Came
from topbit.store.cache import cache_dir

Note: TypeAlias = Callable[[str], None]
"""Is told what is being done, one line at a time."""
Fetched: TypeAlias = Callable[[str, int, int], None]
"""Is told of a download how far it is: what it is, bytes that came, bytes in all."""


@dataclass(frozen=True, slots=True)
class Download:
    """What would be fetched from Debian's archive?

    Attributes:
        what: its name, for people.
        size: bytes to be downloaded.
        fetch: puts it into the cache; raises RunError if the archive cannot be reached.
    """

    what: str
    size: int
    fetch: Callable[[Came], None]


def quiet(text: str) -> None:
    """Say nothing about what is being done."""


def unseen(what: str, came: int, size: int) -> None:
    """Show nobody how far a download is."""


def fetch_all(downloads: Sequence[Download], note: Note = quiet, fetched: Fetched = unseen) -> None:
    """Fetch them one after the other; what they are is said before the first one.

    Raises:
        RunError: the archive cannot be reached, or what came from it is not what it should be.
    """
    if not downloads:
        return
    named = ", ".join(f"{one.what} ({one.size / 1e6:.0f} MB)" for one in downloads)
    note(f"fetching from Debian's archive into {cache_dir()}: {named}")
    for one in downloads:

        def came(count: int, one: Download = one) -> None:
            fetched(one.what, count, one.size)

        came(0)
        one.fetch(came)
