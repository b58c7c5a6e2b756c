"""Where does topbit keep what it fetched, and how is it put there in one piece?

Everything lives under ``$XDG_CACHE_HOME/topbit`` (``~/.cache/topbit``) and may be deleted at any
time. A folder appears under its final name only when it is complete, so that a killed download
leaves nothing that looks finished; a lock file lets several processes ask for the same thing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from topbit.errors import RunError


def cache_dir() -> Path:
    """Which folder holds topbit's cache? (XDG Base Directory Specification)"""
    base = os.environ.get("XDG_CACHE_HOME", "")
    root = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
    return root / "topbit"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the one lock of `folder`; waits for another process that holds it.

    Raises:
        RunError: the folder cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = (folder / ".lock").open("w")
    except OSError as error:
        raise RunError(
            f"the cache cannot be written: {error.strerror}",
            where=str(folder),
            hint="set XDG_CACHE_HOME to a folder you may write",
        ) from error
    with handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def install_folder(target: Path, fill: Callable[[Path], None]) -> Path:
    """Which complete folder is at `target`? `fill` is called with an empty one to fill if none is.

    Call it under `locked()` of a folder above. What an earlier, killed attempt left is removed.

    Raises:
        RunError: the disk is full or the folder cannot be written.
    """
    if target.is_dir():
        return target
    partial = target.with_name(f".{target.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        fill(partial)
        partial.rename(target)
    except OSError as error:
        raise RunError(
            f"could not be written: {error.strerror or error}",
            where=str(target),
            hint="free some disk space, or set XDG_CACHE_HOME to a larger disk",
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target
