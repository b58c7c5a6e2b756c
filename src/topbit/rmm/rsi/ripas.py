"""What does the Realm ask of the state of its protected IPAs (RIPAS)?

Source: DEN0137 1.0, RSI_IPA_STATE_SET, RSI_IPA_STATE_GET.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeGuard

import numpy as np

from topbit.arch.ipa import Ipa
from topbit.arch.rmi import ExitReason, Ripas
from topbit.arch.rsi import CHANGE_DESTROYED, RsiStatus
from topbit.rmm import s2tt as entries
from topbit.rmm.realm import Rec, RipasChange
from topbit.rmm.rec_run import Exit, Resume
from topbit.rmm.rmi.addr_range import leading
from topbit.rmm.rsi.services import answer
from topbit.rmm.s2tt import LAST, SHIFTS
from topbit.rmm.state import RmmState


def _is_range(base: int, top: int, rec: Rec) -> TypeGuard[Ipa]:
    """Are [base, top) whole pages of the protected address range?"""
    if (base | top) & 0xFFF or top <= base:
        return False
    return rec.realm.space.in_par(base, top - base)


def ipa_state_set(rmm: RmmState, rec: Rec, x: Sequence[int]) -> Resume | Exit:
    """RSI_IPA_STATE_SET(base, top, ripas, flags): ask the host to share or take back a range."""
    base, top, ripas, flags = x[1:5]
    if not _is_range(base, top, rec):
        return answer(RsiStatus.ERROR_INPUT)
    if ripas not in (Ripas.EMPTY, Ripas.RAM):
        return answer(RsiStatus.ERROR_INPUT)
    rec.pending = RipasChange(base, top, ripas, bool(flags & CHANGE_DESTROYED), base)
    return rmm.leave(
        rec,
        Exit(ExitReason.RIPAS_CHANGE, range_base=base, range_top=top, ripas=ripas),
    )


def ipa_state_get(rmm: RmmState, rec: Rec, x: Sequence[int]) -> Resume:
    """RSI_IPA_STATE_GET(base, top) -> top, RIPAS: how far is the RIPAS the same?"""
    base, top = x[1:3]
    if not _is_range(base, top, rec):
        return answer(RsiStatus.ERROR_INPUT)
    rtt = rec.realm.rtt
    level, index, entry = rtt.walk(base, LAST)
    shift = SHIFTS[level]
    ripas = rtt.decode(entry, level).ripas
    words = rtt.rest_of_table(index)[: ((top - 1) >> shift) - (base >> shift) + 1]
    # The first entry is the one that the walk has read, whatever its word says.
    count = 1 + leading(entries.ripas_of(words[1:], level) == np.uint64(ripas))
    reached = min(((base >> shift) + count) << shift, top)
    return answer(RsiStatus.SUCCESS, reached, int(ripas))
