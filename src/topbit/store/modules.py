"""Which module files does a kernel need for a driver, and in which order are they loaded?

The dependencies are read out of the modules themselves (``depends=`` in .modinfo), so that a tree
that depmod has never seen (an unpacked package, a fresh ``make modules_install``) serves as well.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from topbit.arch import elf
from topbit.errors import InputError, nearest
from topbit.store.image import unpack

MODULES_BUILTIN = "modules.builtin"
OPTIONS = {
    "arm_cca_guest": "ARM_CCA_GUEST",
    "e1000e": "E1000E",
    "ext4": "EXT4_FS",
    "nvme": "BLK_DEV_NVME",
    "squashfs": "SQUASHFS",
    "tsm_report": "TSM_REPORTS",
    "virtio_blk": "VIRTIO_BLK",
    "virtio_mmio": "VIRTIO_MMIO",
    "virtio_net": "VIRTIO_NET",
    "virtio_pci": "VIRTIO_PCI",
    "virtio_rng": "HW_RANDOM_VIRTIO",
}
"""Which option of the kernel's configuration makes each driver that the guest may need?"""
SUFFIXES = (".ko", ".ko.xz", ".ko.zst", ".ko.gz")


@dataclass(frozen=True, slots=True)
class Module:
    """Which module is it: its kernel name (``virtio_blk``) and its plain ELF file's bytes?"""

    name: str
    data: bytes


class ModuleTree:
    """What modules has a kernel? Made with its ``lib/modules/RELEASE`` folder, or its build's.

    - Files are found once; each is unpacked only when it is asked for.
    - `closure()` answers what must be loaded for a driver, dependencies first.

    Args:
        folder: the folder.
        configuration: options of the kernel's configuration that are y, where `folder` does not
            tell what is built in.
        added: further modules' files, which come before the folder's own of the same names; what
            is no module's by its name is passed over.
    """

    def __init__(
        self,
        folder: Path,
        configuration: frozenset[str] = frozenset(),
        added: Sequence[Path] = (),
    ) -> None:
        self.folder = folder
        self._configuration = configuration
        self._added = added

    def adding(self, files: Sequence[Path]) -> ModuleTree:
        """Which tree has these modules besides?"""
        return ModuleTree(self.folder, self._configuration, [*self._added, *files])

    @cached_property
    def files(self) -> dict[str, str]:
        """Which file holds which module? By kernel name."""
        added = (path for path in map(str, self._added) if path.endswith(SUFFIXES))
        return {_name_of(path): path for path in [*_modules_below(self.folder), *added]}

    @property
    def lists_builtin(self) -> bool:
        """Does the folder tell which modules are part of the kernel?"""
        return (self.folder / MODULES_BUILTIN).is_file()

    @cached_property
    def builtin(self) -> frozenset[str]:
        """Which modules are part of the kernel itself? (modules.builtin, or the configuration)"""
        if not self.lists_builtin:
            return frozenset(n for n, option in OPTIONS.items() if option in self._configuration)
        try:
            lines = (self.folder / MODULES_BUILTIN).read_text().split()
        except OSError as error:
            where = str(self.folder / MODULES_BUILTIN)
            raise InputError(f"cannot be read: {error.strerror}", where=where) from error
        return frozenset(_name_of(line) for line in lines)

    def closure(self, names: Iterable[str]) -> list[Module]:
        """Which modules must be loaded, in this order, for the drivers `names`?

        Drivers that are built in need none.

        Raises:
            InputError: the kernel has no such driver, or a file is not a module.
        """
        ordered: dict[str, Module] = {}

        def add(name: str, wanted_by: str, chain: tuple[str, ...]) -> None:
            if name in ordered or name in self.builtin or name in chain:
                return
            path = self.files.get(name)
            if path is None:
                raise InputError(
                    f"this kernel has no module {name}" + wanted_by,
                    where=str(self.folder),
                    hint=nearest(name, self.files) if self.files else "it has no modules at all",
                )
            data = unpack(Path(path).read_bytes(), path)
            for dependency in modinfo(data, path).get("depends", "").split(","):
                if dependency:
                    add(kernel_name(dependency), f" (wanted by {name})", (*chain, name))
            ordered[name] = Module(name, data)

        for name in names:
            add(kernel_name(name), "", ())
        return list(ordered.values())

    def has(self, name: str) -> bool:
        """Has this kernel the driver `name`, as a module or built in?"""
        return kernel_name(name) in self.files or kernel_name(name) in self.builtin


def _modules_below(folder: Path) -> list[str]:
    """Which files below a folder are modules? None below one that cannot be read.

    A kernel has some thousand, of few of which the path is asked for: no Path objects.
    """
    found: list[str] = []
    folders = [str(folder)]
    while folders:
        with contextlib.suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif entry.name.endswith(SUFFIXES):
                    found.append(entry.path)
    return sorted(found)


def _name_of(path: str) -> str:
    """Under which name does the kernel know the module in this file?"""
    return kernel_name(os.path.basename(path).split(".ko")[0])


def kernel_name(name: str) -> str:
    """Under which name does the kernel know the module file ``virtio-blk``?"""
    return name.replace("-", "_")


def modinfo(data: bytes, where: str) -> dict[str, str]:
    """What does a module say about itself? The key=value strings of its .modinfo section.

    Raises:
        InputError: it is not a 64-bit little-endian ELF file with such a section.
    """
    try:
        section = elf.sections(data).get(".modinfo")
    except struct.error:
        section = None
    if section is None:
        raise InputError("is not a kernel module", where=where)
    entries = (entry.partition(b"=") for entry in section.split(b"\0") if entry)
    return {key.decode("utf-8", "replace"): v.decode("utf-8", "replace") for key, _, v in entries}
