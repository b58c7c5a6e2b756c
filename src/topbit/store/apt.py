"""How does topbit ask Debian's archive for a package, without root and with signatures checked?

apt itself does the work, in a folder of its own: sources, indices, downloads and locks lie in
topbit's cache, the machine's apt is read and never changed. What reaches the archive (mirror,
proxy, certificates, credentials) comes from the machine's configuration. Packages are unpacked
with ``dpkg-deb --extract``: no maintainer script runs.
"""

from __future__ import annotations

import fnmatch
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from topbit.errors import MissingToolError, RunError
from topbit.store.apt_program import Came, followed, ignore, run
from topbit.store.cache import locked
from topbit.store.debian import Source

KEYRINGS = (
    Path("/usr/share/keyrings/debian-archive-keyring.gpg"),
    Path("/usr/share/keyrings/debian-archive-keyring.pgp"),
)
INDEX_AGE = 24 * 3600.0  # seconds after which "the newest" is asked for again
# A mirror that does not answer is told at once: apt's own patience is three tries of 30 s each.
IMPATIENT = ("Acquire::Retries=0", "Acquire::http::Timeout=5", "Acquire::https::Timeout=5")
NO_STATUS = Path("/dev/null")  # nothing is installed: for packages of another architecture


@dataclass(frozen=True, slots=True)
class Package:
    """Which package does an index offer? Fields as in the Packages file; `size` in bytes."""

    name: str
    version: str
    size: int
    depends: str


@dataclass(frozen=True, slots=True)
class Installation:
    """Which packages does an installation need beyond what the machine has?

    Attributes:
        install: the words of ``apt-get`` that ask for it.
        files: where each package's file is fetched from, its name, and its size in bytes.
    """

    install: tuple[str, ...]
    files: tuple[tuple[str, str, int], ...]

    @property
    def size(self) -> int:
        """How many bytes are to be downloaded?"""
        return sum(size for _, _, size in self.files)


class AptRoot:
    """What do these archives offer, and where does a package's file come from?

    - Made with a folder, an architecture and sources: writes nothing yet.
    - `update()` fetches the signed indices, at most once a day unless `force`d.
    - `offers()` lists packages; `download()` fetches one; `missing()` tells what an installation
      on this machine (`status`) would need, `fetch()` fetches that.

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
                options = ("APT::Update::Error-Mode=any", *IMPATIENT)
                self._apt("apt-get", "-qq", *(f"-o{option}" for option in options), "update")
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

    def download(self, package: Package, into: Path, came: Came = ignore) -> Path:
        """Which .deb file in `into` is this package? Fetched, its hash checked by apt.

        Raises:
            RunError: the archive does not have it (any more), or cannot be reached.
        """
        scratch = into / ".download"
        scratch.mkdir(parents=True, exist_ok=True)
        with followed(package.size, came) as (option, ends):
            wanted = f"{package.name}={package.version}"
            self._apt("apt-get", "-qq", option, "download", wanted, cwd=scratch, ends=ends)
        (deb,) = scratch.glob("*.deb")
        fetched = deb.rename(into / deb.name)
        scratch.rmdir()
        return fetched

    def missing(self, package: str, suite: str | None = None) -> Installation:
        """Which .deb files does installing `package` need beyond what the machine has?

        No file if the package is installed already. `suite` is preferred where several offer a
        package (apt-get's ``--target-release``).

        Raises:
            RunError: apt finds no solution.
        """
        install = ["-y", "--no-install-recommends", "install", package]
        if suite:
            install += ["--target-release", suite]
        empty = self.folder / "empty"
        (empty / "partial").mkdir(parents=True, exist_ok=True)
        plan = self._apt(
            "apt-get", "-q", "--print-uris", "-o", f"Dir::Cache::archives={empty}", *install
        )
        found = re.findall(r"^'([^']+)' (\S+) (\d+) ", plan, re.MULTILINE)
        files = tuple((uri, name, int(size)) for uri, name, size in found)
        return Installation(tuple(install), files)

    def fetch(self, wanted: Installation, came: Came = ignore) -> list[Path]:
        """Which .deb files are these? Fetched into this root, their hashes checked by apt.

        Raises:
            RunError: the archive cannot be reached.
        """
        with followed(wanted.size, came) as (option, ends):
            self._apt("apt-get", "-q", option, "--download-only", *wanted.install, ends=ends)
        return [self._fetched(uri, name) for uri, name, _ in wanted.files]

    def forget_downloads(self) -> None:
        """Delete what `fetch()` fetched."""
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

    def _apt(self, *command: str, cwd: Path | None = None, ends: Sequence[int] = ()) -> str:
        return run(command, cwd=cwd, config=self.folder / "apt.conf", ends=ends)


def extract(debs: Iterable[Path], into: Path) -> None:
    """Unpack the packages' files below `into`; nothing of them is run."""
    for deb in debs:
        run(["dpkg-deb", "--extract", str(deb), str(into)])


def _machine_transport() -> list[str]:
    """Which lines of the machine's apt configuration say how to reach an archive?"""
    lines = run(["apt-config", "dump", "--format", '%F "%v";%n', "Acquire"]).splitlines()
    skipped = ("Acquire::IndexTargets", "Acquire::Languages", "Acquire::AllowInsecure")
    return [
        line
        for line in lines
        if line.startswith("Acquire::") and not line.startswith(skipped) and '""' not in line
    ]


def _package(stanza: str) -> Package:
    fields = dict(
        line.split(": ", 1) for line in stanza.splitlines() if ": " in line and line[0] != " "
    )
    return Package(
        fields["Package"], fields["Version"], int(fields["Size"]), fields.get("Depends", "")
    )
