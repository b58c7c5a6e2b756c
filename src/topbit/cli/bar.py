"""How far is a download? A bar on the terminal; nothing in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def bar() -> Iterator[Callable[[str, int, int], None]]:
    """Who shows it? Is told what is fetched, the bytes that came and the bytes in all."""
    if not sys.stderr.isatty():
        yield lambda what, came, size: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    shown = Progress(*columns, console=Console(stderr=True), transient=True)
    tasks: dict[str, TaskID] = {}

    def fetched(what: str, came: int, size: int) -> None:
        shown.start()
        if what not in tasks:
            tasks[what] = shown.add_task(what, total=size)
        shown.update(tasks[what], completed=came)
        if came >= size:
            shown.remove_task(tasks.pop(what))
        if not tasks:
            shown.stop()  # there may be another thing to show

    try:
        yield fetched
    finally:
        shown.stop()
