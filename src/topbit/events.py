"""What did an agent do? The one form in which every agent of a run reports it.

The rooms of the platform (rmm, smmu, vmm, linux, devices) emit `Event`s through an `Emit`
callable that they are given; they do not know who listens. `recording/` turns events into the
columns of the event table, and readers build the same events from logs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

Agent: TypeAlias = Literal["guest", "firmware", "vmm", "host", "rmm", "smmu", "device"]
AGENTS: tuple[Agent, ...] = ("guest", "firmware", "vmm", "host", "rmm", "smmu", "device")


@dataclass(slots=True)
class Event:
    """What happened, who did it, and to which address?

    Attributes:
        agent: who acted (who *chose* the addresses in the event).
        event: the kind; `recording/schema.py` lists the kinds and what each column means for it.
        device: kernel's name of the DMA device ("0000:00:02.0"), or of the model's device.
        sid: StreamID.
        address: the device address as used on the bus: dma_addr_t, IOVA, InputAddr.
        phys: the guest's address of the page or buffer (phys_addr_t: an IPA, shared bit clear;
            ripas, convert and vmm_dma events).
        pa: physical address on the host, where the agent knows it.
        size: length in bytes.
        direction: TO_DEVICE, FROM_DEVICE, BIDIRECTIONAL or NONE (mappings); "r" or "w" (accesses).
        status: how it ended: "ok", an SMMU event name, an RMI/RSI status, "error".
        attrs: DMA attributes joined by "|", or other flags of the kind.
        detail: free text for people: what was written, the log line, the reason.
        mask: the device's DMA mask, where known.
        time: seconds on the run's clock (guest's trace clock for logs).
        source: file the event was read from; empty for a machine's own events.
        line: line in that file (text, from 1) or record index (binary, from 0).
    """

    agent: Agent
    event: str
    device: str | None = None
    sid: int | None = None
    address: int | None = None
    phys: int | None = None
    pa: int | None = None
    size: int | None = None
    direction: str | None = None
    status: str | None = None
    attrs: str | None = None
    detail: str | None = None
    mask: int | None = None
    time: float | None = None
    source: str | None = None
    line: int | None = None


Emit: TypeAlias = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Where do events go that nobody wants?"""
