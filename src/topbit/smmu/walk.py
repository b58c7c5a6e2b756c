"""Which leaf of a stage-2 table translates an IPA, or which fault does the walk end in?

Source: DDI0487 D8 (VMSAv8-64 stage 2 walks, priority of faults: translation, address size,
access flag, permission), IHI0070 7.3 (events).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from topbit.arch.ipa import Ipa, Pa
from topbit.arch.smmuv3 import EventType
from topbit.arch.stage2 import (
    AF,
    LAST_LEVEL,
    NS,
    S2AP_READ,
    S2AP_WRITE,
    is_leaf,
    is_table,
    output_address,
)
from topbit.smmu.bus import FetchAbort
from topbit.smmu.ste import Stage2

NOWHERE = Pa(0)


@dataclass(frozen=True, slots=True)
class Leaf:
    """What does a block or page descriptor give? This is what a TLB entry holds.

    Attributes:
        shift: log2 of the bytes it maps.
        granule: log2 of the page size of its table.
        oa: output address of its first byte.
        descriptor: its 64 bits (permissions, NS bit).
    """

    shift: int
    granule: int
    oa: Pa
    descriptor: int

    def permits(self, write: bool) -> bool:
        """Does S2AP let the access pass?"""
        return bool(self.descriptor & (S2AP_WRITE if write else S2AP_READ))

    @property
    def non_secure(self) -> bool:
        """Does a Realm translation through it leave the Realm address space?"""
        return bool(self.descriptor & NS)


@dataclass(frozen=True, slots=True)
class WalkFault:
    """Why did the walk end without a leaf? (`fetch`: the descriptor's address, F_WALK_EABT)"""

    type: EventType
    fetch: Pa = NOWHERE
    gpf: bool = False


_TRANSLATION = WalkFault(EventType.F_TRANSLATION)
_ADDR_SIZE = WalkFault(EventType.F_ADDR_SIZE)
_ACCESS = WalkFault(EventType.F_ACCESS)


def walk(stage2: Stage2, ipa: Ipa, fetch: Callable[[Pa], int]) -> Leaf | WalkFault:
    """Which leaf translates `ipa`? Permissions are the caller's to check.

    Args:
        stage2: the stream's geometry.
        ipa: any 64-bit input address.
        fetch: gives the descriptor at a physical address; raises FetchAbort.
    """
    if ipa >> stage2.input_bits:
        return _TRANSLATION
    granule = stage2.granule
    table = stage2.root
    index = ipa >> granule.level_shift(stage2.start_level)  # over all concatenated tables
    for level in range(stage2.start_level, LAST_LEVEL + 1):
        where = table + 8 * index
        try:
            descriptor = fetch(where)
        except FetchAbort as abort:
            return WalkFault(EventType.F_WALK_EABT, where, abort.gpf)
        if is_table(descriptor, level):
            table = output_address(descriptor, granule)
            if table >> stage2.output_bits:
                return _ADDR_SIZE
            index = ipa >> granule.level_shift(level + 1) & (granule.entries - 1)
            continue
        if not is_leaf(descriptor, level) or level not in granule.block_levels():
            return _TRANSLATION
        oa = output_address(descriptor, granule, level)
        if oa >> stage2.output_bits:
            return _ADDR_SIZE
        if stage2.access_flag and not descriptor & AF:
            return _ACCESS
        return Leaf(granule.level_shift(level), granule.shift, oa, descriptor)
    return _TRANSLATION
