"""How is the table of DMA addresses shown: as text for a mail, as Markdown, as JSON?

Text and Markdown keep to 72 columns.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable

from topbit.addressing.cc_platform import cc_platform
from topbit.addressing.explain import fmt
from topbit.machine.model.dma_table import Outcome, Who
from topbit.report.dma_compare import Change, ComparedRows, Line
from topbit.report.dma_notes import NOTES, notes_of

FORMS = ("text", "markdown", "json")
WIDTH = 72
COLUMNS = (18, 14, 16)  # of mapping, device and address; the example's is open
LEGEND = (
    "P the buffer, B its bounce buffer, M coherent memory, IOVA behind a "
    "vIOMMU; |S with the shared bit, |C with the C bit; ! the device does "
    "not reach the memory there; [n] see the notes."
)


def render(table: ComparedRows, form: str) -> str:
    """Which text shows the table? `form`: one of `FORMS`."""
    if form == "json":
        return _json(table)
    lines = _compared(table) if table.against is not None else _whole(table, form)
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _whole(table: ComparedRows, form: str) -> Iterable[str]:
    markdown = form == "markdown"
    title = f"Linux {table.policy}: the address a device is given"
    yield f"## {title}" if markdown else title
    yield ""
    yield from textwrap.wrap(LEGEND, WIDTH)
    used: set[int] = set()
    for section in table.sections():
        yield ""
        yield from _heading(section.schemes, table, "### " if markdown else "")
        if markdown:
            yield ""
            yield "| mapping | device | address | example |"
            yield "|---|---|---|---|"
        else:
            yield _columns("mapping", "device", "address", "example")
        for line in section.lines:
            used.update(line.notes)
            for who in _chunks(line.who):
                cells = (line.what.value, who, _address(line), _example(line.outcome))
                yield _piped(cells) if markdown else _columns(*cells)
    yield ""
    for number in sorted(used):
        note = NOTES[number - 1]
        disputed = "Disputed. " if note.disputed else ""
        yield from _wrapped(f"[{number}]", f"{disputed}{note.text} ({note.source})")


def _heading(schemes: tuple[str, ...], table: ComparedRows, mark: str) -> list[str]:
    platform = cc_platform(schemes[0], table.policy, ipa_bits=table.ipa_bits)
    means = ""
    if len(schemes) == 1 and platform.bit is not None:
        means = f": bit {platform.bit} set means {platform.set_means}"
    return [mark + line for line in textwrap.wrap(", ".join(schemes) + means, WIDTH - len(mark))]


def _compared(table: ComparedRows) -> Iterable[str]:
    before, after = str(table.against), str(table.policy)
    title = f"Linux {before} and {after}: what a device is given differently"
    yield from textwrap.wrap(title, WIDTH, break_on_hyphens=False)
    yield ""
    yield from textwrap.wrap(LEGEND.replace("; [n] see the notes", ""), WIDTH)
    for schemes, changes in table.changes():
        yield ""
        yield from textwrap.wrap(", ".join(schemes), WIDTH)
        width = max(len(before), len(after))
        for change in changes:
            yield f"  {change.what.value}: {_names(change.who)}"
            for name, outcome in zip((before, after), _pair(change), strict=True):
                yield f"    {name:<{width}}  {outcome}"
    if not table.changes():
        yield ""
        yield "No row differs."
    yield ""
    for difference in table.differences():
        has = after if table.policy.has(difference.name) else before
        yield from _wrapped("*", f"{has}: {difference.what} ({difference.source})")
    if not table.differences():
        yield "The two kernels have no named difference."


def _pair(change: Change) -> tuple[str, str]:
    return _in_words(change.before), _in_words(change.after)


def _in_words(outcome: Outcome | None) -> str:
    if outcome is None:
        return "no such request"
    if outcome.address is None:
        return f"error, {_example(outcome)}"
    return f"{_flagged(outcome)}  {fmt(outcome.address)}"


def _flagged(outcome: Outcome) -> str:
    return ("!" if outcome.reaches is False else "") + outcome.formula


def _address(line: Line) -> str:
    notes = f"[{','.join(map(str, line.notes))}]" if line.notes else ""
    return (_flagged(line.outcome) or "error") + notes


def _example(outcome: Outcome) -> str:
    if outcome.address is not None:
        return fmt(outcome.address)
    return "refused" if outcome.said.startswith("device must") else outcome.said or "no message"


def _names(who: Iterable[Who]) -> str:
    return " ".join(device.value for device in who)


def _chunks(who: tuple[Who, ...]) -> Iterable[str]:
    """The devices of a line in pieces that fit their column; all of them are "any"."""
    if len(who) == len(Who):
        yield "any"
        return
    yield from textwrap.wrap(_names(who), COLUMNS[1])


def _columns(*cells: str) -> str:
    padded = [f"{cell:<{w}}" for cell, w in zip(cells, COLUMNS, strict=False)]
    return "  ".join([*padded, cells[-1]])


def _piped(cells: Iterable[str]) -> str:
    escaped = [cell.replace("|", "\\|") for cell in cells]
    row = f"| {' | '.join(escaped)} |"
    return row if len(row) <= WIDTH else f"|{'|'.join(escaped)}|"


def _wrapped(mark: str, text: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=f"{mark} ",
        subsequent_indent=" " * (len(mark) + 1),
        break_on_hyphens=False,
    )


def _json(table: ComparedRows) -> str:
    document = {
        "kernel": str(table.policy),
        "against": None if table.against is None else str(table.against),
        "ipa_bits": table.ipa_bits,
        "rows": [
            {
                "scheme": row.scheme,
                "device": row.who.value,
                "mapping": row.what.value,
                **_told(row.outcome),
                "notes": notes_of(row, table.policy),
            }
            for row in table.rows
        ],
        "notes": [
            {"number": number, "text": n.text, "source": n.source, "disputed": n.disputed}
            for number, n in enumerate(NOTES, 1)
        ],
        "changes": [
            {
                "schemes": list(schemes),
                "mapping": change.what.value,
                "devices": [device.value for device in change.who],
                "before": change.before and _told(change.before),
                "after": change.after and _told(change.after),
            }
            for schemes, changes in (table.changes() if table.against is not None else [])
            for change in changes
        ],
        "differences": [
            {"name": d.name, "since": d.dated, "what": d.what, "source": d.source}
            for d in table.differences()
        ],
    }
    return json.dumps(document, indent=2) + "\n"


def _told(outcome: Outcome) -> dict[str, object]:
    return {
        "kind": outcome.kind,
        "formula": outcome.formula,
        "address": None if outcome.address is None else fmt(outcome.address),
        "said": outcome.said,
        "reaches": outcome.reaches,
    }
