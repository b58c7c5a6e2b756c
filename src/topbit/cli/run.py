"""topbit run: run a scenario, or the matrix of the convention, and say what happened."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from topbit.cli import run_qemu

HELP = "run a scenario; without one, the matrix of guests, VMMs and devices (QEMU: the seed)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which arguments does `topbit run` take?"""
    parser.add_argument(
        "scenario",
        metavar="SCENARIO",
        nargs="?",
        help="a built-in name (`topbit scenario list`) or the path of a TOML file",
    )
    parser.add_argument(
        "--machine",
        choices=("model", "qemu"),
        default="model",
        help="model: everything in Python (default); qemu: a real kernel on QEMU's CPU and devices",
    )
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        dest="settings",
        action="append",
        default=[],
        help="change one setting, e.g. vmm.smmu_map=protected; may be repeated",
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", type=Path, help="store the recording (Parquet)"
    )
    parser.add_argument("--format", choices=("text", "json"), default="text", help="default: text")
    run_qemu.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run; returns 1 if a rule was violated, else 0."""
    qemu = args.machine == "qemu"
    if not qemu:
        run_qemu.refuse_for_model(args)
    if args.scenario is None and not qemu:
        return _matrix(args)
    from topbit.recording.recording import require_place
    from topbit.scenario import find, override

    scenario = find(args.scenario or "seed")
    if args.output:
        require_place(args.output)
    for setting in args.settings:
        scenario = override(scenario, setting)
    if qemu:
        return run_qemu.run(args, scenario)
    from topbit.cli.check import show
    from topbit.errors import GuestDiedError
    from topbit.machine.model.machine import ModelMachine
    from topbit.report import Report

    machine = ModelMachine(scenario)
    recording = machine.run()
    report = Report.of(recording)
    try:
        if args.output:
            recording.write(args.output)
    finally:
        show([report], args.format)
    if not machine.died:
        return report.checked.exit_status
    died = GuestDiedError(
        f"the modelled guest ended before its workload: {machine.died}",
        mend="the report shows what happened until then",
    )
    if not report.checked.exit_status:
        raise died
    print(f"topbit: {died}", file=sys.stderr)
    return report.checked.exit_status


def _matrix(args: argparse.Namespace) -> int:
    from topbit.errors import UsageError
    from topbit.machine.model.machine import ModelMachine
    from topbit.report.matrix import Row, render
    from topbit.rules import check
    from topbit.scenario import override
    from topbit.scenario.builtin import matrix

    if args.output or args.format != "text":
        raise UsageError(
            "the matrix is many runs and prints one table",
            where="-o, --format",
            mend="name a scenario, e.g. `topbit run seed -o seed.parquet`",
        )
    rows = []
    for scenario in matrix():
        for setting in args.settings:
            scenario = override(scenario, setting)
        recording = ModelMachine(scenario).run()
        rows.append(Row.of(scenario, recording, check(recording)))
    print(render(rows), end="")
    return int(any(row.violations for row in rows))
