"""Which kernel source trees can be judged, and where are they?

Debian's packages linux-source-X.Y come from its archive through apt. Of each the few files that
are looked at stay in the cache, some hundred KB of a gigabyte.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import tarfile
from fnmatch import fnmatch
from pathlib import Path
from typing import IO, cast

from topbit.errors import InputError, RunError
from topbit.kernel_tree.tree import FILES
from topbit.store.apt import Package
from topbit.store.apt_program import Came
from topbit.store.cache import cache_dir, install_folder, locked
from topbit.store.download import Download, Fetched, Note, fetch_all, quiet, unseen
from topbit.store.kernels import arm64_apt, version_of

KEPT = (
    *FILES,
    "kernel/dma/*.[ch]",
    "include/linux/swiotlb.h",
    "arch/arm64/mm/init.c",
    "include/linux/genalloc.h",
    "lib/genalloc.c",
)
EDITION = Path(".kept-2")
"""A tree without this file was unpacked when `KEPT` was shorter: it is fetched again."""
NAME = re.compile(r"(?:linux-source-)?(\d+\.\d+)")


def is_series(name: str) -> bool:
    """Does `name` name a package of sources: "7.3" or "linux-source-7.3"?"""
    return NAME.fullmatch(name) is not None


def held(name: str) -> Path | None:
    """Where is the newest tree of a series in the cache? None: there is none that is whole."""
    series = _series(name)
    found = [path for path in _home().glob(f"{series}-*") if (path / EDITION).is_file()]
    return max(
        found, key=lambda path: version_of(path.name.removeprefix(f"{series}-")), default=None
    )


def fetch(name: str, note: Note = quiet, fetched: Fetched = unseen) -> Path:
    """Where is the newest tree of a series? Fetched if the cache has none.

    Raises:
        InputError: `name` is no series, or the archive has none of it.
        MissingToolError: this machine has no apt or no Debian archive.
        RunError: the archive cannot be reached.
    """
    if found := held(name):
        return found
    fetch_all([wanted(name)], note, fetched)
    found = held(name)
    assert found is not None
    return found


def wanted(name: str) -> Download:
    """What would be fetched?

    Raises:
        InputError, MissingToolError, RunError: as `fetch`.
    """
    series = _series(name)
    apt = arm64_apt()
    apt.update()
    packages = apt.offers("linux-source-[0-9]*")
    package = next((p for p in packages if p.name == f"linux-source-{series}"), None)
    if package is None:
        known = sorted({p.name for p in packages})
        raise InputError(
            f"Debian's archive offers no linux-source-{series}", hint=f"it has {', '.join(known)}"
        )

    def get(came: Came) -> None:
        def fill(folder: Path) -> None:
            deb = apt.download(package, folder, came)
            unpack(deb, folder, series)
            deb.unlink()
            shutil.rmtree(folder / ".download", ignore_errors=True)
            (folder / EDITION).touch()

        with locked(cache_dir() / "apt/sources"):
            target = _home() / f"{series}-{_upstream(package)}"
            if not (target / EDITION).is_file():
                shutil.rmtree(target, ignore_errors=True)
            install_folder(target, fill)

    return Download(f"the sources of Linux {_upstream(package)}", package.size, get)


def unpack(deb: Path, into: Path, series: str) -> None:
    """Unpack what is kept of a linux-source package: a .deb with a tar.xz of the tree in it.

    Raises:
        RunError: it is no such package.
    """
    command = ["dpkg-deb", "--fsys-tarfile", str(deb)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            _unpack(cast("IO[bytes]", process.stdout), into)
        except (tarfile.TarError, OSError) as error:
            raise RunError(f"cannot be unpacked: {error}", where=str(deb)) from error
        finally:
            with contextlib.suppress(OSError):
                process.kill()
    if not (into / "Makefile").is_file():
        raise RunError(f"does not hold the sources of Linux {series}", where=str(deb))


def _unpack(stream: IO[bytes], into: Path) -> None:
    with tarfile.open(fileobj=stream, mode="r|") as outer:
        for package in outer:
            if not package.name.endswith(".tar.xz"):
                continue
            with tarfile.open(fileobj=outer.extractfile(package), mode="r|xz") as inner:
                for member in inner:
                    name = member.name.partition("/")[2]
                    if member.isfile() and any(fnmatch(name, kept) for kept in KEPT):
                        content = inner.extractfile(member)
                        assert content is not None
                        place = into / name
                        place.parent.mkdir(parents=True, exist_ok=True)
                        place.write_bytes(content.read())
            return


def _series(name: str) -> str:
    match = NAME.fullmatch(name)
    if match is None:
        raise InputError(f"{name!r} is no series of kernels", hint='write "7.3"')
    return match[1]


def _upstream(package: Package) -> str:
    return package.version.partition("-")[0]


def _home() -> Path:
    return cache_dir() / "sources"
