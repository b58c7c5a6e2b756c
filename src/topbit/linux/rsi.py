"""What does the kernel ask of the RMM? (arch/arm64/kernel/rsi.c, asm/rsi.h, asm/rsi_cmds.h)

Facts: Linux 7.2 arch/arm64/kernel/rsi.c:arm64_rsi_init, arm64_rsi_setup_memory;
asm/rsi.h:rsi_set_memory_range. Call numbers: DEN0137 1.0.
"""

from __future__ import annotations

from topbit.arch.rmi import Ripas
from topbit.arch.rsi import CHANGE_DESTROYED, VERSION_1_0, Rsi, RsiStatus
from topbit.linux.cpu import RealmCpu

EINVAL = 22


class RsiError(Exception):
    """Which RSI call of the guest failed at boot, where the kernel panics?"""


def rsi_version_matches(cpu: RealmCpu) -> tuple[int, int] | None:
    """Which RSI version does the RMM speak: (major, minor), or None if none that Linux does?"""
    status, lower, *_ = cpu.smc(Rsi.VERSION, VERSION_1_0)
    if status != RsiStatus.SUCCESS:
        return None
    return lower >> 16, lower & 0xFFFF


def rsi_get_realm_config(cpu: RealmCpu, page: int) -> int:
    """How wide is the Realm's IPA space? Asks with the 4 KiB buffer at IPA `page`.

    Returns:
        ipa_bits (RsiRealmConfig.ipa_width).

    Raises:
        RsiError: the RMM refused the buffer.
    """
    answer = cpu.smc(Rsi.REALM_CONFIG, page)
    if answer[0] != RsiStatus.SUCCESS:
        raise RsiError(f"RSI_REALM_CONFIG: status {answer[0]}")
    return int.from_bytes(cpu.load(page, 8), "little")


def rsi_set_memory_range(cpu: RealmCpu, start: int, end: int, ripas: int, flags: int) -> int:
    """Change the RIPAS of the protected IPAs [start, end).

    Loops as the RMM makes progress; a call that makes none is an error, whatever its status:
    a refused RIPAS_EMPTY shows only as no progress.

    Returns:
        0, or -EINVAL.
    """
    while start != end:
        answer = cpu.smc(Rsi.IPA_STATE_SET, start, end, ripas, flags)
        status, top = answer[0], answer[1]
        if status != RsiStatus.SUCCESS or not start < top <= end:
            return -EINVAL
        start = top
    return 0


def rsi_set_memory_range_protected(cpu: RealmCpu, start: int, end: int) -> int:
    """Make [start, end) RAM, even where the host destroyed pages (they come back zeroed)."""
    return rsi_set_memory_range(cpu, start, end, Ripas.RAM, CHANGE_DESTROYED)


def rsi_set_memory_range_shared(cpu: RealmCpu, start: int, end: int) -> int:
    """Give the protected IPAs [start, end) up, to use their alias as shared memory."""
    return rsi_set_memory_range(cpu, start, end, Ripas.EMPTY, CHANGE_DESTROYED)


def arm64_rsi_setup_memory(cpu: RealmCpu, base: int, end: int) -> None:
    """Make all RAM protected at boot.

    Raises:
        RsiError: the kernel would panic: "Failed to set memory range to protected".
    """
    if rsi_set_memory_range(cpu, base, end, Ripas.RAM, 0):
        raise RsiError(f"Failed to set memory range to protected: 0x{base:016x}-0x{end:016x}")
