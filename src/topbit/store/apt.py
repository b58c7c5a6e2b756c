"""How does topbit ask Debian's archive for a package, without root and with signatures checked?

apt itself does the work, in a folder of its own: sources, indices, downloads and locks lie in
topbit's cache, the machine's apt is read and never changed. What reaches the archive (mirror,
proxy, certificates, credentials) comes from the machine's configuration. Packages are unpacked
with ``dpkg-deb --extract``: no maintainer script runs.
"""

from __future__ import annotations

import fnmatch
import os
import platform
import re
import shutil
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from topbit.errors import MissingToolError, RunError
from topbit.store.cache import locked

KEYRINGS = (
    Path("/usr/share/keyrings/debian-archive-keyring.gpg"),
    Path("/usr/share/keyrings/debian-archive-keyring.pgp"),
)
INDEX_AGE = 24 * 3600.0  # seconds after which "the newest" is asked for again
NO_STATUS = Path("/dev/null")  # nothing is installed: for packages of another architecture


@dataclass(frozen=True, slots=True)
class Source:
    """Which suite of which archive? `uri` and `suite` as in sources.list(5), component main."""

    uri: str
    suite: str


@dataclass(frozen=True, slots=True)
class Package:
    """Which package does an index offer? Fields as in the Packages file; `size` in bytes."""

    name: str
    version: str
    size: int
    depends: str


