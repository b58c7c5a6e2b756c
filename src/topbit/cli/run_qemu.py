"""topbit run --machine qemu: its options, and the line that says what the guest is doing."""

from __future__ import annotations

import argparse
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias, cast

from topbit.errors import printable
from topbit.machine.qemu.options import KERNEL, TIMEOUT, QemuOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which arguments does `topbit run` take for the QEMU machine?"""
    group = parser.add_argument_group("with --machine qemu")
    group.add_argument(
        "--kernel",
        metavar="KERNEL",
        help=f"a series of Debian's kernels (6.16, 6.18, 7.2, 7.3; default: {KERNEL}, or what the "
        "scenario is about), a release, or the path of an Image",
    )
    group.add_argument("--modules", metavar="DIR", type=Path, help="the modules of one's own Image")
    group.add_argument(
        "--flavour", choices=("cloud", "full", "rt", "16k"), help="which of Debian's (cloud)"
    )
    group.add_argument("--append", metavar="WORDS", help="more words for the kernel's command line")
    group.add_argument("--cpus", metavar="N", type=int, help="number of vCPUs (1)")
    group.add_argument(
        "--cpu",
        metavar="MODEL",
        help="QEMU's name of their model (neoverse-n2; max for more than 48 IPA bits)",
    )
    group.add_argument("--run", metavar="CMD", dest="command", help="run CMD in the guest as well")
    group.add_argument(
        "--add",
        metavar="FILE[:PATH]",
        action="append",
        help="put a file or folder into the guest, at PATH (/NAME)",
    )
    group.add_argument(
        "--get",
        metavar="PATH[:FILE]",
        action="append",
        help="fetch a file or folder from the guest when CMD has ended",
    )
    group.add_argument(
        "--initrd",
        metavar="FILE",
        type=Path,
        help="boot your own initramfs: its init is all that runs, its console is shown",
    )
    group.add_argument(
        "--rootfs",
        metavar="FILE",
        type=Path,
        help="boot the root file system on this disk image (raw or qcow2), which stays as it is; "
        "with --run: run CMD in it",
    )
    group.add_argument(
        "--rootfs-write", action="store_true", help="keep what the guest changes on it"
    )
    group.add_argument(
        "--timeout",
        metavar="S",
        type=float,
        help=f"end the run after S seconds ({TIMEOUT}; none with a shell on the terminal)",
    )
    group.add_argument(
        "--console",
        action="store_true",
        help="show the guest's console; on a terminal with a shell after the workload",
    )
    group.add_argument("--log", metavar="FILE", type=Path, help="store the guest's console")
    group.add_argument(
        "--gdb",
        metavar="VMLINUX",
        nargs="?",
        type=Path,
        const=True,
        help="wait for a debugger, and say the command that attaches it",
    )


def options_of(args: argparse.Namespace) -> QemuOptions:
    """Which of these options did the user give?"""
    given = {name: getattr(args, name) for name in QemuOptions.__optional_keys__}
    return cast(
        "QemuOptions",
        {name: value for name, value in given.items() if value is not None and value is not False},
    )


Shown: TypeAlias = tuple[Callable[[str], None], Callable[[bytes], None]]
"""Who is told what the guest is doing, and what the user's command writes in it?"""


@contextmanager
def shown(args: argparse.Namespace) -> Iterator[Shown]:
    """Who shows what the guest is doing and what the user's command writes?

    stderr gets the command's output as it is. On a terminal a line tells what the guest is doing,
    if nothing else is shown there, until the command writes.
    """
    own = args.initrd or (args.rootfs and not args.command)
    if args.machine != "qemu" or not sys.stderr.isatty() or args.console or own:
        yield lambda text: None, _to_stderr
        return
    written = threading.Event()
    with progress_line(written) as told:

        def output(data: bytes) -> None:
            written.set()
            told("")
            _to_stderr(data)

        yield told, output


@contextmanager
def progress_line(over: threading.Event | None = None) -> Iterator[Callable[[str], None]]:
    """Who shows what the guest is doing? A line on a terminal, until `over`; none elsewhere."""
    if not sys.stderr.isatty():
        yield lambda text: None
        return
    from rich.console import Console
    from rich.markup import escape

    status = Console(stderr=True).status("starting", spinner="dots")

    def told(text: str) -> None:
        if over is not None and over.is_set():
            status.stop()
            return
        status.update(escape(printable(text)))  # steps are called as the guest likes
        status.start()  # not before: a download may have a line of its own

    try:
        yield told
    finally:
        status.stop()


def _to_stderr(data: bytes) -> None:
    """Write it as it is; but nothing of a guest speaks to a terminal."""
    sys.stderr.flush()
    sys.stderr.buffer.write(_shown_bytes(data) if sys.stderr.isatty() else data)
    sys.stderr.buffer.flush()


def _shown_bytes(data: bytes) -> bytes:
    """Which bytes show it on a terminal? Control characters but line ends and tabs are escaped."""
    return re.sub(
        rb"[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]",
        lambda found: b"".join(b"\\x%02x" % byte for byte in found[0]),
        data.replace(b"\r\n", b"\n"),
    )
