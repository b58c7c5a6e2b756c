"""What can go wrong for a user, who is at fault, and what to do about it?

    TopbitError                exit status
     +-- UsageError            2   an option, a name or a value that topbit does not take
     |    +-- ScenarioError    2   a scenario that contradicts itself or has unknown keys
     +-- InputError            2   a file that is missing, truncated or not what it should be
     +-- RunError              3   the run could not be made, or not be finished
          +-- MissingToolError 3   a program or kernel is not installed
          +-- GuestDiedError   3   the guest ended before its workload did

Each carries its data (`what` is wrong, `where`, and what to do, the `hint`) and prints as one line.

What goes wrong *in* the platform that is run (an abort, a refused call, a ring that makes no sense)
is a result, no error, and never reaches a user. Between two agents of the platform it may pass as
an exception of a second tree; whoever stands for the other agent catches it and answers as the
hardware or the kernel would, and what stops the guest's last CPU ends the run, not topbit:

    PlatformFault              caught by
     +-- BusError                   RMM, SMMU: an access to no memory
     +-- FetchAbort                 SMMU: a fetch of its own failed (F_WALK_EABT and the like)
     +-- BadStreamId                SMMU: C_BAD_STREAMID
     +-- IllegalCommand             SMMU: CERROR_ILL
     +-- DeviceFault                RMM: the device, or its session with it, is in error
     +-- MappingError               VFIO: what io-pgtable returned
     +-- VfioError                  page conversion: the map or unmap failed
     +-- RmiError                   VMM, page conversion: what the RMM refused
     +-- DmaError                   virtio-mmio: the device needs a reset
     +-- VirtqueueError             the same
     +-- SynchronousExternalAbort   machine: the guest's kernel oopses
     +-- RsiError                   machine: the guest's kernel panics
     |    +-- RsiLivelock           machine: it asks for ever
     +-- StoppedError               machine: the host runs the vCPU no more
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable


class TopbitError(Exception):
    """What is the common form of everything that topbit reports and then ends?

    Args:
        what: what is wrong, one sentence without a full stop.
        where: the file, option or key it was found in; empty if it has no place.
        hint: what the user can do about it; empty if there is nothing to say.
    """

    exit_status = 2

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        hint = f" ({self.hint})" if self.hint else ""
        return printable(f"{place}{self.what}{hint}")


class UsageError(TopbitError):
    """Which option, name or value did topbit not take?"""


class ScenarioError(UsageError):
    """Which key or value of a scenario is wrong?"""


class InputError(TopbitError):
    """Which input file could not be used, where in it, and why?"""


class RunError(TopbitError):
    """Why could the run not be made or not be finished?"""

    exit_status = 3


class MissingToolError(RunError):
    """Which program or kernel is missing, and how does one get it?"""


class GuestDiedError(RunError):
    """How did the guest end before its workload did?"""


class PlatformFault(Exception):
    """What went wrong between two agents of the platform that is run, or that a proof follows?

    Never reaches a user.
    """


def printable(text: str) -> str:
    """How is text shown that may come from somebody else (names, log lines, other libraries)?

    What a terminal would obey, and what would make a line of its own, is written as an escape.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def nearest(name: str, known: Iterable[str]) -> str:
    """What did the user mean by an unknown `name`?

    Returns:
        ``did you mean 'x'?`` for a close match among `known`, else the list of known names.
    """
    import difflib

    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else "known: " + ", ".join(names)


def this_program() -> str:
    """With which words is the topbit that runs now called? For commands that a message names."""
    called = sys.argv[0] if sys.argv else ""
    if os.path.basename(called) == "topbit":
        return called if os.path.dirname(called) else "topbit"
    return f"{sys.executable} -m topbit"
