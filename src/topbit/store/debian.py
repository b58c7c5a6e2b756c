"""Which Debian is this machine, and where does it install from?"""

from __future__ import annotations

import platform
import shutil
from dataclasses import dataclass

from topbit.errors import MissingToolError
from topbit.store.apt_program import run


@dataclass(frozen=True, slots=True)
class Source:
    """Which suite of which archive? `uri` and `suite` as in sources.list(5), component main."""

    uri: str
    suite: str


def machine_sources() -> list[Source]:
    """From which archives does this machine install? Every source's main component, in order.

    apt reads its own sources (one-line and deb822 form alike): ``apt-get indextargets``.

    Raises:
        MissingToolError: this is not a machine with apt.
    """
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise MissingToolError("apt is not installed", hint="topbit fetches on Debian only")
    lines = run(
        [
            *("apt-get", "indextargets", "--no-release-info", "--format"),
            *("$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"),
        ]
    )
    found = [tuple(line.split(" ")) for line in lines.splitlines()]
    return list(dict.fromkeys(Source(t[0], t[1]) for t in found if len(t) == 3 and t[2] == "main"))


def debian_mirror() -> str:
    """Where does this machine get Debian itself from (not security, not third parties)?

    Raises:
        MissingToolError: no source of this machine looks like Debian's archive.
    """
    suites = {"stable", "oldstable", "testing", "unstable", "sid"}
    suites.add(os_release().get("VERSION_CODENAME", ""))
    for source in machine_sources():
        folder = source.uri.rstrip("/").rsplit("/", 1)[-1]
        if source.suite in suites and folder.startswith("debian") and "security" not in folder:
            return source.uri
    raise MissingToolError(
        "this machine's apt has no source of Debian's own archive",
        where="/etc/apt",
        hint="add a Debian mirror whose address ends in /debian to /etc/apt/sources.list.d",
    )


def os_release() -> dict[str, str]:
    """Which distribution is this machine? os-release(5) as a dict; empty if there is none."""
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}
