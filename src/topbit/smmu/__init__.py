"""The SMMUv3: where does a device's access end up, and which event does it leave?

Belongs here: stream tables, the stage-2 walk, TLB and STE cache and their invalidation, the
command and event queues, the registers.
Does not belong here: software that writes tables (`topbit.host`), who maps what. No policy of a
VMM, no shared bit, no Realm's life cycle.

    smmu = Smmu(memory)                 a device's `access(sid, address, ...)` gives an Outcome
    stream_table  StreamID -> STE       ste    STE -> StreamConfig, or why it is bad
    walk          IPA -> Leaf           tlb    leaves that were not invalidated yet
    queues        commands in, events out, in memory bytes
    batch, flat   the same translation for whole arrays of addresses
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from topbit.smmu.outcome import Fault, Ok, Outcome, Terminated

if TYPE_CHECKING:
    from topbit.smmu.smmu import Smmu

__all__ = ["Fault", "Ok", "Outcome", "Smmu", "Terminated"]


def __getattr__(name: str) -> object:
    """Who only reads events, as the QEMU machine does, does not load the SMMU."""
    if name != "Smmu":
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from topbit.smmu.smmu import Smmu

    return Smmu
