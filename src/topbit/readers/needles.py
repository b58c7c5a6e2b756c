"""Which lines of a log are worth a closer look? Most tell nothing about DMA.

A line without any of these words has no reader. They are looked for in all lines at once, which
costs a hundredth of looking at each.
"""

from __future__ import annotations

from topbit.readers import firmware_log, roles
from topbit.readers.kernel_log import facts
from topbit.readers.kernel_log import log as kernel_log
from topbit.readers.vmm_log import log as vmm_log

HIDING = ('"MESSAGE"', "&lt;", "&gt;", "&#", "\\u")
"""What may hide a word: bytes told one by one, and characters told by name."""
STATEFUL = ("received:", ": event: ", "priv data", "priv inst", "ipa_bits")
"""Words of messages that have no family: the SMMU's records, kvmtool's width."""
NEEDLES: list[str] = sorted(
    {
        *(needle for family in kernel_log.FAMILIES for needle in family.needles),
        *(needle for family in vmm_log.FAMILIES for needle in family.needles),
        *facts.NEEDLES,
        *vmm_log.SIGNS,
        *firmware_log.SIGNS,
        *roles.GUEST_SIGNS,
        *roles.HOST_SIGNS,
        *HIDING,
        *STATEFUL,
    }
)
CHUNK = 1 << 16
"""Lines that are looked at together."""


def worth_reading(lines: list[str]) -> list[bool]:
    """Which of these lines hold one of the words?"""
    import polars

    found: list[bool] = []
    for start in range(0, len(lines), CHUNK):
        some = polars.Series(lines[start : start + CHUNK], dtype=polars.String)
        found += some.str.contains_any(NEEDLES).to_list()
    return found
