"""What a kernel did in recorded boots is compared with what the table says."""

from __future__ import annotations

import dataclasses

import pytest

from observed_boots import observation, rows, table
from topbit.machine.model.dma_table import Outcome, What, Who
from topbit.machine.qemu.guest.answers import Answer
from topbit.machine.qemu.observe import Observation
from topbit.report.dma_asks import Asked
from topbit.report.dma_observed import Boot, Driver, ObservedBoots, Seen, compared


@pytest.mark.parametrize(
    ("series", "bits", "observed"), [("7.3", 41, 88), ("7.3", 52, 80), ("7.2", 41, 88)]
)
def test_what_the_table_says_is_what_the_kernel_does(series: str, bits: int, observed: int) -> None:
    found = table((series, bits))
    assert [one.differs for one in found.boots[0].seen if one.differs] == []
    assert (found.observed, found.differences, found.lacking) == (observed, 0, 0)
    assert found.exit_status == 0


def seen(boot: Boot, who: Who, what: What, *, mask: int = 64, sg: bool = False) -> Seen:
    (found,) = (
        one
        for one in boot.seen
        if (one.asked.row.who, one.asked.row.what, one.asked.mask_bits, one.asked.table)
        == (who, what, mask, sg)
    )
    return found


@pytest.mark.parametrize(
    ("who", "what", "mask", "formula"),
    [
        (Who.UNTRUSTED, What.BUFFER, 64, "B|S"),
        (Who.NARROW, What.BUFFER, 40, ""),
        (Who.NARROW, What.BUFFER, 41, "B|S"),
        (Who.UNTRUSTED, What.SHARED, 64, "P|S"),
        (Who.TRUSTED, What.COHERENT, 64, "M|S"),
        (Who.UNTRUSTED, What.REMAPPED, 64, "M|S"),
        (Who.UNTRUSTED, What.MMIO_SHARED, 64, "P|S"),
        (Who.UNTRUSTED, What.MMIO, 64, ""),
    ],
)
def test_formulas_of_7_3(who: Who, what: What, mask: int, formula: str) -> None:
    assert seen(table(("7.3", 41)).boots[0], who, what, mask=mask).formula == formula


def test_the_wrong_bit_of_a_wide_space() -> None:
    boot = table(("7.3", 52)).boots[0]
    coherent = seen(boot, Who.UNTRUSTED, What.COHERENT)
    assert coherent.formula == "M|0x200"
    assert coherent.address is not None
    assert coherent.address & 0xFFF == 0x200
    assert seen(boot, Who.UNTRUSTED, What.BUFFER).address is None


def test_the_device_was_there() -> None:
    boot = table(("7.3", 41)).boots[0]
    moved = [one.answer.back for one in boot.seen if one.answer and one.answer.back is not None]
    assert moved == [True] * 11


def test_up_to_7_2_remapped_memory_is_the_end_of_who_asks() -> None:
    answer = seen(table(("7.2", 41)).boots[0], Who.UNTRUSTED, What.REMAPPED).answer
    assert answer is not None
    assert answer.said == "kernel oops"


def test_what_the_kernels_own_drivers_were_given() -> None:
    drivers = table(("7.3", 41)).boots[0].drivers
    assert drivers == (
        Driver("a803000.virtio_mmio", What.BUFFER, (("B|S", 20),)),
        Driver("a803000.virtio_mmio", What.COHERENT, (("M|S", 1),)),
    )


def changed(who: Who, what: What, **changes: object) -> Seen:
    """The row, if the kernel had answered otherwise."""
    asked, boot = rows("7.3", 41), observation("7.3", 41)
    (one,) = (
        row
        for row in asked
        if (row.row.who, row.row.what, row.table, row.is_mask) == (who, what, False, False)
    )
    assert one.ask is not None
    number = boot.asks.index(one.ask) + 1
    answer = dataclasses.replace(boot.answers[number], **changes)  # type: ignore[arg-type]
    other = dataclasses.replace(boot, answers={number: answer})
    return compared([one], other).seen[0]


