"""What every message has in common, and what the rate limit left out."""

from __future__ import annotations

import pytest

from log_lines import events_of, one
from topbit.readers.kernel_log.log import FAMILIES
from topbit.recording.trouble import TROUBLES


@pytest.mark.parametrize(
    "function",
    ["swiotlb_tbl_map_single", "dmar_fault", "amd_iommu_report_page_fault", "arm_smmu_evtq_thread"],
)
def test_messages_that_the_rate_limit_left_out(function: str) -> None:
    event = one(f"{function}: 893 callbacks suppressed")
    assert (event.status, event.attrs) == ("suppressed", f"function={function}|count=893")


def test_the_rate_limit_of_others() -> None:
    assert events_of("migrate_irqs: 1504 callbacks suppressed") == []
    assert events_of("net_ratelimit: 12 callbacks suppressed") == []


def test_a_count_that_is_none(unparsed: list[str]) -> None:
    assert events_of(f"dmar_fault: {'9' * 500} callbacks suppressed", unparsed) == []
    assert len(unparsed) == 1
    assert events_of(f"dmar_fault: {'9' * 5000} callbacks suppressed", unparsed) == []
    assert len(unparsed) == 2


def test_a_message_far_into_a_long_line() -> None:
    text = "x" * 100_000 + " nvme 0000:01:00.0: swiotlb buffer is full (sz: 4096 bytes)"
    event = one(text)
    assert (event.device, event.size) == ("0000:01:00.0", 4096)
    assert len(event.detail or "") < 3000


@pytest.mark.parametrize(
    "line",
    [
        "[" * 80_000,
        "9" * 80_000,
        "dma_map_phys: " + "9" * 80_000,
        " " * 80_000 + "swiotlb buffer is full",
        "a" * 80_000 + ": event 0x10 received:",
        "IOMMU: iova=" + "0x" * 40_000,
        "> " * 40_000,
        '{"MESSAGE": ' + "[" * 80_000 + "}",
        'msg="' + '\\"' * 40_000,
        "<" * 80_000 + ">",
        "&" * 80_000,
        "AMD-Vi: Event logged [" + "A_" * 40_000,
    ],
    ids=lambda line: line[:16],
)
def test_long_lines_take_no_time(line: str, unparsed: list[str]) -> None:
    import time

    begun = time.process_time()
    events_of(line, unparsed)
    assert time.process_time() - begun < 2


def test_every_message_has_a_kind_that_the_table_knows() -> None:
    texts = [needle for family in FAMILIES for needle in family.needles]
    for text in texts:
        for event in events_of(f"foo 0000:00:01.0: {text} failed", []):
            assert event.event in ("smmu_event", "smmu_lost", "swiotlb_full") or (
                event.status in TROUBLES
            )
