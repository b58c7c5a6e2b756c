"""Which stream table entry belongs to a StreamID, linear or two-level?

Source: IHI0070 H.a 3.3.1, 5.1 (L1STD), 6.3.24 f. (SMMU_STRTAB_BASE, _CFG).
"""

from __future__ import annotations

from collections.abc import Callable

from topbit.arch.ipa import Pa
from topbit.arch.smmuv3 import L1STD, L1STD_BYTES, STE, STE_BYTES
from topbit.arch.smmuv3_regs import StrtabBase, StrtabBaseCfg
from topbit.errors import PlatformFault

SPLITS = (6, 8, 10)
MAX_SPAN = 11


class BadStreamId(PlatformFault):
    """Which StreamID is out of the range of the stream table?"""


def find_ste(
    sid: int, base: StrtabBase, cfg: StrtabBaseCfg, sid_bits: int, fetch: Callable[[Pa], int]
) -> STE:
    """Which STE stands for `sid`?

    Args:
        sid: StreamID, any unsigned number.
        base, cfg: the two registers.
        sid_bits: SMMU_IDR1.SIDSIZE.
        fetch: gives the doubleword at a physical address; raises FetchAbort.

    Raises:
        BadStreamId: out of range, or its level 1 descriptor does not cover it.
        FetchAbort: a descriptor or the STE could not be fetched.
    """
    log2size = min(cfg.LOG2SIZE, sid_bits)
    if sid >> log2size:
        raise BadStreamId
    if cfg.FMT != 1:  # reserved values behave as linear
        table = Pa(base.ADDR >> (log2size + 6) << (log2size + 6))
        return _fetch_ste(table + sid * STE_BYTES, fetch)
    split = cfg.SPLIT if cfg.SPLIT in SPLITS else SPLITS[0]
    alignment = max(6, log2size - split + 3)
    table = Pa(base.ADDR >> alignment << alignment)
    l1std = L1STD.of(fetch(table + (sid >> split) * L1STD_BYTES))
    span = l1std.Span
    index = sid & ((1 << split) - 1)
    if span == 0 or span > min(MAX_SPAN, split + 1) or index >> (span - 1):
        raise BadStreamId
    l2 = Pa(l1std.L2Ptr >> (span + 5) << (span + 5))
    return _fetch_ste(l2 + index * STE_BYTES, fetch)


def _fetch_ste(pa: Pa, fetch: Callable[[Pa], int]) -> STE:
    return STE.of(*(fetch(pa + offset) for offset in range(0, STE_BYTES, 8)))
