"""Which kinds of events are there, and what does each column mean for each kind?

The table has one row per event and the columns of `topbit.events.Event`, in that order. A column
that a kind does not use is null. Addresses, sizes and masks are unsigned 64-bit.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from topbit.events import Event

if TYPE_CHECKING:
    import polars

COLUMNS: tuple[str, ...] = tuple(field.name for field in fields(Event))
"""The event table's columns, in order."""

U64_COLUMNS = frozenset({"address", "phys", "pa", "size", "mask"})
DMA_MAPPING_ERROR = (1 << 64) - 1
"""The dma_addr_t of a failed mapping (Linux 7.2 include/linux/dma-mapping.h)."""

OK, ERROR = "ok", "error"
"""`status` of what went as it should, and of what did not."""
SHARED, PRIVATE = "shared", "private"
"""`status` of a range that reached this state; `attrs` of memory that is in it."""
GPF = "GPF"
"""`status` of an access that granule protection refused (DDI0487, granule protection fault)."""

DMA = "dma"
"""`attrs` of an event about a trusted device that may make DMA."""
TRUNCATED = "truncated"
"""`detail` of entries of a scatterlist whose other entries the trace does not tell."""
STEP_BEGIN, STEP_HUNG = "begin", "hung"
"""`status` of a step that begins, and of one that did not come to its end."""
STEP_TIMES = "times="
"""What stands in `attrs` of a step before the number of times that it does the same."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What does one kind of event say?

    Attributes:
        agent: who usually emits it.
        columns: column -> what it holds for this kind.
    """

    agent: str
    columns: dict[str, str]


_MAPPING = {
    "device": "DMA device",
    "address": "dma_addr_t; 0xffffffffffffffff (DMA_MAPPING_ERROR) when the mapping failed",
    "phys": "phys_addr of the driver's buffer (never of the bounce buffer)",
    "size": "bytes",
    "direction": "TO_DEVICE, FROM_DEVICE, BIDIRECTIONAL",
    "attrs": "DMA attributes joined by |",
    "status": "error when it failed, else null or ok",
    "mask": "the device's DMA mask, where known",
}
_ALLOCATION = {k: v for k, v in _MAPPING.items() if k != "phys"} | {
    "phys": "phys_addr of the memory, where known (kernel traces do not tell)"
}
_RANGE_STATUS = f"the state that was reached: {SHARED} | {PRIVATE} | {ERROR}"

