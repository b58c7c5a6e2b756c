"""Which facts do the addresses themselves tell: is it a Realm, and which bit is the shared bit?

An address alone tells nothing: a high bit is also an IOVA's (a server's have 48 bits, a phone's
36), the C bit of AMD's memory encryption, or that of a guest's own IOMMU. One pattern is made by
nothing else but a Realm: every streaming map was bounced, all of them got the same one bit on top,
what is left of them lies close together in low memory as a pool does, and no buffer has that bit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from topbit.arch.ipa import IpaSpace
from topbit.readers.growing import Array
from topbit.recording import Reading
from topbit.recording.schema import DMA_MAPPING_ERROR

if TYPE_CHECKING:
    import polars

IPA_BITS = range(32, 53)
MAPPED = ["dma_map", "dma_alloc"]
REFUSED = ["bounce_overflow"]
"""Troubles whose address the machine itself made, as it does for a mapping."""
BUFFER = ["device", "phys", "size"]
"""The columns that tell a buffer that is bounced."""
FEWEST = 4
"""How many bounced maps are enough for a pattern?"""
PART = 1 << 20
"""Rows that are looked at together, so that a long recording takes no more memory for it."""
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


def from_pattern(table: polars.DataFrame) -> Width | None:
    """Is it a Realm by the one pattern that nothing else makes, and how wide is its IPA space?"""
    import polars

    column = polars.col
    bit, count = 0, 0
    for some in _parts(table, column("event").is_in(MAPPED) & _given(), ["address"]):
        addresses = some["address"].to_numpy()
        bit = bit or int(addresses[0]).bit_length() - 1
        if bit + 1 not in IPA_BITS or (addresses >> np.uint64(bit) != 1).any():
            return None
        count += len(addresses)
    if not count:
        return None
    streaming = (column("event") == "dma_map") & _given() & ~_is_mmio()
    bounced = column("event") == "swiotlb_bounced"
    made = polars.when(streaming).then(1).otherwise(-1).alias("made")
    wanted = ["address", *BUFFER, made]
    maps, low, high, end = 0, LOW_MEMORY, 0, 0
    for some in _parts(table, streaming | bounced, wanted):
        mapped = some.filter(column("made") > 0)
        if mapped.is_empty():
            continue
        rest = mapped["address"].to_numpy() & ~np.uint64(1 << bit)
        maps, end = maps + len(mapped), max(end, _ends(mapped))
        low, high = min(low, int(rest.min())), max(high, int(rest.max()))
    shaped = high - low < LARGEST_POOL and high < LOW_MEMORY
    if maps < FEWEST or not shaped or end > 1 << bit:
        return None
    if not _all_bounced(table, streaming | bounced, wanted):
        return None
    return Width(
        bit + 1,
        f"all {maps} streaming maps were bounced, and all {count} DMA addresses have "
        f"bit {bit} set above low memory, which no buffer has",
    )


def _parts(
    table: polars.DataFrame, which: polars.Expr, wanted: list[Any]
) -> Iterator[polars.DataFrame]:
    """What do these rows say, some at a time? A part without any is left out."""
    for start in range(0, len(table), PART):
        some = table.slice(start, PART).lazy().filter(which).select(wanted).collect()
        if not some.is_empty():
            yield some


def _all_bounced(table: polars.DataFrame, which: polars.Expr, wanted: list[Any]) -> bool:
    """Was every buffer bounced before it was mapped, as often as it was mapped?

    `which`, `wanted`: bounced buffers and maps of them in their order; `made` is 1 for a map.
    """
    import polars

    column = polars.col
    # Nearly always the one stands right before the other.
    same = [column(name).eq_missing(column(name).shift(1)) for name in BUFFER]
    pair = (column("made") == 1) & (column("made").shift(1) == -1) & polars.all_horizontal(same)
    alone = [table.clear().select(BUFFER)]
    last = None
    for some in _parts(table, which, wanted):
        rows = some if last is None else polars.concat([last, some])
        opens = (column("made") == 1) & ~pair.fill_null(False)
        # The first one was looked at with the part before.
        is_new = polars.int_range(polars.len()) >= len(rows) - len(some)
        alone.append(rows.filter(opens & is_new).select(BUFFER).unique())
        last = some.tail(1)
    open_ = polars.concat(alone).unique()
    if open_.is_empty():
        return True
    asked = (
        table.lazy()
        .filter(which)
        .select(wanted)
        .join(open_.lazy(), BUFFER, how="semi", nulls_equal=True, maintain_order="left")
        .collect(engine="streaming")
    )
    balance = asked.select(column("made").cum_sum().over(BUFFER)).to_series()
    return bool((balance <= 0).all())


def from_maps(table: polars.DataFrame, ram: list[tuple[int, int]]) -> Width | None:
    """How wide is a Realm's IPA space, going by the DMA addresses that it made?

    Args:
        table: events of devices that the Realm has no IOMMU of its own before.
        ram: where its RAM lies, as far as its log says.
    """
    import polars

    column = polars.col
    made = column("event").is_in(MAPPED) | column("status").is_in(REFUSED)
    top = 0
    if not ram:
        for some in _parts(table, made & (column("phys") > 0), ["phys", "size"]):
            top = max(top, _ends(some))
    count_of: Counter[int] = Counter()
    total = 0
    for some in _parts(table, made & _given(), ["address"]):
        addresses = some["address"].to_numpy()
        bits = _top_bits(addresses)
        if ram:
            rest = addresses ^ (np.uint64(1) << bits)
            is_alias = _inside(rest, ram) & ~_inside(addresses, ram)
        else:
            # Without a memory map: the bit lies above every buffer of the guest.
            is_alias = bits >= max(top - 1, 0).bit_length()
            is_alias &= top > 0
        numbers, counts = np.unique(bits[is_alias], return_counts=True)
        count_of.update(dict(zip(numbers.tolist(), counts.tolist(), strict=True)))
        total += len(addresses)
    votes = Counter({bit + 1: n for bit, n in count_of.items() if bit + 1 in IPA_BITS})
    if not votes:
        return None
    ipa_bits, count = votes.most_common(1)[0]
    if count < MAJORITY * votes.total():
        return None
    bit = IpaSpace(ipa_bits).bit_number
    why = f"{count} of {total} DMA addresses are guest RAM with bit {bit} set"
    if count * 2 >= total:
        return Width(ipa_bits, why)
    others = [
        Reading("ipa_bits", str(ipa_bits), why, DECIDES),
        Reading(
            "ipa_bits",
            "unknown",
            f"{total - count} DMA addresses have no such bit: these few may be wild",
            DECIDES,
        ),
    ]
    return Width(ipa_bits, why, others)


def from_faults(
    table: polars.DataFrame, ram: list[tuple[int, int]], sids: set[int]
) -> Width | None:
    """How wide is a Realm's IPA space, going by what its own devices were refused?

    Faulting addresses alone tell nothing. These are of devices that the Realm's log names, and
    they lie in the RAM that the log tells, but for one bit.
    """
    import polars

    column = polars.col
    bits: Counter[int] = Counter()
    rows = table.filter((column("event") == "smmu_event") & (column("address") > 0))
    count, stage2 = 0, True
    for address, sid, attrs in rows.select("address", "sid", "attrs").iter_rows():
        if sid not in sids:
            continue
        bit = address.bit_length() - 1
        count += 1
        if inside(address ^ (1 << bit), ram) and not inside(address, ram):
            bits[bit + 1] += 1
            stage2 = stage2 and "s2" in (attrs or "")
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


def readings_of(table: polars.DataFrame) -> list[Reading]:
    """What may the machine be, if its DMA addresses have a high bit and nothing tells why?"""
    import polars

    column = polars.col
    rows = (
        table.lazy()
        .filter(column("event").is_in(MAPPED) & _given() & (column("phys") > 0))
        .select("address", "phys")
        .collect()
    )
    total = len(rows)
    bits = _top_bits(rows["address"].to_numpy())
    numbers, counts = np.unique(bits[rows["phys"].to_numpy() >> bits == 0], return_counts=True)
    high = Counter(
        {
            bit: count
            for bit, count in zip(numbers.tolist(), counts.tolist(), strict=True)
            if bit + 1 in IPA_BITS
        }
    )
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


def _given() -> polars.Expr:
    """Did a mapping or allocation give an address?"""
    import polars

    column = polars.col
    refused = column("address").is_in([0, DMA_MAPPING_ERROR]) | (column("status") == "error")
    return column("address").is_not_null() & ~refused.fill_null(False)


def _is_mmio() -> polars.Expr:
    import polars

    return polars.col("attrs").cast(polars.String).fill_null("").str.contains("MMIO", literal=True)


def _top_bits(values: Array) -> Array:
    """Which is the highest bit that is set in each of these, none of which is 0?"""
    import polars

    zeros = polars.Series(values).bitwise_leading_zeros().to_numpy()
    return np.uint64(63) - zeros.astype(np.uint64)


def _ends(rows: polars.DataFrame) -> int:
    """Where does the buffer end that lies highest? 0 without one."""
    import polars

    column = polars.col
    size = polars.when(column("size").fill_null(0) == 0).then(1).otherwise(column("size"))
    ends = column("phys").fill_null(0).cast(polars.UInt128) + size.cast(polars.UInt128)
    return int(rows.select(ends.max()).item() or 0)


def _inside(addresses: Array, ranges: list[tuple[int, int]]) -> Array:
    found = np.zeros(len(addresses), np.bool_)
    for base, size in ranges:
        last = np.uint64(base + size - 1)
        found |= (addresses >= np.uint64(base)) & (addresses <= last)
    return found


def inside(address: int, ranges: list[tuple[int, int]]) -> bool:
    """Does the address lie in one of these (base, size) ranges?"""
    return any(base <= address < base + size for base, size in ranges)
