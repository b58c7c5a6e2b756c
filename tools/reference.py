"""Write docs/reference/: rules, scenarios and recordings, each from what the code itself says.

The examples of a rule are the recordings of its test: one that it must flag, and one that it must
not.

    python tools/reference.py           renew the files
    python tools/reference.py --check   exit 1 if a file would change
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "support"))

import cases_faults  # noqa: E402
import cases_helpers  # noqa: E402
import cases_mappings  # noqa: E402
import cases_pages  # noqa: E402
import cases_trusted  # noqa: E402
import cases_vmm  # noqa: E402
from rule_events import REALM  # noqa: E402
from topbit.cli import parser  # noqa: E402
from topbit.events import Event  # noqa: E402
from topbit.recording import Platform, Recording  # noqa: E402
from topbit.recording.platform import DeviceFacts  # noqa: E402
from topbit.recording.schema import COLUMNS, KINDS  # noqa: E402
from topbit.recording.trouble import TROUBLES  # noqa: E402
from topbit.rules import check  # noqa: E402
from topbit.rules.check import in_order  # noqa: E402
from topbit.rules.rule import Rule  # noqa: E402
from topbit.rules.wording import describe  # noqa: E402
from topbit.scenario.tables import DeviceSpec  # noqa: E402
from topbit.scenario.toml import TABLES  # noqa: E402

FAMILIES = (
    cases_helpers, cases_mappings, cases_vmm, cases_faults, cases_pages, cases_trusted,
)  # fmt: skip
CASES = {name: case for family in FAMILIES for name, case in family.CASES.items()}
FACTS = ("scheme", "ipa_bits", "c_bit", "kernel", "devices", "dma_ranges", "msi_doorbells")
"""Which facts does an example need to be understood?"""
MADE = "<!-- made by `make docs` from {0} -->"


def main() -> int:
    pages = {
        "rules.md": rules(),
        "scenario.md": scenario(),
        "recording.md": recording(),
        "cli.md": command_line(),
    }
    stale = []
    for name, lines in pages.items():
        path = ROOT / "docs" / "reference" / name
        text = "\n".join(lines).rstrip() + "\n"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if "--check" not in sys.argv[1:]:
                path.write_text(text, encoding="utf-8")
    for name in stale:
        print(f"docs/reference/{name}: out of date; run make docs")
    return int("--check" in sys.argv[1:] and bool(stale))


def rules() -> Iterator[str]:
    yield from ("# Rules", "", MADE.format("src/topbit/rules/"), "")
    yield from (
        "A rule states one convention. Its id stands in every finding. Below each rule are two "
        "recordings: one that breaks it, with what is found, and one that keeps it. Addresses of "
        "the examples are those of a Realm with 41 IPA bits, so that bit 40 is the shared bit; its "
        "RAM begins at 0x40000000, its bounce pool at 0x76b00000. Its devices are `disk` "
        "(assigned, untrusted), `tdisp` (assigned, trusted), `virtio` (emulated) and `narrow` "
        "(assigned, with a DMA mask of 32 bits). Where an example needs other facts, they stand "
        "before its events.",
        "",
    )
    yield from ("| rule | says |", "|---|---|")
    yield from (f"| [{rule.id}](#{rule.id}) | {_cell(rule.statement)} |" for rule in in_order())
    yield ""
    family = ""
    for rule in in_order():
        module = sys.modules[rule.check.__module__]
        if module.__name__ != family:
            family = module.__name__
            title = (inspect.getdoc(module) or "").partition("\n")[0]
            yield from (f"## {title}", "")
        yield from _rule(rule)


def _rule(rule: Rule) -> Iterator[str]:
    yield from (f"({rule.id})=", f"### {rule.id}", "", rule.statement, "")
    yield from (f"Source: {_words(rule.source)}", "")
    if rule.former:
        yield from (f"Called {rule.former} in topbit 0.1.", "")
    case = next(case for case in CASES.values() if case.rule == rule.id)
    found = [
        finding
        for finding in check(Recording.of_events(case.platform, case.bad)).findings
        if finding.rule == rule.id
    ]
    good_platform = case.good_platform or case.platform
    yield from ("Breaks it:", "", "```text", *_facts(case.platform))
    yield from (*_events(case.platform, case.bad), "")
    for finding in found:
        yield f"{finding.severity.upper()} {rule.id}  {finding.message}"
        yield f"  {'at fault' if finding.severity == 'violation' else 'about':<9} {finding.agent}"
        yield f"  expected  {finding.expected}"
    yield from ("```", "", "Keeps it:", "", "```text")
    yield from (*_facts(good_platform), *_events(good_platform, case.good))
    yield from ("```", "")


def _facts(platform: Platform) -> Iterator[str]:
    """Which facts of an example are others than those of the Realm of all examples?"""
    for name in FACTS:
        value = getattr(platform, name)
        if value and value != getattr(REALM, name):
            yield f"{'fact':<8} {name}={_fact(value)}"


def _fact(value: object) -> str:
    """How is a fact written? Addresses and sizes of ranges in hexadecimal."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_fact(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_fact, value)) + "]"
    if isinstance(value, DeviceFacts):
        usual = DeviceFacts()
        names = [f.name for f in dataclasses.fields(value)]
        told = {name: getattr(value, name) for name in names}
        return _fact({k: each for k, each in told.items() if each != getattr(usual, k)})
    if isinstance(value, int) and not isinstance(value, bool) and value > 0xFFFF:
        return hex(value)
    return str(value)


