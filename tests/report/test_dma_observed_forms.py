"""The observed table as text, as Markdown and as JSON."""

from __future__ import annotations

import dataclasses
import json

import pytest

from observed_boots import table
from topbit.report.dma_observed import Boot, ObservedBoots, Seen
from topbit.report.dma_observed_forms import render, verdict

NARROW, WIDE, OLD = (("7.3", 41),), (("7.3", 52),), (("7.2", 41),)
BOOTS = [NARROW, WIDE, OLD]


def with_first(**changes: object) -> ObservedBoots:
    """The table of 7.3 with its first row changed."""
    found = table(*NARROW)
    boot = found.boots[0]
    first = dataclasses.replace(boot.seen[0], **changes)  # type: ignore[arg-type]
    return ObservedBoots(found.release, (dataclasses.replace(boot, seen=(first, *boot.seen[1:])),))


@pytest.mark.parametrize("boots", BOOTS)
@pytest.mark.parametrize("form", ["text", "markdown"])
def test_no_line_is_longer_than_72_columns(boots: tuple[tuple[str, int], ...], form: str) -> None:
    text = render(table(*boots), form)
    assert [line for line in text.splitlines() if len(line) > 72] == []


def test_text() -> None:
    lines = render(table(*NARROW), "text").splitlines()
    assert lines[0].startswith("Linux 7.3.4+deb13-cloud-arm64: the address a device was given")
    assert "IPA space of 41 bits: bit 40 set means shared" in lines
    at = lines.index("mapping             device  address        example")
    assert lines[at + 1].startswith("buffer              T=0     B|S            0x000001007")
    assert lines[at + 1].endswith("  there")
    assert "buffer              32-bit  error          swiotlb overflow" in lines
    assert "coherent            32-bit  error          no message" in lines
    assert "buffer, by mask: 32 to 40 bits error, 41 to 64 bits B|S" in lines
    assert "buffer, a803000.virtio_mmio with its own driver: 20 B|S" in lines
    assert any(line.startswith("not observed, because the guest has no IOMMU") for line in lines)
    assert lines[-1] == "88 rows and masks were observed in 1 boot: all are as the table says."


def test_markdown() -> None:
    lines = render(table(*NARROW), "markdown").splitlines()
    assert lines[0].startswith("## Linux 7.3.4")
    assert "### IPA space of 41 bits: bit 40 set means shared" in lines
    assert "| mapping | device | address | example | |" in lines
    assert any(line.startswith("|buffer|T=0|B\\|S|0x") and "|there|" in line for line in lines)
    assert "- buffer, by mask: 32 to 40 bits error, 41 to 64 bits B|S" in lines


def test_json() -> None:
    document = json.loads(render(table(*NARROW), "json"))
    assert (document["kernel"], document["observed"]) == ("7.3.4+deb13-cloud-arm64", 88)
    assert (document["differences"], document["lacking"]) == (0, 0)
    (boot,) = document["boots"]
    assert (boot["ipa_bits"], boot["ending"]) == (41, "")
    first = boot["rows"][0]
    assert (first["device"], first["mapping"], first["mask_bits"]) == ("T=0", "buffer", 64)
    assert first["table"] == {"formula": "B|S", "said": "", "reaches": True}
    observed = first["observed"]
    assert observed["address"].startswith("0x000001007")
    assert (observed["formula"], observed["reaches"], observed["dma_set_mask"]) == ("B|S", True, 0)
    unseen = next(row for row in boot["rows"] if row["device"] == "vIOMMU")
    assert (unseen["observed"], unseen["why_not"]) == (None, "the guest has no IOMMU of its own")
    assert boot["drivers"][0] == {
        "device": "a803000.virtio_mmio",
        "mapping": "buffer",
        "formulas": {"B|S": 20},
    }


def test_a_difference_is_told_where_it_is_and_in_the_end() -> None:
    other = with_first(formula="P", differs="the table says B|S")
    lines = render(other, "text").splitlines()
    at = lines.index("mapping             device  address        example")
    assert lines[at + 1].startswith("buffer              T=0     P ")
    assert lines[at + 1].endswith("  DIFFERS")
    assert "DIFFERS: buffer, T=0: the table says B|S" in lines
    assert lines[-1].endswith("1 DIFFER from the table.")
    assert json.loads(render(other, "json"))["boots"][0]["rows"][0]["differs"]


def test_a_mask_that_differs() -> None:
    found = table(*NARROW)
    boot = found.boots[0]
    masked = tuple(
        dataclasses.replace(one, differs="the table says error")
        if one.asked.mask_bits == 50 and one.formula == "B|S"
        else one
        for one in boot.seen
    )
    other = ObservedBoots(found.release, (dataclasses.replace(boot, seen=masked),))
    text = " ".join(render(other, "text").split())
    assert "41 to 49 bits B|S, 50 bits B|S (DIFFERS: the table says error), 51 to 64" in text


def test_a_device_that_was_not_there() -> None:
    first = table(*NARROW).boots[0].seen[0]
    assert first.answer is not None
    missed = with_first(answer=dataclasses.replace(first.answer, back=False))
    assert "buffer              T=0     !B|S " in render(missed, "text")


def test_what_was_not_observed_is_told_with_the_reason() -> None:
    boot = table(*NARROW).boots[0]
    lost = tuple(
        Seen(one.asked, None, "", one.why_not or "the guest did not come to it", "")
        for one in boot.seen
    )
    nothing = ObservedBoots("7.3", (Boot(41, lost, (), "timeout"),))
    text = " ".join(render(nothing, "text").split())
    assert "the guest did not come to its end: timeout" in text
    assert "because the guest did not come to it: buffer T=0, buffer, sg list T=0," in text
    assert "coherent, remapped 32-bit, 62 masks not observed" in text
    assert text.endswith("Nothing was observed in 1 boot; 88 were asked for and not answered.")


def test_some_that_are_lacking() -> None:
    first = table(*NARROW).boots[0].seen[0]
    told = verdict(with_first(answer=None, why_not="lost"))
    assert first.answer is not None
    assert told == (
        "87 rows and masks were observed in 1 boot: all are as the table says; 1 were asked for "
        "and not answered."
    )


def test_several_boots() -> None:
    both = table(("7.3", 41), ("7.3", 52))
    assert verdict(both).startswith("168 rows and masks were observed in 2 boots")