def machine_sources() -> list[Source]:
    """From which archives does this machine install? Every source's main component, in order.

    apt reads its own sources (one-line and deb822 form alike): ``apt-get indextargets``.

    Raises:
        MissingToolError: this is not a machine with apt.
    """
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise MissingToolError("apt is not installed", hint="topbit fetches on Debian only")
    lines = _run(
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


class AptRoot:
    """What do these archives offer, and where does a package's file come from?

    - Made with a folder, an architecture and sources: writes nothing yet.
    - `update()` fetches the signed indices, at most once a day unless `force`d.
    - `offers()` lists packages; `download()` fetches one; `missing()` fetches what an
      installation on this machine (`status`) would need.

    Args:
        folder: apt's own tree (sources, indices, downloads).
        architecture: dpkg's name of the packages' architecture, such as ``arm64``.
        sources: where to look.
        status: dpkg's status file that dependencies are held against.
    """

    def __init__(
        self,
        folder: Path,
        architecture: str,
        sources: Sequence[Source],
        status: Path = NO_STATUS,
    ) -> None:
        self.folder = folder
        self.architecture = architecture
        self.sources = sources
        self.status = status

    def update(self, *, force: bool = False) -> None:
        """Fetch the indices if they are missing, of other sources, or older than a day.

        Raises:
            RunError: there is no index, old or new. A failed refresh of an existing one is no
                error: what is known stays usable without a network.
        """
        with locked(self.folder):
            stamp = self.folder / "updated"
            wanted = self._configure()
            known = stamp.is_file() and stamp.read_text() == wanted
            if known and not force and time.time() - stamp.stat().st_mtime < INDEX_AGE:
                return
            try:
                self._apt("apt-get", "-qq", "update", "-o", "APT::Update::Error-Mode=any")
            except RunError:
                if not known or force:
                    raise
                return
            stamp.write_text(wanted)

    def offers(self, *patterns: str) -> list[Package]:
        """Which packages match one of the shell patterns? By name, each one's newest first."""
        names = self._apt("apt-cache", "pkgnames").split()
        chosen = sorted(name for pattern in patterns for name in fnmatch.filter(names, pattern))
        if not chosen:
            return []
        text = self._apt("apt-cache", "show", *chosen)
        return [_package(stanza) for stanza in text.split("\n\n") if stanza.strip()]

    def download(self, package: Package, into: Path) -> Path:
        """Which .deb file in `into` is this package? Fetched, its hash checked by apt.

        Raises:
            RunError: the archive does not have it (any more), or cannot be reached.
        """
        scratch = into / ".download"
        scratch.mkdir(parents=True, exist_ok=True)
        self._apt("apt-get", "-qq", "download", f"{package.name}={package.version}", cwd=scratch)
        (deb,) = scratch.glob("*.deb")
        return deb.rename(into / deb.name)

    def missing(self, package: str, suite: str | None = None) -> list[Path]:
        """Which .deb files does installing `package` need beyond what the machine has?

        Fetched into this root; none if the package is installed already. `suite` is preferred
        where several offer a package (apt-get's ``--target-release``).

        Raises:
            RunError: apt finds no solution, or the archive cannot be reached.
        """
        install = ["-y", "--no-install-recommends", "install", package]
        if suite:
            install += ["--target-release", suite]
        empty = self.folder / "empty"
        (empty / "partial").mkdir(parents=True, exist_ok=True)
        plan = self._apt(
            "apt-get", "-q", "--print-uris", "-o", f"Dir::Cache::archives={empty}", *install
        )
        self._apt("apt-get", "-q", "--download-only", *install)
        found = re.findall(r"^'([^']+)' (\S+) \d+ ", plan, re.MULTILINE)
        return [self._fetched(uri, name) for uri, name in found]

    def forget_downloads(self) -> None:
        """Delete what `missing()` fetched."""
        for deb in (self.folder / "cache/archives").glob("*.deb"):
            deb.unlink(missing_ok=True)

    def _fetched(self, uri: str, name: str) -> Path:
        # apt uses the files of a mirror on this machine where they lie.
        if uri.startswith("file:"):
            return Path(unquote(urlsplit(uri).path))
        return self.folder / "cache/archives" / name

    def _configure(self) -> str:
        """Write apt's configuration and sources; returns their text."""
        keyring = next((k for k in KEYRINGS if k.exists()), None)
        if keyring is None:
            raise MissingToolError(
                "Debian's archive keys are not installed",
                hint="apt-get install debian-archive-keyring",
            )
        for name in (
            *("etc/apt/sources.list.d", "etc/apt/apt.conf.d", "etc/apt/preferences.d"),
            *("state/lists/partial", "cache/archives/partial", "log"),
        ):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        sources = "\n".join(
            f"Types: deb\nURIs: {s.uri}\nSuites: {s.suite}\nComponents: main\n"
            f"Architectures: {self.architecture}\nSigned-By: {keyring}\n"
            for s in self.sources
        )
        (self.folder / "etc/apt/sources.list.d/topbit.sources").write_text(sources)
        config = [
            f'Dir "{self.folder}";',
            'Dir::Etc "etc/apt";',
            'Dir::Etc::sourcelist "none.list";',
            'Dir::Etc::netrc "/etc/apt/auth.conf";',
            'Dir::Etc::netrcparts "/etc/apt/auth.conf.d";',
            'Dir::State "state";',
            f'Dir::State::status "{self.status}";',
            'Dir::Cache "cache";',
            'Dir::Log "log";',
            f'APT::Architecture "{self.architecture}";',
            f'APT::Architectures "{self.architecture}";',
            'APT::Sandbox::User "";',
            'Acquire::Languages "none";',
            'Acquire::Retries "3";',
            'Debug::NoLocking "1";',
        ]
        (self.folder / "apt.conf").write_text("\n".join([*config, *_machine_transport()]) + "\n")
        return sources

    def _apt(self, *command: str, cwd: Path | None = None) -> str:
        return _run(command, cwd=cwd, config=self.folder / "apt.conf")


def extract(debs: Iterable[Path], into: Path) -> None:
    """Unpack the packages' files below `into`; nothing of them is run."""
    for deb in debs:
        _run(["dpkg-deb", "--extract", str(deb), str(into)])


def _machine_transport() -> list[str]:
    """Which lines of the machine's apt configuration say how to reach an archive?"""
    lines = _run(["apt-config", "dump", "--format", '%F "%v";%n', "Acquire"]).splitlines()
    skipped = ("Acquire::IndexTargets", "Acquire::Languages", "Acquire::AllowInsecure")
    return [
        line
        for line in lines
        if line.startswith("Acquire::") and not line.startswith(skipped) and '""' not in line
    ]


def os_release() -> dict[str, str]:
    """Which distribution is this machine? os-release(5) as a dict; empty if there is none."""
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}


def _package(stanza: str) -> Package:
    fields = dict(
        line.split(": ", 1) for line in stanza.splitlines() if ": " in line and line[0] != " "
    )
    return Package(
        fields["Package"], fields["Version"], int(fields["Size"]), fields.get("Depends", "")
    )


def _run(command: Sequence[str], *, cwd: Path | None = None, config: Path | None = None) -> str:
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    if config is not None:
        environment["APT_CONFIG"] = str(config)
    try:
        done = subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, text=True, check=True
        )
    except FileNotFoundError as error:
        raise MissingToolError(f"{command[0]} is not installed") from error
    except subprocess.CalledProcessError as error:
        text = error.stderr.strip() or error.stdout.strip()
        reasons = [line for line in text.splitlines() if line.startswith("E: ")] or [text]
        _, unmet, why = error.stdout.partition("have unmet dependencies:")
        raise RunError(
            f"{command[0]} failed: {'; '.join(reasons)[:600]}" + (f" {unmet}{why}".rstrip()),
            where=command[-1],
            hint="see whether this machine's own apt-get update works",
        ) from error
    return done.stdout
