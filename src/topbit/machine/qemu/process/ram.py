"""Which bytes are the machine's physical memory? A file without a name, mapped here and by QEMU.

A guest touches tens of thousands of its pages while it boots, and each costs a page fault of the
host; with huge pages one in 512 does. The file has them where the system allows it
(`huge_file`); elsewhere it is a memfd, which has huge pages where the administrator turned them on
(transparent_hugepage/shmem_enabled).
"""

from __future__ import annotations

import contextlib
import mmap
import os

from topbit.errors import RunError
from topbit.machine.qemu.process.huge_file import huge_file, huge_file_of_namespace

HUGE_PAGE = 2 << 20  # bytes; QEMU must align its mapping to them


class AnonymousRam:
    """Which bytes are the guest's physical memory?

    Args:
        size: in bytes, a multiple of 4 KiB.

    Raises:
        RunError: the system does not give that much memory.
    """

    def __init__(self, size: int) -> None:
        try:
            self.fd = anonymous_file()
            try:
                os.ftruncate(self.fd, size)
                self.buffer = mmap.mmap(self.fd, size)
            except BaseException:
                os.close(self.fd)
                raise
        except OSError as error:
            raise RunError(
                f"no {size >> 20} MiB of memory for the guest: {error.strerror}",
                hint="give the guest less RAM, or free some",
            ) from error
        with contextlib.suppress(OSError):  # a kernel without huge pages
            self.buffer.madvise(mmap.MADV_HUGEPAGE)

    def close(self) -> None:
        """Give up the file; the mapping goes with its last user."""
        os.close(self.fd)


def anonymous_file() -> int:
    """Which descriptor is a new, empty file in memory, with huge pages if the system allows it?

    Raises:
        OSError: there is none to be had.
    """
    for way in (huge_file, huge_file_of_namespace):
        with contextlib.suppress(OSError):
            return way()
    return os.memfd_create("topbit-ram", os.MFD_CLOEXEC)
