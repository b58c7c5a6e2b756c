"""Which questions stand for the rows of the table."""

from __future__ import annotations

import pytest

from topbit.errors import UsageError
from topbit.linux.dma_attrs import NO_ATTRS, DmaAttr
from topbit.machine.model.dma_table import What, Who, rows
from topbit.machine.qemu.guest.ask_module import Op
from topbit.machine.qemu.guest.asking import Ask, size_of
from topbit.report.dma_asks import (
    NARROW_SMMU,
    NO_BYPASS,
    NO_INCOHERENT,
    NO_IOMMU,
    Asked,
    asked,
    questions,
)


def row(of: list[Asked], who: Who, what: What, *, table: bool = False) -> Asked:
    (found,) = (
        one
        for one in of
        if (one.row.who, one.row.what, one.table, one.is_mask) == (who, what, table, False)
    )
    return found


def test_every_row_of_the_table_is_there_in_its_order() -> None:
    told = [one.row for one in asked("7.3", 41) if not one.table and not one.is_mask]
    assert told == rows("7.3", ipa_bits=41, schemes=["arm-cca"])


@pytest.mark.parametrize(
    ("who", "what", "ask"),
    [
        (Who.UNTRUSTED, What.BUFFER, Ask("edu0", Op.MAP_PAGE, moved_by="edu0")),
        (Who.TRUSTED, What.COHERENT, Ask("edu1", Op.ALLOC, moved_by="edu1")),
        (Who.NARROW, What.BUFFER, Ask("edu0", Op.MAP_PAGE, 32)),
        (Who.UNTRUSTED, What.ATOMIC, Ask("edu0", Op.ALLOC, atomic=True, moved_by="edu0")),
        (Who.UNTRUSTED, What.REMAPPED, Ask("serial8250", Op.ALLOC, moved_by="edu0")),
        (
            Who.UNTRUSTED,
            What.SHARED,
            Ask("edu0", Op.MAP_SHARED, attrs=DmaAttr.CC_SHARED, moved_by="edu0"),
        ),
        (Who.UNTRUSTED, What.MMIO, Ask("edu0", Op.MAP_REGISTERS, attrs=DmaAttr.MMIO)),
        (
            Who.UNTRUSTED,
            What.MMIO_SHARED,
            Ask("edu0", Op.MAP_REGISTERS, attrs=DmaAttr.MMIO | DmaAttr.CC_SHARED),
        ),
    ],
)
def test_which_question_stands_for_a_row(who: Who, what: What, ask: Ask) -> None:
    found = row(asked("7.3", 41), who, what)
    assert (found.ask, found.why_not) == (ask, "")


def test_a_list_counts_as_a_buffer() -> None:
    found = row(asked("7.3", 41), Who.TRUSTED, What.BUFFER, table=True)
    assert found.ask == Ask("edu1", Op.MAP_SG, attrs=NO_ATTRS, moved_by="edu1")


@pytest.mark.parametrize(
    ("bits", "who", "what", "reason"),
    [
        (41, Who.IOMMU, What.BUFFER, NO_IOMMU),
        (41, Who.UNTRUSTED, What.VIRTIO, NO_BYPASS),
        (41, Who.TRUSTED, What.REMAPPED, NO_INCOHERENT),
        (45, Who.TRUSTED, What.BUFFER, NARROW_SMMU),
        (44, Who.TRUSTED, What.BUFFER, ""),
        (45, Who.UNTRUSTED, What.BUFFER, ""),
    ],
)
def test_what_cannot_be_asked(bits: int, who: Who, what: What, reason: str) -> None:
    found = row(asked("7.3", bits), who, what)
    assert (found.ask is None, found.why_not) == (bool(reason), reason)


def test_in_a_wide_space_nothing_is_moved() -> None:
    found = questions(asked("7.3", 52))
    assert {ask.device for ask in found} == {"4010000000.pcie", "serial8250"}
    assert {ask.moved_by for ask in found} == {""}


def test_masks_say_what_the_table_says_of_narrow_and_wide_ones() -> None:
    found = {
        (one.row.what, one.mask_bits): one.row.outcome for one in asked("7.3", 48) if one.is_mask
    }
    assert {what for what, _ in found} == {What.BUFFER, What.COHERENT}
    assert sorted({bits for _, bits in found}) == list(range(33, 64))
    assert found[What.BUFFER, 47].said == "swiotlb overflow"
    assert found[What.BUFFER, 48].formula == "B|S"
    assert found[What.COHERENT, 48].formula == "M|S"


@pytest.mark.parametrize(("release", "bits"), [("6.16", 41), ("7.3", 41), ("7.3", 52)])
def test_no_question_is_asked_twice_and_the_last_may_be_the_end(release: str, bits: int) -> None:
    found = questions(asked(release, bits))
    assert len(found) == len(set(found))
    assert [ask.device for ask in found].count("serial8250") == 2
    assert (found[-1].device, found[-1].mask_bits) == ("serial8250", 64)
    assert size_of(len(found)) <= 4096


def test_no_such_width() -> None:
    with pytest.raises(UsageError, match="53 is no width"):
        asked("7.3", 53)
