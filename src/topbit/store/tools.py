"""Which host programs does the QEMU machine need, and how does a Debian machine get them?

What the machine lacks is fetched into topbit's cache (`topbit tool fetch`): no root, nothing
installed, signatures checked, and no network the next time. A program that is on PATH and good
enough is used as it is; ``TOPBIT_QEMU=/path`` (``TOPBIT_DTC``, ...) names one's own.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from topbit.errors import MissingToolError, this_program
from topbit.store.apt import AptRoot, extract
from topbit.store.apt_program import Came
from topbit.store.cache import cache_dir, install_folder, locked
from topbit.store.debian import Source, debian_mirror, machine_sources, os_release
from topbit.store.download import Download, Fetched, Note, fetch_all, quiet, unseen

OLDEST_QEMU = (9, 1)  # the first `virt` machine with a second non-secure UART, the doorbell
DPKG_STATUS = Path("/var/lib/dpkg/status")


@dataclass(frozen=True, slots=True)
class Tool:
    """Which program is it, and which Debian package holds it?

    Attributes:
        program: its name on PATH.
        package: the Debian package.
        minimum: oldest version that serves; (0,) if any does.
        backports: Debian releases whose own version is too old, but not their backports.
        also: programs of the same package that are wanted beside it.
        suites: another Debian's suites, the preferred one last: it is fetched from there with all
            its libraries, the C library included. Empty: from this machine's own.
    """

    program: str
    package: str
    minimum: tuple[int, ...] = (0,)
    backports: frozenset[str] = frozenset()
    also: tuple[str, ...] = ()
    suites: tuple[str, ...] = ()

    @property
    def described(self) -> str:
        """How is the need said to a user?"""
        oldest = ".".join(map(str, self.minimum))
        return self.program + (f" {oldest} or newer" if any(self.minimum) else "")


TOOLS = {
    "qemu": Tool("qemu-system-aarch64", "qemu-system-arm", OLDEST_QEMU, frozenset({"bookworm"})),
    # What the tests are run with besides: name it by TOPBIT_QEMU.
    "newest-qemu": Tool(
        *("qemu-system-aarch64", "qemu-system-arm", (11, 1)),
        suites=("trixie", "trixie-backports"),
    ),
    "binutils": Tool(
        "aarch64-linux-gnu-as",
        "binutils-aarch64-linux-gnu",
        also=("aarch64-linux-gnu-ld", "aarch64-linux-gnu-objcopy"),
    ),
    "dtc": Tool("dtc", "device-tree-compiler"),
    "trace-cmd": Tool("trace-cmd", "trace-cmd"),
    "gdb": Tool("gdb-multiarch", "gdb-multiarch"),
    "cpio": Tool("cpio", "cpio"),
}


_SAID: dict[tuple[str, int, int, int, int], tuple[int, ...]] = {}
"""Which version each program said it is, by its file: a program takes a while to start."""
_ASKING = threading.Lock()


def named(name: str) -> str:
    """Which program does the user name for this tool (a key of `TOOLS`)? Empty for none."""
    return os.environ.get(_variable(name), "")


def find(name: str) -> Path:
    """Where is this tool (a key of `TOOLS`)? Named by the user, on PATH, or in the cache.

    Raises:
        MissingToolError: nowhere, or only one that is too old.
    """
    tool = TOOLS[name]
    if own := named(name):
        version = _version(own)
        if version is None or version < tool.minimum:
            raise MissingToolError(
                f"{own} is not a working {tool.described}", where=_variable(name), hint=_hint(name)
            )
        return Path(own)
    seen = ""
    for path in (shutil.which(tool.program), _wrapper(name)):
        version = _version(path) if path else None
        if path and version is not None:
            if version >= tool.minimum:
                return Path(path)
            seen = f" (found {'.'.join(map(str, version))}: {path})"
    raise MissingToolError(f"{tool.described} is missing{seen}", hint=_hint(name))


def look_ahead(name: str) -> threading.Thread:
    """Who begins to look for this tool, so that `find` is answered sooner? A thread."""

    def look() -> None:
        with contextlib.suppress(MissingToolError):  # who asks for it is told
            find(name)

    thread = threading.Thread(target=look, name="topbit-tools", daemon=True)
    thread.start()
    return thread


def fetch(
    name: str, note: Note = quiet, fetched: Fetched = unseen, status: Path = DPKG_STATUS
) -> Path:
    """Where is this tool? Fetched from Debian's archive if the machine lacks it.

    Args:
        name: a key of `TOOLS`.
        note: is told what is being done, one line at a time.
        fetched: is told how far that is.
        status: dpkg's list of what the machine has.

    Raises:
        MissingToolError: it is missing and this is not a Debian machine.
        RunError: the archive cannot be reached, or what came from it does not run.
    """
    with contextlib.suppress(MissingToolError):
        return find(name)
    fetch_all([wanted(name, status)], note, fetched)
    return find(name)


def wanted(name: str, status: Path = DPKG_STATUS) -> Download:
    """What would be fetched from Debian's archive for this tool?

    Raises:
        MissingToolError: this is not a Debian machine.
        RunError: the archive cannot be reached and was never asked before.
    """
    tool, home = TOOLS[name], _home(name)
    if not _on_debian() or not shutil.which("apt-get"):
        raise MissingToolError(f"{tool.described} is missing", hint=instead(name))
    release = os_release().get("VERSION_CODENAME", "")
    suite = f"{release}-backports" if release in tool.backports else None
    apt = host_apt(status)
    if tool.suites:
        suite, apt = tool.suites[-1], whole_apt(tool.suites)
    with locked(cache_dir() / "tools"):
        apt.update()
        needed = apt.missing(tool.package, suite)

    def get(came: Came) -> None:
        with locked(cache_dir() / "tools"):
            with contextlib.suppress(MissingToolError):
                find(name)
                return  # another process has fetched it meanwhile
            shutil.rmtree(home, ignore_errors=True)  # there, but not running: fetch it again
            debs = apt.fetch(needed, came)

            def fill(folder: Path) -> None:
                extract(debs, folder / "root")
                for program in (tool.program, *tool.also):
                    _write_wrapper(folder / program, folder / "root", home / "root", program)

            install_folder(home, fill)
            apt.forget_downloads()

    return Download(tool.package, needed.size, get)


def host_apt(status: Path = DPKG_STATUS) -> AptRoot:
    """What does Debian offer for this machine, over what it has installed?"""
    release = os_release().get("VERSION_CODENAME", "")
    mirror = debian_mirror()
    # Third parties' sources are left out: their keys are theirs, and none has what is needed.
    own = [s for s in machine_sources() if s.suite.split("-")[0].split("/")[0] == release]
    debian = [s for s in own if "debian" in s.uri.rstrip("/").rsplit("/", 1)[-1]]
    sources = dict.fromkeys([Source(mirror, release), *debian])
    if any(release in tool.backports for tool in TOOLS.values()):
        sources[Source(mirror, f"{release}-backports")] = None
    return AptRoot(cache_dir() / "apt/host", _architecture(), list(sources), status)


def whole_apt(suites: Sequence[str]) -> AptRoot:
    """What do these suites of Debian offer for this machine's processor, over nothing at all?"""
    mirror = debian_mirror()
    folder = cache_dir() / "apt" / suites[-1]
    return AptRoot(folder, _architecture(), [Source(mirror, suite) for suite in suites])


