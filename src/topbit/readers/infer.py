"""Which facts do the addresses themselves tell: is it a Realm, and which bit is the shared bit?

An address alone tells nothing: a high bit is also an IOVA's (a server's have 48 bits, a phone's
36), the C bit of AMD's memory encryption, or that of a guest's own IOMMU. One pattern is made by
nothing else but a Realm: every streaming map was bounced, all of them got the same one bit on top,
what is left of them lies close together in low memory as a pool does, and no buffer has that bit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from topbit.arch.ipa import IpaSpace
from topbit.events import Event
from topbit.recording import Reading
from topbit.recording.schema import DMA_MAPPING_ERROR

IPA_BITS = range(32, 53)
MAPPED = ("dma_map", "dma_alloc")
REFUSED = ("bounce_overflow",)
"""Troubles whose address the machine itself made, as it does for a mapping."""
FEWEST = 4
"""How many bounced maps are enough for a pattern?"""
LARGEST_POOL = 1 << 30
LOW_MEMORY = 1 << 32
MAJORITY = 0.9
DECIDES = "--ipa-bits N, or the line 'Using RSI version' of the guest's kernel log"


@dataclass(frozen=True, slots=True)
class Width:
    """How wide is the IPA space, and what tells so?

    Attributes:
        ipa_bits: the width.
        why: what it was concluded from.
        readings: what else fits, if anything does.
    """

    ipa_bits: int
    why: str
    readings: list[Reading] = field(default_factory=list)


def from_pattern(events: Iterable[Event]) -> Width | None:
    """Is it a Realm by the one pattern that nothing else makes, and how wide is its IPA space?"""
    bounced: Counter[tuple[str | None, int | None, int | None]] = Counter()
    given: list[int] = []
    buffers: list[int] = []
    maps: list[int] = []
    for event in events:
        if event.event == "swiotlb_bounced":
            bounced[event.device, event.phys, event.size] += 1
        elif event.event in MAPPED and _address(event) is not None:
            given.append(event.address or 0)
            if event.event != "dma_map" or "MMIO" in (event.attrs or ""):
                continue
            key = (event.device, event.phys, event.size)
            if not bounced[key]:
                return None
            bounced[key] -= 1
            maps.append(event.address or 0)
            buffers.append((event.phys or 0) + (event.size or 1))
    if len(maps) < FEWEST:
        return None
    bit = maps[0].bit_length() - 1
    rest = [value & ~(1 << bit) for value in maps]
    shaped = max(rest) - min(rest) < LARGEST_POOL and max(rest) < LOW_MEMORY
    alike = all(value >> bit == 1 for value in given) and max(buffers) <= 1 << bit
    if bit + 1 not in IPA_BITS or not shaped or not alike:
        return None
    return Width(
        bit + 1,
        f"all {len(maps)} streaming maps were bounced, and all {len(given)} DMA addresses have "
        f"bit {bit} set above low memory, which no buffer has",
    )


def from_maps(events: Iterable[Event], ram: list[tuple[int, int]]) -> Width | None:
    """How wide is a Realm's IPA space, going by the DMA addresses that it made?

    Args:
        events: of devices that the Realm has no IOMMU of its own before.
        ram: where its RAM lies, as far as its log says.
    """
    events = [event for event in events if event.event in MAPPED or event.status in REFUSED]
    addresses = [value for event in events if (value := _address(event)) is not None]
    top = max(((e.phys or 0) + (e.size or 1) for e in events if e.phys), default=0)
    votes: Counter[int] = Counter()
    for value in addresses:
        bit = value.bit_length() - 1
        rest = value ^ (1 << bit)
        if ram:
            is_alias = inside(rest, ram) and not inside(value, ram)
        else:
            # Without a memory map: the bit lies above every buffer of the guest.
            is_alias = bool(top) and top <= 1 << bit
        if is_alias and bit + 1 in IPA_BITS:
            votes[bit + 1] += 1
    if not votes:
        return None
    ipa_bits, count = votes.most_common(1)[0]
    if count < MAJORITY * votes.total():
        return None
    bit = IpaSpace(ipa_bits).bit_number
    why = f"{count} of {len(addresses)} DMA addresses are guest RAM with bit {bit} set"
    if count * 2 >= len(addresses):
        return Width(ipa_bits, why)
    others = [
        Reading("ipa_bits", str(ipa_bits), why, DECIDES),
        Reading(
            "ipa_bits",
            "unknown",
            f"{len(addresses) - count} DMA addresses have no such bit: these few may be wild",
            DECIDES,
        ),
    ]
    return Width(ipa_bits, why, others)


def from_faults(
    events: Iterable[Event], ram: list[tuple[int, int]], sids: set[int]
) -> Width | None:
    """How wide is a Realm's IPA space, going by what its own devices were refused?

    Faulting addresses alone tell nothing. These are of devices that the Realm's log names, and
    they lie in the RAM that the log tells, but for one bit.
    """
    bits: Counter[int] = Counter()
    count, stage2 = 0, True
    for event in events:
        if event.event != "smmu_event" or not event.address or event.sid not in sids:
            continue
        bit = event.address.bit_length() - 1
        count += 1
        if inside(event.address ^ (1 << bit), ram) and not inside(event.address, ram):
            bits[bit + 1] += 1
            stage2 = stage2 and "s2" in (event.attrs or "")
    if len(bits) != 1:
        return None
    ipa_bits = next(iter(bits))
    if ipa_bits not in IPA_BITS or bits[ipa_bits] * 2 < count:
        return None
    why = (
        f"{bits[ipa_bits]} of {count} addresses that its devices were refused are guest RAM with "
        f"bit {IpaSpace(ipa_bits).bit_number} set"
    )
    if stage2:
        return Width(ipa_bits, why)
    wild = "the devices used wild addresses"
    return Width(
        ipa_bits,
        why,
        [
            Reading("ipa_bits", str(ipa_bits), why, DECIDES),
            Reading("ipa_bits", "unknown", wild, DECIDES),
        ],
    )


def from_early_console(earlycon: int | None, uarts: list[int]) -> Width | None:
    """How wide is the IPA space, if the early console stands at the alias of a UART?

    Source: Linux 7.3 Documentation/arch/arm64/arm-cca.rst: a Realm's earlycon is given at the
    unprotected alias.
    """
    if earlycon is None or not earlycon:
        return None
    bit = earlycon.bit_length() - 1
    if bit + 1 not in IPA_BITS or (uarts and earlycon ^ (1 << bit) not in uarts):
        return None
    return Width(
        bit + 1,
        f"the early console stands at 0x{earlycon:016x}, the alias (bit {bit}) of a UART",
    )


def readings_of(events: Iterable[Event]) -> list[Reading]:
    """What may the machine be, if its DMA addresses have a high bit and nothing tells why?"""
    high: Counter[int] = Counter()
    total = bounced = 0
    for event in events:
        bounced += event.event == "swiotlb_bounced"
        value = _address(event) if event.event in MAPPED else None
        if value is None or not event.phys:
            continue
        total += 1
        bit = value.bit_length() - 1
        if bit + 1 in IPA_BITS and event.phys < 1 << bit:
            high[bit] += 1
    if not high or high.most_common(1)[0][1] * 2 < total:
        return []
    bit, count = high.most_common(1)[0]
    seen = f"{count} of {total} DMA addresses have bit {bit} set, which their buffers have not"
    found = [
        Reading(
            "realm", "no", f"{seen}: IOVAs of an IOMMU that this machine drives", "its kernel log"
        ),
        Reading("realm", "yes", f"{seen}: a Realm of {bit + 1} bits", DECIDES),
    ]
    if bit in (47, 51):
        found.append(
            Reading("scheme", "amd-sme", f"{seen}: the C bit of AMD's memory encryption", "--c-bit")
        )
    return found


def _address(event: Event) -> int | None:
    """Which address did a mapping or allocation give, if it gave one?"""
    if not event.address or event.address == DMA_MAPPING_ERROR or event.status == "error":
        return None
    return event.address


def inside(address: int, ranges: list[tuple[int, int]]) -> bool:
    """Does the address lie in one of these (base, size) ranges?"""
    return any(base <= address < base + size for base, size in ranges)
