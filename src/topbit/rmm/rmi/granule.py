"""Which granules does the host give to the Realm PAS, and take back?

RMI_GRANULE_DELEGATE and _UNDELEGATE of 1.0, and the range calls of 2.0.
Source: DEN0137.
"""

from __future__ import annotations

from topbit.arch.ipa import Pa
from topbit.arch.rmi import RmiStatus
from topbit.rmm.granules import DELEGATED, GRANULE, NS
from topbit.rmm.rmi.addr_range import leading
from topbit.rmm.state import RmmState

SUCCESS, ERROR_INPUT = int(RmiStatus.SUCCESS), int(RmiStatus.ERROR_INPUT)


def granule_delegate(rmm: RmmState, pa: int) -> tuple[int, ...]:
    """RMI_GRANULE_DELEGATE(pa): the host gives a granule to the Realm PAS."""
    granules = rmm.granules
    if not granules.has(pa, NS):
        return (ERROR_INPUT,)
    granules.set(pa, DELEGATED)
    if rmm.listening:
        rmm.say_granule("delegate", pa, GRANULE)
    return (SUCCESS,)


def granule_undelegate(rmm: RmmState, pa: int) -> tuple[int, ...]:
    """RMI_GRANULE_UNDELEGATE(pa): a granule without a role goes back to the host, wiped."""
    granules = rmm.granules
    if not granules.has(pa, DELEGATED):
        return (ERROR_INPUT,)
    granules.wipe(pa)
    granules.set(pa, NS)
    if rmm.listening:
        rmm.say_granule("undelegate", pa, GRANULE)
    return (SUCCESS,)


def granule_range_delegate(rmm: RmmState, base: int, top: int) -> tuple[int, ...]:
    """RMI_GRANULE_RANGE_DELEGATE(base, top) -> top reached."""
    return _convert(rmm, base, top, NS, DELEGATED, "delegate")


def granule_range_undelegate(rmm: RmmState, base: int, top: int) -> tuple[int, ...]:
    """RMI_GRANULE_RANGE_UNDELEGATE(base, top) -> top reached; contents are wiped."""
    return _convert(rmm, base, top, DELEGATED, NS, "undelegate")


def _convert(
    rmm: RmmState, base: int, top: int, before: int, after: int, what: str
) -> tuple[int, ...]:
    granules = rmm.granules
    if (base | top) & (GRANULE - 1) or top <= base:
        return (ERROR_INPUT, base)
    pa = Pa(base)
    if not granules.contains(pa, GRANULE):
        done = granules.convert_device(pa, top - base, delegate=before == NS)
        return (SUCCESS if done else ERROR_INPUT, base + done)
    states = granules.span(pa, min(top, granules.end) - base)
    count = leading(states == before)
    if not count:
        return (ERROR_INPUT, base)
    size = count * GRANULE
    if after == NS:
        granules.wipe(pa, size)
    states[:count] = after
    if rmm.listening:
        rmm.say_granule(what, pa, size)
    return (SUCCESS, base + size)