def _architecture() -> str:
    done = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True)
    return done.stdout.strip()


def _home(name: str) -> Path:
    return cache_dir() / "tools" / name


def _wrapper(name: str) -> str | None:
    home, tool = _home(name), TOOLS[name]
    whole = all((home / program).is_file() for program in (tool.program, *tool.also))
    return str(home / tool.program) if whole else None


def _write_wrapper(script: Path, unpacked: Path, root: Path, program: str) -> None:
    """Write the script that runs `program` with its libraries: now `unpacked`, soon at `root`."""
    folders = sorted(
        {library.parent.relative_to(unpacked) for library in unpacked.glob("usr/lib/*/*.so*")}
        | {library.parent.relative_to(unpacked) for library in unpacked.glob("lib/*/*.so*")}
    )
    search = ":".join(f"{root}/{folder}" for folder in folders)
    # Debian 12 still has packages that put their programs into /bin.
    bin_ = "usr/bin" if (unpacked / "usr/bin" / program).exists() else "bin"
    data = f' -L "{root}/usr/share/qemu"' if program.startswith("qemu-system-") else ""
    command = f'"{root}/{bin_}/{program}"{data} "$@"\n'
    if loader := next(unpacked.glob("usr/lib/*/ld-linux*.so.*"), None):
        # Only the loader that came with a C library can load that one.
        own = f'"{root}/{loader.relative_to(unpacked)}" --library-path "{search}"'
        script.write_text(f"#!/bin/sh\nexec {own} {command}")
    else:
        script.write_text(
            "#!/bin/sh\n"
            f'export LD_LIBRARY_PATH="{search}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"\n'
            f"exec {command}"
        )
    script.chmod(0o755)


def _version(path: str) -> tuple[int, ...] | None:
    """Which version does the program say it is? None if it does not run."""
    try:
        file = os.stat(shutil.which(path) or path)
    except OSError:
        return None
    identity = (path, file.st_dev, file.st_ino, file.st_mtime_ns, file.st_size)
    with _ASKING:
        version = _SAID.get(identity) or _said(path)
        if version is not None:
            _SAID[identity] = version
    return version


def _said(path: str) -> tuple[int, ...] | None:
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    number = re.search(r"(\d+(?:\.\d+)+)", done.stdout + done.stderr)
    if done.returncode != 0 and number is None:
        return None
    return tuple(map(int, number[1].split("."))) if number else (0,)


def _hint(name: str) -> str:
    return f"{this_program()} tool fetch {name}" if _on_debian() else instead(name)


def instead(name: str) -> str:
    """What can be done where it is not fetched from Debian's archive?"""
    tool = TOOLS[name]
    return (
        f"install {tool.described} (Debian's package: {tool.package}) "
        f"and put it on PATH, or name it by {_variable(name)}"
    )


def _variable(name: str) -> str:
    return "TOPBIT_" + name.upper().replace("-", "_")


def _on_debian() -> bool:
    return os_release().get("ID") == "debian"