KINDS: dict[str, Kind] = {
    # The guest. dma_* and swiotlb_bounced are what Linux traces
    # (Linux 7.2 include/trace/events/dma.h, swiotlb.h); scatterlists are one event per entry.
    "dma_map": Kind(
        "guest",
        _MAPPING | {"detail": f"{TRUNCATED}: other entries of its scatterlist are not told"},
    ),
    "dma_unmap": Kind("guest", {k: v for k, v in _MAPPING.items() if k != "phys"}),
    "dma_unmap_sg": Kind(
        "guest",
        {"device": "DMA device", "phys": "phys_addr of one entry; the trace has no DMA address"},
    ),
    "dma_alloc": Kind("guest", _ALLOCATION),
    "dma_free": Kind("guest", _ALLOCATION),
    "dma_sync": Kind(
        "guest", _ALLOCATION | {"detail": "for_cpu or for_device", "phys": "not used"}
    ),
    "swiotlb_bounced": Kind(
        "guest",
        {
            "device": "DMA device",
            "phys": "phys_to_dma of the driver's buffer (in a Realm its IPA)",
            "size": "bytes",
            "mask": "the device's DMA mask",
            "status": "FORCE | NORMAL",
        },
    ),
    "swiotlb_full": Kind(
        "guest",
        {
            "device": "DMA device",
            "size": "bytes that were asked for",
            "status": "error",
            "attrs": "total=SLOTS|used=SLOTS (slots of 2 KiB); kernels before 5.1 tell neither",
            "detail": "the line as it stands",
        },
    ),
    "set_memory": Kind(
        "guest",
        {
            "phys": "first IPA, shared bit clear",
            "size": "bytes",
            "status": _RANGE_STATUS,
            "attrs": "for an error: the state that was asked for",
        },
    ),
    "helper": Kind(
        "guest",
        {
            "attrs": "the kernel's name of the address helper",
            "phys": "argument of the dma_addr_* and *phys_to_dma* helpers, "
            "result of the *dma_to_phys ones",
            "address": "result of the dma_addr_* and *phys_to_dma* helpers, "
            "argument of the *dma_to_phys ones",
            "device": "device whose dma_range_map applies, if any",
        },
    ),
    "step": Kind(
        "guest",
        {
            "detail": "name of a piece of the guest's work",
            "status": f"{STEP_BEGIN}; at its end its exit status, or {STEP_HUNG}",
            "attrs": f"{STEP_TIMES}N: how often it does the same again, if more than once",
        },
    ),
    # Any agent's log.
    "trouble": Kind(
        "guest",
        {
            "status": "a name of `recording.trouble.TROUBLES`; the agent is whose log tells it",
            "device": "device that it is about, where told",
            "sid": "its StreamID, where told",
            "address": "address that the device used, where told",
            "phys": "guest address or IPA, where told",
            "pa": "physical address, where told",
            "size": "bytes, where told",
            "direction": "r | w of a refused access, TO_DEVICE ... of a mapping",
            "mask": "the device's DMA mask, where told",
            "attrs": "further key=value joined by |",
            "detail": "the line as it stands",
        },
    ),
    # Firmware and host.
    "ripas": Kind(
        "rmm",
        {
            "phys": "first IPA",
            "size": "bytes",
            "status": "RMI/RSI status, or ok",
            "attrs": "the RIPAS reached: EMPTY | RAM | DESTROYED | DEV",
        },
    ),
    "rmm_exit": Kind(
        "rmm",
        {
            "address": "IPA of a synchronous exit, with the shared bit",
            "phys": "first IPA of a RIPAS change",
            "size": "bytes of a RIPAS change",
            "status": "the exit reason",
            "attrs": "the RIPAS that is asked for",
            "detail": "ESR of a synchronous exit",
        },
    ),
    "sea": Kind(
        "rmm",
        {
            "address": "IPA of an access that got an external abort",
            "direction": "kind of the access",
            "size": "bytes",
            "detail": "why",
        },
    ),
    "realm_config": Kind(
        "rmm",
        {
            "address": "the shared bit that the Realm was told of: 1 << (ipa_bits - 1)",
            "phys": "IPA of the structure",
            "detail": "the width",
        },
    ),
    "pdev": Kind(
        "rmm",
        {
            "sid": "first StreamID of the physical device",
            "status": "its state: NEEDS_KEY | HAS_KEY | READY | STOPPED | ERROR (RmiPdevState)",
            "detail": "what led there",
        },
    ),
    "vdev": Kind(
        "rmm",
        {
            "sid": "StreamID of the interface that is assigned to the Realm",
            "status": "its state: UNLOCKED | LOCKED | STARTED | ERROR (RmiVdevState)",
            "attrs": f"{DMA} while the Realm lets it make DMA (its Realm stream is valid)",
            "detail": "what led there: the call, or why the device is not trusted",
        },
    ),
    "granule": Kind(
        "rmm", {"pa": "first granule", "size": "bytes", "status": "its new state or PAS"}
    ),
    **dict.fromkeys(
        ("rtt_map", "rtt_unmap"),
        Kind(
            "rmm",
            {
                "address": "IPA, with the shared bit of its half",
                "phys": "IPA, shared bit clear",
                "pa": "what it translates to, where known",
                "size": "bytes",
                "attrs": "protected | unprotected",
            },
        ),
    ),
    "convert": Kind(
        "vmm",
        {
            "phys": "first IPA, shared bit clear",
            "size": "bytes",
            "status": _RANGE_STATUS,
            "pa": "physical address that backs the range in its new state, where known",
            "attrs": "for an error: the state that was asked for",
        },
    ),
    "iommu_map": Kind(
        "vmm",
        {
            "sid": "stream, where known",
            "device": "device, where known",
            "address": "IOVA",
            "pa": "physical address it translates to",
            "size": "bytes",
            "status": "ok | error",
            "attrs": "r|w permissions; empty means both",
        },
    ),
    "iommu_unmap": Kind(
        "vmm",
        {
            "sid": "stream, where known",
            "device": "device, where known",
            "address": "IOVA",
            "size": "bytes that were asked for",
            "status": "ok | error (nothing or only a part was unmapped)",
        },
    ),
    "vmm_dma": Kind(
        "vmm",
        {
            "device": "emulated device",
            "address": "DMA address as the guest gave it",
            "phys": "guest address that the VMM used after its masking",
            "pa": "physical address that was reached",
            "size": "bytes",
            "direction": "r (device reads memory) | w",
            "status": "ok | unmapped | private (not shared) | protected (refused: no shared bit) | "
            "GPF",
            "attrs": "what was reached: shared | private",
        },
    ),
    # Hardware.
    "access": Kind(
        "device",
        {
            "device": "DMA master",
            "sid": "StreamID",
            "address": "address on the bus",
            "size": "bytes",
            "direction": "r (device reads memory) | w",
            "status": "ok | an SMMU event name (F_TRANSLATION ...) | GPF | terminated",
            "pa": "physical address that was reached, or that granule protection refused",
            "attrs": "what stands there: shared | private",
        },
    ),
    "smmu_event": Kind(
        "smmu",
        {
            "sid": "StreamID",
            "device": "device of that stream, where known",
            "address": "InputAddr",
            "phys": "IPA of the fault (stage 2), where the record holds it",
            "direction": "r | w",
            "status": "event name: F_TRANSLATION, F_PERMISSION, C_BAD_STE, ...",
            "attrs": "s1 | s2, and the class IN | TT | CD",
        },
    ),
    "smmu_lost": Kind(
        "smmu",
        {
            "sid": "stream of a lost record, where known",
            "status": "lost",
            "detail": "why event records did not reach the event queue",
        },
    ),
    "payload": Kind(
        "device",
        {
            "device": "DMA master",
            "address": "address on the bus",
            "size": "bytes",
            "direction": "r | w",
            "status": "ok | wrong (what arrived is not what was sent) | none (it did not end)",
            "attrs": "step=NAME of the guest's work, seconds=S that it took by the guest's clock",
        },
    ),
    "state": Kind(
        "host",
        {
            "status": "injected: the host did it on purpose; died; error",
            "device": "device that it is about, if any",
            "sid": "its StreamID",
            "phys": "IPA that it is about, if any",
            "detail": "what was set up, injected or noted",
        },
    ),
    "output": Kind("guest", {"detail": "all that the user's own command wrote in the guest"}),
}
"""Every kind of event and the columns it uses; every kind may carry time, source and line."""


def polars_schema() -> dict[str, polars.DataType]:
    """Which polars type has each column?"""
    import polars

    types: dict[str, polars.DataType] = {}
    for name in COLUMNS:
        if name in U64_COLUMNS:
            types[name] = polars.UInt64()
        elif name in ("sid", "line"):
            types[name] = polars.UInt32()
        elif name == "time":
            types[name] = polars.Float64()
        else:
            types[name] = polars.String()
    return types
