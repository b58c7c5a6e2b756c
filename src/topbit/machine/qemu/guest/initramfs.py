"""What does the guest find as its root file system when it boots?

A newc cpio archive (Linux Documentation/driver-api/early-userspace/buffer-format.rst) with a
static busybox, the kernel modules that the devices need, and an init script.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from topbit.errors import InputError
from topbit.store.modules import Module

MODULE_FOLDER = "topbit/modules"
FOLDERS = ("bin", "dev", "etc", "mnt", "proc", "run", "sbin", "sys", "tmp", "usr/bin")
NEWC_MAGIC = b"070701"


class Archive:
    """Which files does the archive hold? Added in order; folders above a file come by themselves.

    - Made empty; `file()`, `folder()`, `link()` and `device()` add an entry.
    - `pack()` gives the bytes that the kernel unpacks. Same entries, same bytes.
    """

    def __init__(self) -> None:
        self._entries: list[bytes] = []
        self._folders: set[str] = set()

    def folder(self, path: str, mode: int = 0o755) -> None:
        """Add a folder and those above it."""
        if path in self._folders or path in ("", "."):
            return
        self.folder(path.rpartition("/")[0])
        self._folders.add(path)
        self._add(path, stat.S_IFDIR | mode, b"")

    def file(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Add a regular file."""
        self.folder(path.rpartition("/")[0])
        self._add(path, stat.S_IFREG | mode, data)

    def link(self, path: str, target: str) -> None:
        """Add a symbolic link to `target`."""
        self.folder(path.rpartition("/")[0])
        self._add(path, stat.S_IFLNK | 0o777, target.encode())

    def device(self, path: str, major: int, minor: int, mode: int = 0o600) -> None:
        """Add a character device node."""
        self.folder(path.rpartition("/")[0])
        self._add(path, stat.S_IFCHR | mode, b"", rdev=(major, minor))

    def pack(self) -> bytes:
        """Which bytes does the kernel unpack? Padded to 512 bytes, as cpio does."""
        whole = b"".join([*self._entries, _entry(0, "TRAILER!!!", 0, b"", (0, 0), 1)])
        return _padded(whole, 512)

    def _add(self, path: str, mode: int, data: bytes, rdev: tuple[int, int] = (0, 0)) -> None:
        if path.startswith("/") or not path:
            raise ValueError(f"{path!r}: paths in the archive are relative to the root")
        links = 2 if stat.S_ISDIR(mode) else 1
        self._entries.append(_entry(len(self._entries) + 1, path, mode, data, rdev, links))


def build(
    busybox: Path,
    modules: Sequence[Module],
    init: str,
    files: Mapping[str, bytes] | None = None,
    added: Mapping[str, tuple[bytes, int]] | None = None,
) -> bytes:
    """Which archive boots busybox, loads `modules` in their order and runs the script `init`?

    Args:
        busybox: a static arm64 busybox.
        modules: what `init` loads: their names, one a line, are in topbit/modules/order.
        init: the text of /init.
        files: further files by path relative to the root; executable if below bin/ or topbit/.
        added: the user's files and their permissions by path relative to the root.

    Raises:
        InputError: `busybox` is missing or not an arm64 program.
    """
    archive = Archive()
    for folder in FOLDERS:
        archive.folder(folder)
    archive.device("dev/console", 5, 1)
    archive.device("dev/null", 1, 3, 0o666)
    archive.file("bin/busybox", program(busybox), 0o755)
    archive.link("bin/sh", "busybox")
    archive.file("init", init.encode(), 0o755)
    for module in modules:
        archive.file(f"{MODULE_FOLDER}/{module.name}.ko", module.data)
    archive.file(f"{MODULE_FOLDER}/order", "".join(f"{m.name}\n" for m in modules).encode())
    for path, data in (files or {}).items():
        executable = path.startswith(("bin/", "topbit/"))
        archive.file(path, data, 0o755 if executable else 0o644)
    for path, (data, mode) in (added or {}).items():
        archive.file(path, data, mode)
    return archive.pack()


def program(path: Path) -> bytes:
    """Which bytes has a static arm64 program?

    Raises:
        InputError: it is missing, or no arm64 program.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(path)) from error
    # ELF-64, little-endian, machine EM_AARCH64 (183)
    if data[:6] != b"\x7fELF\x02\x01" or data[18:20] != b"\xb7\0":
        raise InputError("is not an arm64 program", where=str(path))
    return data


def _entry(
    inode: int, name: str, mode: int, data: bytes, rdev: tuple[int, int], links: int
) -> bytes:
    path = name.encode() + b"\0"
    fields = (inode, mode, 0, 0, links, 0, len(data), 0, 0, *rdev, len(path), 0)
    header = NEWC_MAGIC + b"".join(b"%08x" % field for field in fields)
    return _padded(header + path, 4) + _padded(data, 4)


def _padded(data: bytes, size: int) -> bytes:
    return data + bytes(-len(data) % size)
