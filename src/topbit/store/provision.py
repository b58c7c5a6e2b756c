"""What does a run on QEMU need that is not here yet, and how does it get here?

All of it is known before any of it is fetched. Without the archive one message names what is
missing and every way around it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from topbit.errors import MissingToolError, RunError
from topbit.store import busybox, kernels, tools
from topbit.store.download import Download, Fetched, Note, fetch_all

KERNEL_INSTEAD = "--kernel path/to/Image boots one's own build"


@dataclass(frozen=True, slots=True)
class Lack:
    """What is missing?

    Attributes:
        what: for people.
        instead: what the user can give in its place.
        wanted: asks the archive for it.
    """

    what: str
    instead: str
    wanted: Callable[[], Download]


def lacks(kernel: str | None, flavour: str) -> list[Lack]:
    """What is not here of what a run needs? Asks nobody outside this machine.

    Args:
        kernel: a series, version or release of Debian's kernels; None for one's own.
        flavour: which of Debian's builds.

    Raises:
        MissingToolError: a program that the user names (`TOPBIT_QEMU`, `TOPBIT_BUSYBOX`) does not
            serve.
        InputError: there is no such flavour.
    """
    found = []
    try:
        tools.find("qemu")
    except MissingToolError:
        if tools.named("qemu"):
            raise
        tool = tools.TOOLS["qemu"]
        found.append(Lack(tool.described, tools.instead("qemu"), lambda: tools.wanted("qemu")))
    if kernel is not None and kernels.held(kernel, flavour) is None:
        what = f"Linux {kernel} for arm64 ({flavour})"
        found.append(Lack(what, KERNEL_INSTEAD, lambda: kernels.wanted(kernel, flavour=flavour)))
    try:
        busybox.find()
    except MissingToolError:
        if busybox.named():
            raise
        found.append(Lack(busybox.WHAT, busybox.INSTEAD, busybox.wanted))
    return found


def provide(lacking: Sequence[Lack], note: Note, fetched: Fetched) -> None:
    """Fetch what is missing.

    Raises:
        InputError: the archive offers no such kernel.
        MissingToolError: this machine has no apt or no Debian archive.
        RunError: the archive cannot be reached.
    """
    try:
        fetch_all([lack.wanted() for lack in lacking], note, fetched)
    except RunError as error:
        names = ", ".join(lack.what for lack in lacking)
        raise type(error)(
            f"{names}: not here, and not to be had: {error.what}",
            hint="; ".join(lack.instead for lack in lacking),
        ) from error
