"""How is it shown what a real kernel gave devices: as text for a mail, as Markdown, as JSON?

Text and Markdown keep to 72 columns, as the table's do.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable
from itertools import groupby

from topbit.addressing.explain import fmt
from topbit.arch.ipa import IpaSpace
from topbit.errors import printable
from topbit.machine.model.dma_table import Who
from topbit.report.dma_asks import MASKED
from topbit.report.dma_observed import Boot, ObservedBoots, Seen

WIDTH = 72
COLUMNS = (18, 6, 13, 18)  # of mapping, device, address and example; whether it is there is open
LEGEND = (
    "P the buffer, B its bounce buffer, M coherent memory; |S with the shared bit; there: the "
    "device (QEMU's edu) read the memory at that address, and wrote it."
)


def render(table: ObservedBoots, form: str) -> str:
    """Which text shows it? `form`: "text", "markdown" or "json"."""
    if form == "json":
        return json.dumps(_document(table), indent=2) + "\n"
    lines = _lines(table, markdown=form == "markdown")
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _lines(table: ObservedBoots, *, markdown: bool) -> Iterable[str]:
    title = f"Linux {printable(table.release)}: the address a device was given"
    yield f"## {title}" if markdown else title
    yield ""
    yield from textwrap.wrap(LEGEND, WIDTH)
    for boot in table.boots:
        yield ""
        bit = IpaSpace(boot.ipa_bits).bit_number
        heading = f"IPA space of {boot.ipa_bits} bits: bit {bit} set means shared"
        yield f"### {heading}" if markdown else heading
        if boot.ending:
            yield from _wrapped(f"the guest did not come to its end: {printable(boot.ending)}")
        yield from _rows(boot, markdown=markdown)
    yield ""
    yield from _wrapped(verdict(table))


def verdict(table: ObservedBoots) -> str:
    """What came of it, in a sentence?"""
    boots = f"{len(table.boots)} boot{'s' * (len(table.boots) != 1)}"
    told = f"{table.observed} rows and masks were observed in {boots}"
    lacking = f"; {table.lacking} were asked for and not answered" if table.lacking else ""
    if not table.observed:
        return f"Nothing was observed in {boots}{lacking}."
    if table.differences:
        return f"{told}: {table.differences} DIFFER from the table{lacking}."
    return f"{told}: all are as the table says{lacking}."


def _rows(boot: Boot, *, markdown: bool) -> Iterable[str]:
    if markdown:
        yield ""
        yield "| mapping | device | address | example | |"
        yield "|---|---|---|---|---|"
    else:
        yield _columns("mapping", "device", "address", "example", "")
    below = []
    for one in (one for one in boot.seen if one.answer and not one.asked.is_mask):
        cells = (_mapping(one), _who(one), _address(one), _example(one), _there(one))
        yield _piped(cells) if markdown else _columns(*cells)
        if one.differs:
            below.append(f"DIFFERS: {_mapping(one)}, {_who(one)}: {one.differs}")
    yield ""
    for line in (*below, *_masks(boot), *_drivers(boot), *_unseen(boot)):
        yield from _item(line, "- " if markdown else "")


def _masks(boot: Boot) -> Iterable[str]:
    """Masks in a row with one outcome, told once."""
    for what in MASKED:
        of_what = [o for o in boot.seen if o.answer and o.asked.row.what is what and _is_plain(o)]
        of_what.sort(key=lambda one: one.asked.mask_bits)
        told = []
        for (words, differs), group in groupby(of_what, lambda o: (_address(o), o.differs)):
            masks = [one.asked.mask_bits for one in group]
            span = f"{masks[0]} to {masks[-1]}" if len(masks) > 1 else f"{masks[0]}"
            told.append(f"{span} bits {words}" + (f" (DIFFERS: {differs})" if differs else ""))
        if told:
            yield f"{what.value}, by mask: {', '.join(told)}"


def _drivers(boot: Boot) -> Iterable[str]:
    for driver in boot.drivers:
        counts = ", ".join(f"{count} {formula}" for formula, count in driver.formulas)
        yield f"{driver.what.value}, {printable(driver.device)} with its own driver: {counts}"


def _unseen(boot: Boot) -> Iterable[str]:
    reasons: dict[str, list[str]] = {}
    masks: dict[str, int] = {}
    for one in (one for one in boot.seen if one.answer is None):
        if one.asked.is_mask:
            masks[one.why_not] = masks.get(one.why_not, 0) + 1
        else:
            reasons.setdefault(one.why_not, []).append(f"{_mapping(one)} {_who(one)}")
    for why in dict.fromkeys([*reasons, *masks]):
        rows = reasons.get(why, [])
        rows += [f"{masks[why]} masks"] if why in masks else []
        yield f"not observed, because {why}: {', '.join(rows)}"


def _is_plain(one: Seen) -> bool:
    """Is it about a device that differs in its mask alone?"""
    return one.asked.row.who in (Who.UNTRUSTED, Who.NARROW) and not one.asked.table


def _mapping(one: Seen) -> str:
    return "buffer, sg list" if one.asked.table else one.asked.row.what.value


def _who(one: Seen) -> str:
    return one.asked.row.who.value


def _address(one: Seen) -> str:
    missed = one.answer is not None and one.answer.back is False
    return ("!" if missed else "") + one.formula or "error"


def _example(one: Seen) -> str:
    if one.address is not None:
        return fmt(one.address)
    return (one.answer.said if one.answer else "") or "no message"


def _there(one: Seen) -> str:
    if one.differs:
        return "DIFFERS"
    return "there" if one.answer and one.answer.back else ""


def _columns(*cells: str) -> str:
    padded = [f"{cell:<{w}}" for cell, w in zip(cells, COLUMNS, strict=False)]
    return "  ".join([*padded, cells[-1]])


def _piped(cells: Iterable[str]) -> str:
    return f"|{'|'.join(cell.replace('|', chr(92) + '|') for cell in cells)}|"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, break_on_hyphens=False)


def _item(text: str, mark: str) -> list[str]:
    indent = " " * max(len(mark), 2)
    return textwrap.wrap(
        text, WIDTH, initial_indent=mark, subsequent_indent=indent, break_on_hyphens=False
    )


def _document(table: ObservedBoots) -> dict[str, object]:
    return {
        "kernel": table.release,
        "observed": table.observed,
        "differences": table.differences,
        "lacking": table.lacking,
        "boots": [
            {
                "ipa_bits": boot.ipa_bits,
                "ending": boot.ending,
                "rows": [_row(one) for one in boot.seen],
                "drivers": [
                    {"device": d.device, "mapping": d.what.value, "formulas": dict(d.formulas)}
                    for d in boot.drivers
                ],
            }
            for boot in table.boots
        ],
    }


def _row(one: Seen) -> dict[str, object]:
    said, answer = one.asked.row.outcome, one.answer
    return {
        "device": one.asked.row.who.value,
        "mapping": one.asked.row.what.value,
        "sg_list": one.asked.table,
        "mask_bits": one.asked.mask_bits,
        "table": {"formula": said.formula, "said": said.said, "reaches": said.reaches},
        "observed": answer
        and {
            "formula": one.formula,
            "address": None if one.address is None else fmt(one.address),
            "said": answer.said,
            "reaches": answer.back,
            "dma_set_mask": answer.mask_status,
        },
        "why_not": one.why_not,
        "differs": one.differs,
    }