def _events(platform: Platform, events: list[Event]) -> list[str]:
    frame = Recording.of_events(platform, events).frame
    return [f"{row['agent']:<8} {describe(row)}" for row in frame.iter_rows(named=True)]


def scenario() -> Iterator[str]:
    yield from ("# Scenarios", "", MADE.format("src/topbit/scenario/tables.py"), "")
    yield from (
        "A scenario is TOML: a name, a summary, and these tables. A key that is left out has the "
        "value below. `--set TABLE.KEY=VALUE` changes one; a device's table is its name, as in "
        "`--set nvme0.trusted=true`.",
        "",
    )
    tables = {name: kind for name, kind in TABLES.items() if kind is not DeviceSpec}
    for name, kind in {**tables, "[device]": DeviceSpec}.items():
        question, told = _documented(kind)
        yield from (f"## `[{name}]`", "", question, "", "| key | usual | what it is |")
        yield "|---|---|---|"
        for field in dataclasses.fields(kind):
            yield f"| `{field.name}` | {_usual(field)} | {_cell(told.get(field.name, ''))} |"
        yield ""


def recording() -> Iterator[str]:
    yield from ("# Recordings", "", MADE.format("src/topbit/recording/schema.py"), "")
    yield from (
        "A recording is one Parquet file: a row for each event, in order, and the platform's facts "
        "as JSON under the key `topbit.platform` of the file's metadata. Any tool that reads "
        "Parquet reads the table:",
        "",
        "```sh",
        "topbit run seed -o seed.parquet && duckdb -c \"select * from 'seed.parquet'\"",
        "```",
        "",
        "## Columns",
        "",
        "| column | what it holds |",
        "|---|---|",
    )
    _, told = _documented(Event)
    yield from (f"| `{column}` | {_cell(told[column])} |" for column in COLUMNS)
    yield from ("", "## Kinds of events", "")
    for name, kind in KINDS.items():
        yield from (f"### `{name}`", "", f"Usually of: {kind.agent}", "")
        yield from ("| column | what it holds |", "|---|---|")
        yield from (f"| `{column}` | {_cell(what)} |" for column, what in kind.columns.items())
        yield ""
    yield from ("## Kinds of trouble", "", "The `status` of an event of kind `trouble`.", "")
    yield from ("| status | what it tells | usually a matter of |", "|---|---|---|")
    yield from (f"| `{name}` | {_cell(t.tells)} | {t.matter_of} |" for name, t in TROUBLES.items())
    for title, record in (("Facts of the platform", Platform), ("Facts of a device", DeviceFacts)):
        _, told = _documented(record)
        yield from ("", f"## {title}", "", "| fact | what it is |", "|---|---|")
        yield from (f"| `{name}` | {_cell(what)} |" for name, what in told.items())


def command_line() -> Iterator[str]:
    yield from ("# Command line", "", MADE.format("src/topbit/cli/"), "", "```text")
    yield from (*(parser().epilog or "").splitlines(), "```", "")
    yield from _verb(parser(), "topbit")


def _verb(verb: argparse.ArgumentParser, name: str) -> Iterator[str]:
    """What does a verb take, and then each verb below it?"""
    taken = [action for action in verb._actions if action.dest != "help"]
    below = [action for action in taken if isinstance(action, argparse._SubParsersAction)]
    if name != "topbit":
        yield from (f"## {name}", "", f"{_words(verb.description or '')}", "")
    if set(taken) - set(below):
        yield from ("| argument | what it is |", "|---|---|")
    for action in taken:
        if action not in below:
            yield f"| {_argument(action)} | {_cell(action.help or '')} |"
    yield ""
    for action in below:
        for word, parser_below in action.choices.items():
            yield from _verb(parser_below, f"{name} {word}")


def _argument(action: argparse.Action) -> str:
    """How is an argument written: its names, and what stands for its value?"""
    value = action.metavar or "|".join(map(str, action.choices or ())) or action.dest
    value = str(value).replace("|", "\\|")
    if not action.option_strings:
        return f"`{value}`"
    names = ", ".join(f"`{name}`" for name in action.option_strings)
    return names if action.nargs == 0 else f"{names} `{value}`"


def _documented(kind: type[Any]) -> tuple[str, dict[str, str]]:
    """Which question does a class answer, and what does it say of its attributes?"""
    text = inspect.getdoc(kind) or ""
    attributes: dict[str, str] = {}
    names: list[str] = []
    for line in text.partition("Attributes:\n")[2].splitlines():
        if begins := re.match(r"    ([\w, ]+): (.*)", line):
            names = begins[1].split(", ")
            attributes |= dict.fromkeys(names, begins[2])
        elif line.startswith("        "):
            for name in names:
                attributes[name] += f" {line.strip()}"
        elif line:
            break
    return text.partition("\n")[0], attributes


def _usual(field: dataclasses.Field[Any]) -> str:
    if field.default is dataclasses.MISSING:
        return "-"
    value = getattr(field.default, "value", field.default)
    return "-" if value in (None, "") else f"`{str(value).lower()}`"


def _cell(text: str) -> str:
    return _words(text).replace("|", "\\|")


def _words(text: str) -> str:
    """Text of a docstring as Markdown: what would be markup in it is none."""
    return re.sub(r"([<>*\[\]{}])", r"\\\1", text) if "`" not in text else text


if __name__ == "__main__":
    sys.exit(main())
