"""How may the QEMU machine be set up for one run?"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeAlias, TypedDict

from topbit.errors import UsageError

StrPath: TypeAlias = str | os.PathLike[str]

KERNEL = "6.18"
"""Which series of Debian's kernels boots if nobody and no scenario names one."""
TIMEOUT = 300
"""Seconds after which a run is ended if nobody says otherwise."""


class QemuOptions(TypedDict, total=False):
    """Which kernel boots on which CPUs, with what besides, and for how long?

    Any of them may be left out.

    Attributes:
        kernel: a series of Debian's kernels ("7.3"), a release, or the path of an Image; else
            `KERNEL`, or what the scenario is about.
        modules: folder with the modules of one's own Image.
        flavour: which of Debian's builds, "cloud" (usual), "full", "rt" or "16k".
        append: more words for the kernel's command line.
        cpus: number of vCPUs; usually 1.
        cpu: QEMU's name of their model; else "neoverse-n2", or "max" above 48 IPA bits.
        command: shell command that runs in the guest after the scenario's work.
        add: files and folders put into the guest, "FILE" or "FILE:PATH".
        get: files and folders of the guest that come out when the command has ended, "PATH" or
            "PATH:FILE".
        initrd: initramfs of one's own: its init is all that runs.
        rootfs: disk image, raw or qcow2, whose system boots; with `command` that runs in it.
        rootfs_write: keep what the guest changes on it.
        timeout: seconds after which the run is ended, from QEMU's start; None: never. Usually
            `TIMEOUT`, or never with a shell on the terminal or a debugger.
        console: show the guest's console on stderr; where stdin is a terminal, with a shell after
            the work.
        log: file that gets the guest's console.
        gdb: wait for a debugger, and say the command that attaches it: True, or the path of the
            kernel's vmlinux.
    """

    kernel: StrPath
    modules: StrPath
    flavour: str
    append: str
    cpus: int
    cpu: str
    command: str
    add: Sequence[str]
    get: Sequence[str]
    initrd: StrPath
    rootfs: StrPath
    rootfs_write: bool
    timeout: float | None
    console: bool
    log: StrPath
    gdb: bool | StrPath


def require_known(options: QemuOptions) -> None:
    """Is each of these an option?

    Raises:
        TypeError: one is not, as for any keyword argument that a function does not have.
    """
    for option in options:
        if option not in QemuOptions.__optional_keys__:
            raise TypeError(f"run() got an unexpected keyword argument {option!r}")


def refuse(options: QemuOptions) -> None:
    """Was an option given to a machine that has none?

    Raises:
        UsageError: it was.
    """
    for option in options:
        flag = "--run" if option == "command" else f"--{option.replace('_', '-')}"
        raise UsageError("the model machine has no such thing", where=flag, hint="--machine qemu")
