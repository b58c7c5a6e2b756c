"""Where is the static arm64 busybox that the guest's init is written for?"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from topbit.errors import MissingToolError
from topbit.store.apt import extract
from topbit.store.apt_program import Came
from topbit.store.cache import cache_dir, install_folder, locked
from topbit.store.download import Download, Fetched, Note, fetch_all, quiet, unseen
from topbit.store.kernels import arm64_apt

VARIABLE = "TOPBIT_BUSYBOX"
WHAT = "busybox for arm64"
INSTEAD = f"a static arm64 busybox of one's own is named by {VARIABLE}"


def named() -> str:
    """Which one does the user name? Empty for none."""
    return os.environ.get(VARIABLE, "")


def find() -> Path:
    """Where is it? Named by the user, or in the cache.

    Raises:
        MissingToolError: nowhere.
    """
    if own := named():
        if not Path(own).is_file():
            raise MissingToolError(f"{own} is not a file", where=VARIABLE)
        return Path(own)
    path = _home() / "busybox"
    if not path.is_file():
        raise MissingToolError(f"{WHAT} is missing", hint=INSTEAD)
    return path


def fetch(note: Note = quiet, fetched: Fetched = unseen) -> Path:
    """Where is it? Fetched if it is not there yet.

    Raises:
        MissingToolError, RunError: it is not there and cannot be fetched.
    """
    if not named() and not (_home() / "busybox").is_file():
        fetch_all([wanted()], note, fetched)
    return find()


def wanted() -> Download:
    """What would be fetched?

    Raises:
        MissingToolError: this machine has no apt or no Debian archive.
        RunError: the archive cannot be reached and was never asked before.
    """
    apt = arm64_apt()
    apt.update()
    package = apt.offers("busybox-static")[0]

    def get(came: Came) -> None:
        def fill(folder: Path) -> None:
            deb = apt.download(package, folder, came)
            extract([deb], folder / "root")
            next((folder / "root").glob("**/bin/busybox")).rename(folder / "busybox")
            shutil.rmtree(folder / "root")
            deb.unlink()

        with locked(cache_dir() / "apt/busybox"):
            install_folder(_home(), fill)

    return Download(WHAT, package.size, get)


def _home() -> Path:
    return cache_dir() / "busybox"
