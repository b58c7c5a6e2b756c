"""Which calls of the host are not finished, and what do they wait for?

A stateful operation is a call that needs memory of the host's, or gives memory back: it ends with
RMI_INCOMPLETE and a handle, the host donates or reclaims granules (RMI_OP_MEM_*), and
RMI_OP_CONTINUE does the work and tells how it ended. If that is an error, what was donated goes
back first.
Source: DEN0137 2.0 beta 0, "Stateful RMI operations"; observed on TF-RMM of July 2026, which looks
at the other arguments of REC_CREATE and of the PSMMU calls only when it has the memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from topbit.arch.ipa import Pa
from topbit.arch.rmi import RmiStatus
from topbit.arch.rmi_range import MemoryRequest, Transfer

MAX_OPERATIONS = 160
"""How many may be open? As many as TF-RMM has on 16 CPUs; more are BLOCKED."""


def nothing() -> None:
    """What is left to do when an operation without a granule of its own ends?"""


def fails(taken: Sequence[Pa]) -> int:
    """How does an operation end whose memory only goes back? It is never asked."""
    return int(RmiStatus.ERROR_INPUT)


@dataclass(slots=True)
class Wanted:
    """How many granules does an operation want next, and must they be contiguous?"""

    count: int
    contiguous: bool = False

    def request(self) -> int:
        """How is the host asked for them? (RmiOpMemDonateReq)"""
        return MemoryRequest(BLK_COUNT=self.count, CONTIG=int(self.contiguous)).words[0]


@dataclass(slots=True)
class Operation:
    """What is one unfinished call?

    Attributes:
        state: which `State` its donated granules take, at once.
        wanted: the donations that it still waits for, in order.
        finish: does the work with the donated granules; returns X0.
        cleanup: what is done when it is over and its memory is back: after an error of a call that
            makes something, after the success of one that takes something away.
        taken: the granules that it has.
        result: how it ended, once that is known.
        reclaiming: the host has not been asked yet whether all of its memory is back.
        owner: the granule that it is about, if that stands in State.PARTIAL meanwhile.
    """

    state: int
    wanted: list[Wanted] = field(default_factory=list)
    finish: Callable[[Sequence[Pa]], int] = fails
    cleanup: Callable[[], None] = nothing
    taken: list[Pa] = field(default_factory=list)
    result: int | None = None
    reclaiming: bool = False
    owner: Pa | None = None

    @property
    def transfer(self) -> Transfer:
        """What does it want of the host now?"""
        if self.result is not None:
            return Transfer.RECLAIM if self.reclaiming else Transfer.NONE
        return Transfer.DONATE if self.wanted else Transfer.NONE

    def fail(self, result: int) -> None:
        """It ends with this error, when what it took is back."""
        self.result = result
        self.reclaiming = True

    @property
    def request(self) -> int:
        """Which memory does it ask for? 0: none."""
        return self.wanted[0].request() if self.transfer == Transfer.DONATE else 0