@pytest.mark.parametrize(
    ("who", "what", "changes", "formula", "differs"),
    [
        (Who.UNTRUSTED, What.BUFFER, {"bounced": False}, "P|0x", "the table says B|S"),
        (Who.UNTRUSTED, What.BUFFER, {"back": False}, "B|S", "that the device reaches it"),
        (Who.UNTRUSTED, What.BUFFER, {"back": None}, "B|S", ""),
        (Who.UNTRUSTED, What.BUFFER, {"mapped": ()}, "", "the table says B|S"),
        (Who.NARROW, What.BUFFER, {"said": ""}, "", "the table says swiotlb overflow"),
        (Who.NARROW, What.COHERENT, {"said": "swiotlb full"}, "", "the table says no message"),
        (Who.NARROW, What.COHERENT, {"mapped": ((1, 1),), "linear": True}, "M",
         "the table says error, no message"),
        (Who.NARROW, What.BUFFER, {"mapped": ((1, 1),)}, "B, in no known pool",
         "the table says error, swiotlb overflow"),
    ],
)  # fmt: skip
def test_what_would_be_said_of_another_answer(
    who: Who, what: What, changes: dict[str, object], formula: str, differs: str
) -> None:
    found = changed(who, what, **changes)
    assert found.formula.startswith(formula)
    assert differs in found.differs
    assert bool(differs) == bool(found.differs)


@pytest.mark.parametrize(
    ("address", "formula"),
    [(0x4500_0000, "P"), (0x100_4500_0000, "P|S"), (0x4500_0200, "P|0x200")],
)
def test_formulas_of_a_mapping(address: int, formula: str) -> None:
    phys = 0x4500_0000
    found = changed(Who.UNTRUSTED, What.SHARED, mapped=((phys, address),))
    assert found.formula == formula


def test_entries_of_a_list_that_differ_are_both_told() -> None:
    phys = 0x4500_0000
    mapped = ((phys, phys), (phys, phys | 0x200))
    assert changed(Who.UNTRUSTED, What.SHARED, mapped=mapped).formula == "P and P|0x200"


@pytest.mark.parametrize(
    ("what", "linear", "reason"),
    [
        (What.COHERENT, False, "the kernel remapped the memory"),
        (What.REMAPPED, True, "the kernel takes the device to be coherent"),
        (What.ATOMIC, True, ""),
    ],
)
def test_memory_of_another_kind_is_not_what_the_row_is_about(
    what: What, linear: bool, reason: str
) -> None:
    found = changed(Who.UNTRUSTED, what, linear=linear)
    assert (found.why_not, found.answer is None) == (reason, bool(reason))


def bare(*seen: Seen) -> ObservedBoots:
    return ObservedBoots("7.3", (Boot(41, seen, ()),))


def test_verdicts() -> None:
    one = table(("7.3", 41)).boots[0].seen[0]
    unasked = next(s for s in table(("7.3", 41)).boots[0].seen if s.asked.ask is None)
    lost = Seen(one.asked, None, "", "the guest did not come to it", "")
    assert bare(one, unasked).exit_status == 0
    assert bare(one, lost).exit_status == 4
    assert bare(unasked).exit_status == 4
    assert bare(lost, dataclasses.replace(one, differs="so")).exit_status == 1


def test_full_pools_are_told_ten_times_only() -> None:
    """Of a mask it is no difference if the line was kept back; of a row it is."""
    boot = observation("7.3", 52)
    full = Outcome("", None, "swiotlb full", None)
    one = next(row for row in rows("7.3", 52) if row.is_mask and row.row.outcome == full)
    assert one.ask is not None
    number = boot.asks.index(one.ask) + 1

    def told(row: Asked, said: str) -> str:
        answer = Answer(0, False, 0, (), False, said, None)
        other = Observation(52, boot.recording, boot.asks, {number: answer})
        return compared([row], other).seen[0].differs

    assert told(one, "") == ""
    assert told(one, "DMA addr overflow") == "the table says swiotlb full"
    assert told(dataclasses.replace(one, mask_bits=64), "") == "the table says swiotlb full"
