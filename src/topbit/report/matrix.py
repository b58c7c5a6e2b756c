"""How is the matrix of the convention shown: guests, what VMMs do, and three kinds of devices?"""

from __future__ import annotations

import textwrap
from collections import Counter
from dataclasses import dataclass, field

from topbit.recording import Recording
from topbit.report.forms import matrix_page
from topbit.report.frame import framed
from topbit.report.sentence import agent_name
from topbit.rules.finding import Checked
from topbit.rules.rule import RULES
from topbit.scenario.scenario import Scenario
from topbit.scenario.tables import DeviceSpec
from topbit.vmm.policy import Masking

WIDTH = 80
HEAD = ("guest", "VMM maps", "masks")


@dataclass(slots=True)
class Cell:
    """What did one device reach, and who broke which rule for it?

    Attributes:
        reached: "shared memory", or how it failed.
        blame: agent -> rule ids.
    """

    reached: str
    blame: dict[str, list[str]] = field(default_factory=dict)

    def lines(self) -> tuple[str, str]:
        """Which two lines show the cell?"""
        blamed = ", ".join(f"{agent_name(who)} {' '.join(ids)}" for who, ids in self.blame.items())
        return self.reached, blamed or "-"


@dataclass(slots=True)
class Row:
    """One run of the matrix."""

    head: tuple[str, str, str]
    cells: dict[str, Cell]
    violations: int
    rules: set[str]

    @classmethod
    def of(cls, scenario: Scenario, recording: Recording, checked: Checked) -> Row:
        """Which row does a run make?"""
        masks = "yes" if scenario.vmm.masking is Masking.MASK else "no"
        cells = {_kind(d): _cell(d, recording, checked) for d in scenario.device}
        violations = [f for f in checked.findings if f.severity == "violation"]
        vmm = scenario.vmm.convention or scenario.vmm.smmu_map.value
        head = (scenario.guest.kernel, vmm, masks)
        rules = {rule for cell in cells.values() for ids in cell.blame.values() for rule in ids}
        return cls(head, cells, len(violations), rules)


def _kind(device: DeviceSpec) -> str:
    if device.kind == "emulated":
        return "emulated"
    return "assigned, trusted (T=1)" if device.trusted else "assigned, untrusted"


def _cell(device: DeviceSpec, recording: Recording, checked: Checked) -> Cell:
    import polars as pl

    rows = recording.of_kind("access", "vmm_dma", "payload").filter(pl.col("device") == device.name)
    failed = rows.filter(pl.col("event") != "payload", pl.col("status") != "ok")
    wrong = rows.filter(pl.col("event") == "payload", pl.col("status") == "wrong")
    reached: Counter[str] = Counter(
        rows.filter(pl.col("status") == "ok")["attrs"].drop_nulls().to_list()
    )
    if not failed.is_empty():
        first = failed.row(0, named=True)
        words = {"unmapped": "no memory slot", "private": "refused: private page"}
        text = words.get(first["status"], first["status"])
    elif not wrong.is_empty():
        text = "wrong data"
    else:
        text = " and ".join(f"{kind} memory" for kind in reached) or "nothing"
    blame: dict[str, list[str]] = {}
    for finding in checked.findings:
        if finding.severity == "violation" and finding.device == device.name:
            ids = blame.setdefault(finding.agent, [])
            if finding.rule not in ids:
                ids.append(finding.rule)
    return Cell(text, blame)


@dataclass(frozen=True, slots=True)
class Matrix:
    """What did each kind of device reach, for each guest and VMM, and who broke which rule?

    `str(matrix)` is the table; a notebook shows the page.

    Attributes:
        rows: one a run.
    """

    rows: tuple[Row, ...]

    @property
    def violations(self) -> int:
        """How many violations were found in all runs?"""
        return sum(row.violations for row in self.rows)

    @property
    def cells(self) -> int:
        """How many devices are there in all runs?"""
        return sum(len(row.cells) for row in self.rows)

    @property
    def right(self) -> int:
        """For how many of them did nobody break a rule?"""
        return sum(not cell.blame for row in self.rows for cell in row.cells.values())

    def _repr_html_(self) -> str:
        """What does a notebook show: the page, in a frame of its own?"""
        return framed(matrix_page(self), "topbit matrix")

    def __str__(self) -> str:
        kinds = list(self.rows[0].cells)
        # "assigned, untrusted" in two lines: the table fits 80 columns.
        parts = [kind.partition(", ") for kind in kinds]
        head = [
            [*HEAD, *(first + comma.strip() for first, comma, _ in parts)],
            ["", "", "", *(second for _, _, second in parts)],
        ]
        head = [line for line in head if any(line)]
        table = list(head)
        for row in self.rows:
            pairs = [row.cells[kind].lines() for kind in kinds]
            table.append([*row.head, *(first for first, _ in pairs)])
            table.append(["", "", "", *(second for _, second in pairs)])
        widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
        lines = [
            "What a device reached for a shared buffer, and who broke which rule",
            "",
            *(_line(cells, widths) for cells in head),
            "  ".join("-" * width for width in widths),
        ]
        lines += [_line(cells, widths) for cells in table[len(head) :]]
        used = sorted({rule for row in self.rows for rule in row.rules})
        lines.append("")
        for rule in used:
            statement = f"  {rule:<3} {RULES[rule].statement}"
            lines += textwrap.wrap(statement, WIDTH, subsequent_indent=" " * 6)
        lines += [
            "",
            f"{len(self.rows)} runs, {self.right} of {self.cells} cells without a broken rule",
        ]
        return "\n".join(lines)


def _line(cells: list[str], widths: list[int]) -> str:
    return "  ".join(f"{cell:<{w}}" for cell, w in zip(cells, widths, strict=True)).rstrip()
