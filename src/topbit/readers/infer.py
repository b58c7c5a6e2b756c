"""Which facts do the addresses themselves tell: is it a Realm, and which bit is the shared bit?

Nothing here is certain; each fact comes with a note that says what it was taken from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from topbit.arch.ipa import IpaSpace
from topbit.events import Event
from topbit.recording.schema import DMA_MAPPING_ERROR

IPA_BITS = range(32, 53)
MAPPED = ("dma_map", "dma_alloc")
MAJORITY = 0.9


def from_dma_addresses(
    events: Iterable[Event], ram: list[tuple[int, int]]
) -> tuple[int, str] | None:
    """How wide is the IPA space, if DMA addresses (or faults) are RAM plus one high bit?

    Returns:
        ipa_bits and a note, or None where the addresses tell nothing.
    """
    events = list(events)
    for kinds, what in ((MAPPED, "DMA addresses"), (("smmu_event",), "faulting addresses")):
        addresses = [
            e.address
            for e in events
            if e.event in kinds and e.address and e.address != DMA_MAPPING_ERROR
        ]
        top = max(
            (e.phys + (e.size or 1) for e in events if e.event == "dma_map" and e.phys), default=0
        )
        votes: Counter[int] = Counter()
        for value in addresses:
            bit = value.bit_length() - 1
            rest = value ^ (1 << bit)
            if ram:
                is_alias = _inside(rest, ram) and not _inside(value, ram)
            else:
                # Without a memory map: the bit lies far above every buffer of the guest.
                is_alias = bool(top) and bit >= top.bit_length() + 1
            if is_alias and bit + 1 in IPA_BITS:
                votes[bit + 1] += 1
        if not votes:
            continue
        ipa_bits, count = votes.most_common(1)[0]
        if count >= MAJORITY * sum(votes.values()):
            return ipa_bits, (
                f"ipa_bits {ipa_bits} is inferred: {count} of {len(addresses)} {what} are "
                f"guest RAM with bit {IpaSpace(ipa_bits).bit_number} set"
            )
    return None


def from_early_console(earlycon: int | None, uarts: list[int]) -> tuple[int, str] | None:
    """How wide is the IPA space, if the early console stands at the alias of a UART?

    Source: Linux 7.3 Documentation/arch/arm64/arm-cca.rst: a Realm's earlycon is given at the
    unprotected alias.
    """
    if earlycon is None:
        return None
    bit = earlycon.bit_length() - 1
    if bit + 1 not in IPA_BITS or (uarts and earlycon ^ (1 << bit) not in uarts):
        return None
    return bit + 1, (
        f"ipa_bits {bit + 1} is inferred: the early console stands at 0x{earlycon:016x}, the "
        f"alias (bit {bit}) of a UART"
    )


def _inside(address: int, ranges: list[tuple[int, int]]) -> bool:
    return any(base <= address < base + size for base, size in ranges)
