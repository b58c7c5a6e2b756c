"""What does the kernel ask of the RMM, and which answers does it take?"""

import pytest

from guest_cpu import IPA_BITS, PAGE, RAM, GuestCpu
from topbit.arch.rmi import Ripas
from topbit.arch.rsi import CHANGE_DESTROYED, REJECT, Rsi, RsiStatus
from topbit.linux.rsi import (
    EINVAL,
    STALL_LIMIT,
    RsiError,
    RsiLivelock,
    arm64_rsi_setup_memory,
    rsi_get_realm_config,
    rsi_set_memory_range,
    rsi_set_memory_range_protected,
    rsi_set_memory_range_shared,
    rsi_version_matches,
)

TOP = RAM + 4 * PAGE


def test_a_range_is_asked_for_until_its_end_is_reached() -> None:
    cpu = GuestCpu()
    cpu.answers = [(0, RAM + PAGE, 0), (0, RAM + 3 * PAGE, 0)]
    assert rsi_set_memory_range(cpu, RAM, TOP, Ripas.RAM, 5) == 0
    assert cpu.calls == [
        (Rsi.IPA_STATE_SET, RAM + at * PAGE, TOP, Ripas.RAM, 5) for at in (0, 1, 3)
    ]


def test_nothing_is_asked_for_an_empty_range() -> None:
    cpu = GuestCpu()
    assert rsi_set_memory_range(cpu, RAM, RAM, Ripas.RAM, 0) == 0
    assert cpu.calls == []


@pytest.mark.parametrize(
    "answer",
    [
        (RsiStatus.ERROR_INPUT, TOP, 0),
        (0, TOP, REJECT),
        (0, TOP + PAGE, 0),
        (0, TOP + 1, 0),
        (0, RAM - 1, 0),
        (0, 0, 0),
    ],
)
def test_a_refusal_and_an_address_outside_are_errors(answer: tuple[int, int, int]) -> None:
    cpu = GuestCpu()
    cpu.answers = [answer]
    assert rsi_set_memory_range(cpu, RAM, TOP, Ripas.RAM, 0) == -EINVAL
    assert len(cpu.calls) == 1


def test_linux_asks_again_where_nothing_was_done_and_for_ever() -> None:
    cpu = GuestCpu()
    cpu.answers = [(0, RAM, 0)] * (STALL_LIMIT - 1)
    assert rsi_set_memory_range(cpu, RAM, TOP, Ripas.EMPTY, 0) == 0
    assert len(cpu.calls) == STALL_LIMIT
    cpu.answers = [(0, RAM, 0)] * STALL_LIMIT
    with pytest.raises(RsiLivelock, match="0x0000000040000000, and Linux asks for ever"):
        rsi_set_memory_range(cpu, RAM, TOP, Ripas.EMPTY, 0)


def test_only_refusals_in_a_row_are_a_livelock() -> None:
    cpu = GuestCpu()
    stalled = [(0, RAM, 0)] * (STALL_LIMIT - 1)
    cpu.answers = [*stalled, (0, RAM + PAGE, 0), *((0, RAM + PAGE, 0) for _ in stalled)]
    assert rsi_set_memory_range(cpu, RAM, TOP, Ripas.EMPTY, 0) == 0


def test_what_is_shared_and_what_is_protected() -> None:
    cpu = GuestCpu()
    assert rsi_set_memory_range_shared(cpu, RAM, TOP) == 0
    assert cpu.is_shared[:5] == [True] * 4 + [False]
    assert rsi_set_memory_range_protected(cpu, RAM, TOP) == 0
    assert not any(cpu.is_shared)
    assert [call[3:] for call in cpu.calls] == [
        (Ripas.EMPTY, CHANGE_DESTROYED),
        (Ripas.RAM, CHANGE_DESTROYED),
    ]


def test_all_memory_is_protected_at_boot_or_the_kernel_panics() -> None:
    cpu = GuestCpu()
    arm64_rsi_setup_memory(cpu, RAM, TOP - RAM)
    assert cpu.calls == [(Rsi.IPA_STATE_SET, RAM, TOP, Ripas.RAM, 0)]
    cpu.answers = [(0, RAM, REJECT)]
    with pytest.raises(RsiError, match="Failed to set memory range to protected: 0x0000000040000"):
        arm64_rsi_setup_memory(cpu, RAM, TOP - RAM)


@pytest.mark.parametrize(
    ("answer", "version"),
    [
        ((0, 0x1_0000, 0x1_0001), (1, 0)),
        ((0, 0x2_0003, 0), (2, 3)),
        ((RsiStatus.ERROR_INPUT, 0x2_0000, 0x2_0000), None),
    ],
)
def test_the_version_is_the_lower_one(
    answer: tuple[int, int, int], version: tuple[int, int] | None
) -> None:
    cpu = GuestCpu()
    cpu.version = answer
    assert rsi_version_matches(cpu) == version
    assert cpu.calls == [(Rsi.VERSION, 0x1_0000)]


def test_the_width_stands_in_the_page_that_the_rmm_fills() -> None:
    cpu = GuestCpu()
    cpu.private[2 * PAGE + 8] = 0xFF
    assert rsi_get_realm_config(cpu, RAM + 2 * PAGE) == IPA_BITS
    assert cpu.calls == [(Rsi.REALM_CONFIG, RAM + 2 * PAGE)]
    cpu.config = RsiStatus.ERROR_INPUT
    with pytest.raises(RsiError, match="RSI_REALM_CONFIG: status 1"):
        rsi_get_realm_config(cpu, RAM)
