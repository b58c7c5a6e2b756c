"""A two-level Realm stream table with one entry, as the RMM writes it, for tests of the SMMU."""

from __future__ import annotations

from topbit.arch.smmuv3 import L1STD, STE
from topbit.smmu import Smmu

SIZE = 0x3000  # bytes: two pages of level 1, one of level 2


def install(smmu: Smmu, at: int, sid: int, ste: STE) -> range:
    """Write the table at `at` and let the SMMU use it; the numbers of its pages."""
    level2 = at + 0x2000
    smmu.memory.write_u64(at + 8 * (sid >> 6), L1STD(Span=7, L2Ptr=level2).words[0])
    smmu.memory.write(level2 + 64 * (sid & 63), ste.pack())
    smmu.enable_realm(at, 16, 6)
    return range(at >> 12, at + SIZE >> 12)
