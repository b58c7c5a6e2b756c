"""M: what has the kernel's own check of the DMA API (CONFIG_DMA_API_DEBUG) found?"""

from __future__ import annotations

from collections.abc import Iterator

from topbit.recording import Recording
from topbit.rules.finding import Finding
from topbit.rules.rule import any_event, rule
from topbit.rules.troubles import attribute, of_trouble
from topbit.rules.wording import by_device, evidence, places

KINDS = {
    "different-size": "the driver unmaps another size than it mapped",
    "different-direction": "the driver unmaps in another direction than it mapped",
    "not-allocated": "the driver unmaps what it has not mapped: with bouncing, what the device "
    "wrote is not copied back",
    "overlapping": "the driver maps a cache line twice at one time",
    "unchecked-error": "the driver does not check whether its mapping succeeded",
    "segment-too-long": "the driver maps a longer segment than its device claims to carry",
    "from-stack": "the driver maps memory of its stack",
}
"""Kind of the message (`readers.kernel_log.dma_api`) -> what the driver does wrong."""


@rule(
    "M13",
    "Drivers keep to the DMA API.",
    source="Linux 7.2 kernel/dma/debug.c; Documentation/core-api/dma-api.rst; "
    "kernel/dma/swiotlb.c:swiotlb_bounce",
    needs=[any_event("trouble")],
)
def drivers_keep_to_the_api(recording: Recording) -> Iterator[Finding]:
    """Which drivers does the kernel itself find to break the DMA API?"""
    rows = of_trouble(recording, "dma_debug", "bounce_sync").with_columns(
        kind=attribute("kind").fill_null("other")
    )
    for (kind,), same in rows.group_by("kind", maintain_order=True):
        for device, group in by_device(same):
            row = group.row(0, named=True)
            synced = row["status"] == "bounce_sync"
            yield Finding(
                "M13",
                "warning",
                "host" if row["agent"] == "host" else "guest",
                "more is synchronised than the bounce buffer holds"
                if synced
                else KINDS.get(str(kind), "the driver breaks the DMA API"),
                device=device,
                count=len(group),
                seen=str(row["detail"]),
                expected="a use of the DMA API that its documentation allows",
                evidence=evidence(group, 2),
                hint="update the driver, or report it with this line",
                judged=places(group),
            )
