"""How does the host go on with an operation that is not finished? RMI_OP_CONTINUE, _MEM_DONATE,
_MEM_RECLAIM and _CANCEL.

Source: DEN0137 2.0 beta 0; observed on TF-RMM of July 2026: what of a donation is taken, how much
one call gives back, and that no operation can be cancelled.
"""

from __future__ import annotations

from topbit.arch.ipa import Pa
from topbit.arch.rmi import RmiStatus
from topbit.arch.rmi_range import AddrRange, Transfer, incomplete
from topbit.rmm.granules import DELEGATED, GRANULE, NS
from topbit.rmm.operation import MAX_OPERATIONS, Operation
from topbit.rmm.state import RmmState

SUCCESS, ERROR_INPUT, BLOCKED = (
    int(RmiStatus.SUCCESS),
    int(RmiStatus.ERROR_INPUT),
    int(RmiStatus.BLOCKED),
)
RECLAIMED_FOR_AN_ENTRY = (
    4  # granules of one RMI_OP_MEM_RECLAIM, at most, for each entry of its list
)


def is_blocked(rmm: RmmState) -> bool:
    """Are as many operations open as there can be?"""
    return len(rmm.operations) >= MAX_OPERATIONS


def begin(rmm: RmmState, operation: Operation) -> tuple[int, ...]:
    """Leave an operation unfinished: INCOMPLETE, its handle, what it asks for."""
    handle = next(n for n in range(MAX_OPERATIONS) if n not in rmm.operations)
    rmm.operations[handle] = operation
    return (incomplete(operation.transfer), handle, operation.request)


def _list_entries(rmm: RmmState, at: int, count: int) -> int | None:
    """How many entries of the list at `at` can be used? None: it is no list of the host's."""
    if at & 7 or rmm.granules.get(at & -GRANULE) != NS:
        return None
    return min(count, (GRANULE - (at & (GRANULE - 1))) >> 3)


def op_mem_donate(rmm: RmmState, handle: int, list_pa: int, count: int) -> tuple[int, ...]:
    """RMI_OP_MEM_DONATE(handle, list, count) -> granules taken, what is wanted next."""
    operation = rmm.operations.get(handle)
    if operation is None or operation.transfer != Transfer.DONATE:
        return (ERROR_INPUT, 0, 0)
    entries = _list_entries(rmm, list_pa, count)
    if entries is None:
        return (ERROR_INPUT, 0, 0)
    words = [int(word) for word in rmm.memory.table(Pa(list_pa), entries)] if entries else []
    offered = _offered(rmm, operation, words)
    if offered is None:
        return (ERROR_INPUT, 0, 0)
    taken = 0
    for pa in offered:
        if not rmm.granules.has(pa, DELEGATED):
            break
        rmm.granules.wipe(pa)
        rmm.granules.set(pa, operation.state)
        operation.taken.append(pa)
        taken += 1
    wanted = operation.wanted[0]
    wanted.count -= taken
    if not wanted.count:
        del operation.wanted[0]
    if offered and not taken:
        operation.fail(ERROR_INPUT)
    return (incomplete(operation.transfer), taken, operation.request)


def _offered(rmm: RmmState, operation: Operation, words: list[int]) -> list[int] | None:
    """Which granules does the list name? None: not what the operation asked for."""
    wanted = operation.wanted[0]
    offered: list[int] = []
    for word in words:
        size, count = AddrRange.SIZE.get(word), AddrRange.COUNT.get(word)
        if size or rmm.revision.range_state.get(word) != AddrRange.DELEGATED:
            return None
        if len(offered) + count > wanted.count:
            return None
        first = AddrRange.ADDR.get(word)
        offered += range(first, first + count * GRANULE, GRANULE)
    if wanted.contiguous and offered:
        if offered != list(range(offered[0], offered[0] + len(offered) * GRANULE, GRANULE)):
            return None
        # All at once, and aligned to its size: the SMMU takes no other table or queue.
        if len(offered) != wanted.count or offered[0] % (wanted.count * GRANULE):
            return None
    return offered


def op_mem_reclaim(rmm: RmmState, handle: int, list_pa: int, count: int) -> tuple[int, ...]:
    """RMI_OP_MEM_RECLAIM(handle, list, count) -> entries written: granules go back to the host."""
    operation = rmm.operations.get(handle)
    if operation is None or operation.transfer != Transfer.RECLAIM:
        return (ERROR_INPUT, 0)
    entries = _list_entries(rmm, list_pa, count)
    if entries is None:
        return (ERROR_INPUT, 0)
    if not entries:
        return (incomplete(Transfer.RECLAIM), 0)
    most = entries * RECLAIMED_FOR_AN_ENTRY
    runs: list[list[int]] = []
    given = 0
    for pa in operation.taken[:most]:
        if runs and runs[-1][0] + runs[-1][1] * GRANULE == pa:
            runs[-1][1] += 1
        elif len(runs) == entries:
            break
        else:
            runs.append([pa, 1])
        rmm.granules.set(pa, DELEGATED)
        given += 1
    del operation.taken[:given]
    descriptors = [AddrRange(COUNT=length, ADDR=pa).words[0] for pa, length in runs]
    if descriptors:
        rmm.memory.table(Pa(list_pa), len(descriptors))[:] = descriptors
    operation.reclaiming = bool(operation.taken)
    return (incomplete(operation.transfer), len(descriptors))


def op_continue(rmm: RmmState, handle: int, flags: int) -> tuple[int, ...]:
    """RMI_OP_CONTINUE(handle, flags): do the work, or tell how it ended."""
    operation = rmm.operations.get(handle)
    if operation is None or operation.transfer != Transfer.NONE:
        return (ERROR_INPUT, 0, 0)
    if operation.result is None:
        result = operation.finish(operation.taken)
        if result == SUCCESS:
            del rmm.operations[handle]
            return (SUCCESS, 0, 0)
        operation.fail(result)
        if operation.taken:
            return (incomplete(Transfer.RECLAIM), 0, 0)
    del rmm.operations[handle]
    operation.cleanup()
    return (operation.result or SUCCESS, 0, 0)


def op_cancel(rmm: RmmState, handle: int) -> tuple[int, ...]:
    """RMI_OP_CANCEL(handle): no operation of this RMM offers it."""
    return (ERROR_INPUT,)
