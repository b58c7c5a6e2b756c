"""topbit check: did every agent keep the convention, going by logs from anywhere?"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from topbit.cli.ending import add_exit_for
from topbit.cli.output import add_format, note, show, store

HELP = "check traces, kernel logs and SMMU event queues of one run"
ROLES = {
    "guest": "the guest's",
    "host": "the host's",
    "vmm": "the VMM's",
    "firmware": "the firmware's",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which arguments does `topbit check` take?"""
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="*",
        type=Path,
        help="ftrace text, trace.dat of trace-cmd, kernel log, console log, SMMU event queue dump "
        "(also .xz, .gz, .zst), a folder with the files of one run, or a recording (.parquet)",
    )
    for role, what in ROLES.items():
        parser.add_argument(
            f"--{role}",
            metavar="FILE",
            action="append",
            default=[],
            type=Path,
            help=f"a file of the run that is {what}, where it cannot be seen (repeatable)",
        )
    parser.add_argument(
        "--ipa-bits",
        metavar="N",
        type=int,
        help="width of the Realm's IPA space, 32 to 52; else it is inferred from the addresses",
    )
    parser.add_argument(
        "--c-bit", metavar="N", type=int, help="number of the C bit of an AMD guest or host"
    )
    parser.add_argument(
        "--trusted",
        metavar="DEVICE",
        action="append",
        default=[],
        help="a device that the guest has accepted (T=1), so that it may use private memory",
    )
    parser.add_argument(
        "--viommu",
        metavar="DEVICE",
        action="append",
        default=[],
        help="a device behind an IOMMU of the guest's own, so that its addresses are IOVAs",
    )
    parser.add_argument(
        "--stream",
        metavar="SID=DEVICE",
        action="append",
        default=[],
        help="which device has a StreamID: --stream 0x8=0000:00:01.0",
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", type=Path, help="store what was read (Parquet)"
    )
    add_format(parser)
    add_exit_for(parser)


def run(args: argparse.Namespace) -> int:
    """Check the files, and store what was read; the report's exit status.

    Raises:
        InputError, UsageError: see `topbit.api.read`; or nothing can be stored where it is asked.
    """
    from topbit import api
    from topbit.readers.options import stream_option
    from topbit.recording.recording import require_place

    if args.output:
        require_place(args.output)
    with _progress() as advance:
        recordings = api.read(
            args.files,
            ipa_bits=args.ipa_bits,
            c_bit=args.c_bit,
            trusted=args.trusted,
            viommu=args.viommu,
            streams=dict(map(stream_option, args.stream)),
            guest=args.guest,
            host=args.host,
            vmm=args.vmm,
            firmware=args.firmware,
            progress=advance,
        )
    report = api.check(recordings)
    failed = store(recordings[-1], args.output) if args.output else 0
    if args.output and len(recordings) > 1:
        note(f"{args.output} holds the last of {len(recordings)} boots")
    show(report, args.format, verbose=args.verbose)
    return failed or report.exit_status


@contextmanager
def _progress() -> Iterator[Callable[[int], None]]:
    """Who shows how many lines were read? A line on the terminal; nobody in a pipe."""
    if not sys.stderr.isatty():
        yield lambda lines: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn

    columns = (SpinnerColumn(), TextColumn("{task.description} {task.completed:,.0f} lines"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("reading", total=None)
        yield lambda lines: progress.advance(task, lines)
