"""Does a real kernel give devices what the table says?

Each row that a run can show is one question to the kernel's DMA API in a guest on the QEMU machine
(`dma_asks`, `machine/qemu/observe.py`), compared with the model's answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from topbit.arch.ipa import IpaSpace
from topbit.linux.dma_messages import FULL
from topbit.machine.model.dma_table import COHERENT, What
from topbit.machine.qemu.guest.answers import Answer, began
from topbit.machine.qemu.observe import Observation
from topbit.recording import Recording
from topbit.report.dma_asks import Asked

LOST = "the guest did not come to it"


@dataclass(frozen=True, slots=True)
class Seen:
    """One row of the table, and what the kernel did.

    Attributes:
        asked: the row and the question.
        answer: what came of it; None: nothing, and `why_not` says why.
        formula: how the address comes about, as in the table; empty: an error.
        why_not: why it was not observed.
        differs: what the kernel did otherwise than the table says; empty: nothing.
    """

    asked: Asked
    answer: Answer | None
    formula: str
    why_not: str
    differs: str

    @property
    def address(self) -> int | None:
        """Which device address did the kernel give? None: an error."""
        return self.answer.mapped[0][1] if self.answer and self.answer.mapped else None


@dataclass(frozen=True, slots=True)
class Driver:
    """What was a driver of the kernel's own given, by formula, while it worked?"""

    device: str
    what: What
    formulas: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Boot:
    """What was seen in one boot?

    Attributes:
        ipa_bits: width of the Realm's IPA space.
        seen: every row, and every mask.
        drivers: what the kernel's own drivers were given.
        ending: empty, or how the guest ended before it was done.
    """

    ipa_bits: int
    seen: tuple[Seen, ...]
    drivers: tuple[Driver, ...]
    ending: str = ""


@dataclass(frozen=True, slots=True)
class ObservedBoots:
    """What did a kernel do in some boots, and is it what the table says?

    Attributes:
        release: the kernel's.
        boots: one for each width of the IPA space.
    """

    release: str
    boots: tuple[Boot, ...]

    @property
    def observed(self) -> int:
        """How many rows and masks were observed?"""
        return sum(one.answer is not None for boot in self.boots for one in boot.seen)

    @property
    def differences(self) -> int:
        """How many of them are not as the table says?"""
        return sum(bool(one.differs) for boot in self.boots for one in boot.seen)

    @property
    def lacking(self) -> int:
        """How many that can be asked for were not answered?"""
        seen = (one for boot in self.boots for one in boot.seen)
        return sum(one.answer is None and one.asked.ask is not None for one in seen)

    @property
    def exit_status(self) -> int:
        """0: all as the table says; 1: something differs; 4: a part was not to be seen."""
        if self.differences:
            return 1
        return 4 if self.lacking or not self.observed else 0


def compared(rows: Sequence[Asked], observation: Observation) -> Boot:
    """What was seen, beside what the table says? `rows`: their questions are those asked."""
    numbers = {ask: number for number, ask in enumerate(observation.asks, 1)}
    space = IpaSpace(observation.ipa_bits)
    pools = observation.recording.platform.pools
    seen = []
    for one in rows:
        answer = None if one.ask is None else observation.answers.get(numbers[one.ask])
        why_not = one.why_not
        if answer is None:
            seen.append(Seen(one, None, "", why_not or LOST, ""))
            continue
        if one.row.what in COHERENT and answer.mapped and (why_not := _other_memory(one, answer)):
            seen.append(Seen(one, None, "", why_not, ""))
            continue
        formulas = {_formula(one, answer, m, space, pools) for m in answer.mapped}
        formula = " and ".join(sorted(formulas))
        seen.append(Seen(one, answer, formula, "", _difference(one, answer, formula)))
    drivers = _drivers(observation.recording, space)
    return Boot(observation.ipa_bits, tuple(seen), tuple(drivers), observation.ending)


def _other_memory(one: Asked, answer: Answer) -> str:
    """Is this coherent memory of another kind than the row is about?"""
    if one.row.what is What.REMAPPED and answer.linear:
        return "the kernel takes the device to be coherent"
    if one.row.what is What.COHERENT and not answer.linear:
        return "the kernel remapped the memory"
    return ""


def _formula(
    one: Asked,
    answer: Answer,
    mapped: tuple[int, int],
    space: IpaSpace,
    pools: Sequence[tuple[int, int]],
) -> str:
    phys, address = mapped
    if answer.bounced:
        place = space.protected(address)
        if any(start <= place < start + size for start, size in pools):
            return "B|S" if space.has_shared_bit(address) else "B"
        return "B, in no known pool"
    if not answer.linear:
        phys = space.protected(phys)  # the page table has the bit as well
    letter = "M" if one.row.what in COHERENT else "P"
    if address == phys:
        return letter
    return f"{letter}|S" if address == space.unprotected(phys) else f"{letter}|0x{address ^ phys:x}"


def _difference(one: Asked, answer: Answer, formula: str) -> str:
    said = one.row.outcome
    if said.address is None:
        if answer.mapped:
            return f"the table says error, {said.said or 'no message'}"
        # "swiotlb buffer is full" is printed ten times in five seconds, and then kept back.
        kept_back = said.said == FULL and not answer.said and one.is_mask
        if said.said != answer.said and not kept_back:
            return f"the table says {said.said or 'no message'}"
        return ""
    if said.formula != formula:  # which is empty where nothing was mapped
        return f"the table says {said.formula}"
    if answer.back is not None and said.reaches is not None and answer.back != said.reaches:
        return f"the table says that the device {'reaches' if said.reaches else 'misses'} it"
    return ""


def _drivers(recording: Recording, space: IpaSpace) -> list[Driver]:
    """What were the kernel's own drivers given before the first question?"""
    events = recording.of_kind("dma_map", "dma_alloc").filter(
        pl.col("agent") == "guest", pl.col("status").is_null() | (pl.col("status") != "error")
    )
    if (first := began(recording)) is not None:
        events = events.filter(pl.col("time") < first)
    counted: dict[tuple[str, What], Counter[str]] = {}
    pools = recording.platform.pools
    for event in events.iter_rows(named=True):
        what = What.BUFFER if event["event"] == "dma_map" else What.COHERENT
        formula = _of_driver(event["address"], event["phys"], space, pools)
        counted.setdefault((event["device"], what), Counter())[formula] += 1
    return [Driver(*key, tuple(sorted(count.items()))) for key, count in sorted(counted.items())]


def _of_driver(
    address: int, phys: int | None, space: IpaSpace, pools: Sequence[tuple[int, int]]
) -> str:
    mark = "|S" if space.has_shared_bit(address) else ""
    place = space.protected(address)
    if phys is None:
        return f"M{mark}"
    if any(start <= place < start + size for start, size in pools):
        return f"B{mark}"
    return f"P{mark}" if place == space.protected(phys) else "neither"
