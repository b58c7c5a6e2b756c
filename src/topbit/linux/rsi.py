"""What does the kernel ask of the RMM? (arch/arm64/kernel/rsi.c, asm/rsi.h, asm/rsi_cmds.h)

Facts: Linux 7.2 arch/arm64/kernel/rsi.c:arm64_rsi_init, arm64_rsi_setup_memory;
asm/rsi.h:rsi_set_memory_range, which takes (start, end) as the RSI call behind it does.
Call numbers: DEN0137 1.0.
"""

from __future__ import annotations

from topbit.arch.ipa import Ipa
from topbit.arch.rmi import Ripas
from topbit.arch.rsi import ACCEPT, CHANGE_DESTROYED, VERSION_1_0, Rsi, RsiStatus
from topbit.errors import PlatformFault
from topbit.linux.cpu import RealmCpu

EINVAL = 22


STALL_LIMIT = 16
"""After how many refusals in a row does the model take it that the kernel would ask for ever?"""


class RsiError(PlatformFault):
    """Which RSI call of the guest ended it?"""


class RsiLivelock(RsiError):
    """Which RSI call would the kernel repeat for ever?"""


def rsi_version_matches(cpu: RealmCpu) -> tuple[int, int] | None:
    """Which RSI version does the RMM speak: (major, minor), or None if none that Linux does?"""
    status, lower, *_ = cpu.smc(Rsi.VERSION, VERSION_1_0)
    if status != RsiStatus.SUCCESS:
        return None
    return lower >> 16, lower & 0xFFFF


def rsi_get_realm_config(cpu: RealmCpu, page: Ipa) -> int:
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


def rsi_set_memory_range(cpu: RealmCpu, start: Ipa, end: Ipa, ripas: int, flags: int) -> int:
    """Change the RIPAS of the protected IPAs [start, end).

    Loops as the RMM makes progress. RSI_REJECT, which only a change to RAM gets, and an address
    reached outside [start, end] are errors; one that
    is `start` is not: Linux asks again, and for ever if the host keeps refusing, because a refused
    RIPAS_EMPTY shows only as no progress (observed with Linux 6.18.15 and 7.3.4).

    Returns:
        0, or -EINVAL.

    Raises:
        RsiLivelock: the kernel would ask for ever.
    """
    stalled = 0
    while start != end:
        answer = cpu.smc(Rsi.IPA_STATE_SET, start, end, ripas, flags)
        status, top, response = answer[:3]
        if status != RsiStatus.SUCCESS or response != ACCEPT or not start <= top <= end:
            return -EINVAL
        stalled = stalled + 1 if top == start else 0
        if stalled == STALL_LIMIT:
            raise RsiLivelock(
                f"the host refuses RSI_IPA_STATE_SET at 0x{start:016x}, and Linux asks for ever"
            )
        start = Ipa(top)
    return 0


def rsi_set_memory_range_protected(cpu: RealmCpu, start: Ipa, end: Ipa) -> int:
    """Make [start, end) RAM, even where the host destroyed pages (they come back zeroed)."""
    return rsi_set_memory_range(cpu, start, end, Ripas.RAM, CHANGE_DESTROYED)


def rsi_set_memory_range_shared(cpu: RealmCpu, start: Ipa, end: Ipa) -> int:
    """Give the protected IPAs [start, end) up, to use their alias as shared memory."""
    return rsi_set_memory_range(cpu, start, end, Ripas.EMPTY, CHANGE_DESTROYED)


def arm64_rsi_setup_memory(cpu: RealmCpu, base: Ipa, size: int) -> None:
    """Make all RAM, [base, base + size), protected at boot.

    Raises:
        RsiError: the kernel would panic: "Failed to set memory range to protected".
    """
    end = base + size
    if rsi_set_memory_range(cpu, base, end, Ripas.RAM, 0):
        raise RsiError(f"Failed to set memory range to protected: 0x{base:016x}-0x{end:016x}")
