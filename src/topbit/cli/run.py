"""topbit run: run a scenario, or the matrix of the convention, and say what happened."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from topbit.cli import run_qemu
from topbit.cli.bar import bar
from topbit.cli.ending import INTERRUPTED, add_exit_for, command_for_bisect
from topbit.cli.output import add_format, note, show, store

if TYPE_CHECKING:
    from topbit.recording import Recording

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
        "--conventions",
        metavar="NAME,...",
        help="the matrix of VMMs by name: kvmtool, kvmtool-before, qemu-rfc, qemu-nvidia, plain",
    )
    parser.add_argument(
        "--vmm",
        metavar="FILE.py",
        type=Path,
        help="a VMM policy of your own: a class on topbit.vmm.policy.VmmPolicy",
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", type=Path, help="store the recording (Parquet)"
    )
    add_format(parser)
    add_exit_for(parser)
    run_qemu.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run; the report's exit status."""
    options = run_qemu.options_of(args)
    if args.conventions and (args.scenario or args.machine != "model" or options or args.vmm):
        from topbit.errors import UsageError

        raise UsageError(
            "conventions are the rows of the model's matrix",
            where="--conventions",
            hint="a scenario takes one: --set vmm.convention=qemu-nvidia",
        )
    if args.scenario is None and args.machine == "model" and not options and not args.vmm:
        return _matrix(args)
    from topbit import api
    from topbit.machine.interrupted import RunInterrupted

    if args.output:
        from topbit.recording.recording import require_place

        require_place(args.output)
    try:
        with bar() as fetched, run_qemu.shown(args) as (progress, output):
            recording = api.run(
                args.scenario or "seed",
                settings=args.settings,
                machine=args.machine,
                vmm=args.vmm,
                note=note,
                progress=progress,
                fetched=fetched,
                output=output,
                **options,
            )
    except RunInterrupted as interrupted:
        return _told(args, interrupted.recording, INTERRUPTED)
    return _told(args, recording)


def _told(args: argparse.Namespace, recording: Recording, interrupted: int = 0) -> int:
    """Store the recording and show its report; the exit status."""
    from topbit import api

    report = api.check(recording)
    failed = store(recording, args.output) if args.output else 0
    show(report, args.format, verbose=args.verbose)
    if report.verdict != "violation" and interrupted:
        return failed or interrupted
    told_by_command = report.verdict != "violation" and not report.unfinished
    if args.exit_for == "bisect" and told_by_command and report.command_status:
        return failed or command_for_bisect(report.command_status)
    return failed or report.exit_status


def _matrix(args: argparse.Namespace) -> int:
    """Show the matrix; 1 if any of its runs broke a rule, else 0."""
    from topbit import api
    from topbit.errors import UsageError

    if args.output or args.format not in ("text", "html"):
        raise UsageError(
            "the matrix is many runs and is a table or a page",
            where="-o, --format",
            hint="name a scenario, e.g. `topbit run seed -o seed.parquet`",
        )
    names = args.conventions.split(",") if args.conventions else ()
    matrix = api.matrix(settings=args.settings, conventions=names)
    if args.format == "html":
        from topbit.report.forms import matrix_page

        print(matrix_page(matrix), end="")
    else:
        print(matrix)
    return int(matrix.violations > 0)
