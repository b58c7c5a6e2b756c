"""How does the body of a trace event read that is read in bulk? As the kernel prints it alone.

Sources: Linux 7.2 include/trace/events/{dma,swiotlb,iommu}.h; the same of 6.12 for allocations
without a direction.
"""

from __future__ import annotations

from dataclasses import dataclass

LEADING = ("dir", "nents", "ents", "dma_mask")
"""Fields that have few different values in a trace."""
TAILS = ("attrs", "flags", "how")
"""What a line may end with: attributes, flags and attributes, or how a buffer was bounced."""


@dataclass(frozen=True, slots=True)
class Form:
    """How does an event's body read?

    Attributes:
        name: of the trace event.
        event: kind of the event that it tells.
        keys: the fields, in order, as they stand before their "=".
        detail: of the event.
        before: what stands before the device, or instead of it.
    """

    name: str
    event: str
    keys: tuple[str, ...]
    detail: str | None = None
    before: str = ""

    @property
    def agent(self) -> str:
        """Who emits it?"""
        return "vmm" if self.before == "IOMMU:" else "guest"

    @property
    def lead(self) -> int:
        """Which of the fields is the first whose value differs from line to line?"""
        return next(place for place, key in enumerate(self.keys) if key not in LEADING)

    @property
    def tail(self) -> str | None:
        """Which of TAILS has it?"""
        if self.keys[0] == "dma_mask":
            return "how"
        return next((key for key in self.keys if key in TAILS), None)

    @property
    def colons(self) -> int:
        """How many ": " has a line of it, the one behind the time among them?"""
        return 3 if self.before else 2


_RANGE = ("dir", "dma_addr", "size")
_MAP = tuple(
    form
    for what in ("phys", "page", "resource")
    for form in (
        Form(f"dma_map_{what}", "dma_map", (*_RANGE, "phys_addr", "attrs")),
        Form(f"dma_unmap_{what}", "dma_unmap", (*_RANGE, "attrs")),
    )
)
_SYNC = tuple(
    Form(f"dma_sync_single_for_{whom}", "dma_sync", _RANGE, f"for_{whom}")
    for whom in ("cpu", "device")
)
_ALLOC = tuple(
    form
    for pages in ("", "_pages")
    for fields in (_RANGE, _RANGE[1:])
    for form in (
        Form(f"dma_alloc{pages}", "dma_alloc", (*fields, "virt_addr", "flags", "attrs")),
        Form(f"dma_free{pages}", "dma_free", (*fields, "virt_addr", "attrs")),
    )
)
_SCATTERLISTS = (
    Form(
        "dma_map_sg",
        "dma_map",
        ("dir", "nents", "ents", "dma_addrs", "sizes", "phys_addrs", "attrs"),
    ),
    Form("dma_unmap_sg", "dma_unmap_sg", ("dir", "phys_addrs", "attrs")),
    *(
        Form(f"dma_sync_sg_for_{whom}", "dma_sync", ("dir", "dma_addrs", "sizes"), f"for_{whom}")
        for whom in ("cpu", "device")
    ),
)
BOUNCED = Form(
    "swiotlb_bounced", "swiotlb_bounced", ("dma_mask", "dev_addr", "size"), before="dev_name: "
)
_IOMMU = (
    Form("map", "iommu_map", ("iova", "paddr", "size"), before="IOMMU:"),
    Form("unmap", "iommu_unmap", ("iova", "size", "unmapped_size"), before="IOMMU:"),
)
FORMS = (*_MAP, *_SYNC, *_ALLOC, *_SCATTERLISTS, BOUNCED, *_IOMMU)
LEADS = {
    (form.name, form.before, *form.keys[: form.lead + 1]): number
    for number, form in enumerate(FORMS)
}
"""The form of each name, what stands before the device, and keys up to the first number."""
