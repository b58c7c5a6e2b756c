"""How does a debugger attach to the Realm?

QEMU's own stub sees the guest's registers and, through the Realm's stage 1 and 2, its memory. The
machine is started stopped: the guest runs when gdb says `continue`.
"""

from __future__ import annotations

import shlex
import socket
from pathlib import Path

STOPPED_AT_START = "-S"
NO_KASLR = "nokaslr"  # word of the kernel's command line: symbols stand where they were linked


def free_port() -> int:
    """Which local TCP port is free? QEMU takes it a moment later."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def options(port: int) -> list[str]:
    """Which options of QEMU let a debugger attach at 127.0.0.1:`port`, and wait for it?"""
    return ["-gdb", f"tcp:127.0.0.1:{port}", STOPPED_AT_START]


def command(port: int, symbols: Path | None = None, gdb: str = "gdb-multiarch") -> str:
    """Which one command attaches to the guest?

    Args:
        port: as given to `options`.
        symbols: the kernel's vmlinux; without it there are addresses only.
        gdb: the debugger.
    """
    words = [gdb]
    if symbols is not None:
        words.append(str(symbols))
    words += ["-ex", "set architecture aarch64", "-ex", f"target remote 127.0.0.1:{port}"]
    if symbols is not None:
        # Hardware breakpoint: the kernel is not there yet when gdb attaches.
        words += ["-ex", "hbreak start_kernel"]
    return shlex.join(words)
