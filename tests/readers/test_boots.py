"""Where does a boot begin, and where does a log only repeat itself?"""

from __future__ import annotations

import pytest

from topbit.readers.boots import boot_starts

BOOTING = "Booting Linux on physical CPU 0x0"
VERSION = "Linux version 6.18.15 (aarch64)"


def log(*texts: str, start: float = 0.0, prefix: str = "") -> list[str]:
    """Lines with times that go up."""
    return [f"{prefix}[{start + n / 10:12.6f}] {text}" for n, text in enumerate(texts)]


def boot(number: int, lines: int = 12, **more: object) -> list[str]:
    texts = [BOOTING, VERSION, *(f"boot {number}, line {n}" for n in range(lines))]
    return log(*texts, **more)  # type: ignore[arg-type]


def starts(*parts: list[str]) -> list[int]:
    lines = [line for part in parts for line in part]
    return boot_starts(list(enumerate(lines, 1)))


def test_a_log_of_one_boot_is_one() -> None:
    assert starts(boot(1)) == [0]
    assert boot_starts([]) == [0]


def test_each_boot_begins_where_the_kernel_says_so_and_time_falls_back() -> None:
    assert starts(boot(1), boot(2), boot(3)) == [0, 14, 28]
    assert starts(["firmware says hello"], boot(1), boot(2)) == [0, 15]


def test_a_log_that_repeats_itself_is_the_same_boot() -> None:
    assert starts(boot(1), boot(1)) == [0]
    assert starts(boot(1), boot(1)[:6], log("more", start=2.0)) == [0]


@pytest.mark.parametrize(("repeated", "boots"), [(3, [0, 14]), (4, [0])])
def test_half_of_the_next_lines_decide(repeated: int, boots: list[int]) -> None:
    first = boot(1)
    fresh = log(*(f"fresh {n}" for n in range(8)), start=0.9)
    assert starts(first, [*first[1 : 2 + repeated], *fresh]) == boots


def test_time_that_goes_on_is_no_boot() -> None:
    assert starts(boot(1), log(VERSION, "a", "b", start=5.0)) == [0]


def test_a_version_line_at_the_very_end_is_no_boot() -> None:
    assert starts(boot(1), [VERSION]) == [0]


def test_a_program_that_prints_a_version_is_no_boot() -> None:
    banner = [f"systemd[1]: [    0.000001] {VERSION}", *log("a", "b")]
    assert starts(boot(1), banner) == [0]
    assert starts(boot(1), [VERSION, *log("fresh a", "fresh b")]) == [0]


def test_a_prefix_that_all_boots_have_is_the_logs() -> None:
    assert starts(boot(1, prefix="host1 kernel: "), boot(2, prefix="host2 kernel: ")) == [0, 14]
    assert starts(boot(1, prefix="kernel: "), boot(2, prefix="dmesg: ")) == [0]


def test_a_journal_without_printk_times_is_told_by_its_versions() -> None:
    def journal(number: int) -> list[str]:
        head = "Nov 22 14:02:51 realm kernel: "
        return [head + text for text in (VERSION, f"line of boot {number}")]

    assert starts(journal(1), journal(2)) == [0, 2]


def test_trace_lines_between_tell_nothing() -> None:
    trace = ["  dd-1 [000] .... 1.5: dma_map_phys: x", "  dd-1 [000] .... 1.5: swiotlb_bounced: x"]
    assert starts(boot(1), trace, boot(2)) == [0, 16]
