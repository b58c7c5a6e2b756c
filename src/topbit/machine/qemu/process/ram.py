"""Which bytes are the machine's physical memory? A file without a name, mapped here and by QEMU.

The file stands on a tmpfs that is mounted nowhere and gives huge pages to who asks for them. A
guest touches tens of thousands of its pages while it boots, and each costs a page fault of the
host; with huge pages one in 512 does. They need the right to mount a tmpfs: root's, or anybody's
in a user namespace of its own, where the system allows that. Elsewhere it is a memfd, which has
huge pages where the administrator turned them on (transparent_hugepage/shmem_enabled).
Source: Linux Documentation/admin-guide/mm/transhuge.rst; fsopen(2), fsmount(2), open(2) O_TMPFILE.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import socket

from topbit.errors import RunError

HUGE_PAGE = 2 << 20  # bytes; QEMU must align its mapping to them

# Numbers of system calls, the same on all architectures, and their constants: linux/mount.h.
_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432
_CLOEXEC = 1
_SET_STRING, _CREATE = 1, 6
_CLONE_NEWNS, _CLONE_NEWUSER = 0x0002_0000, 0x1000_0000


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
                mend="give the guest less RAM, or free some",
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


def huge_file() -> int:
    """Which descriptor is a new file on a tmpfs of its own, with huge pages?

    Raises:
        OSError: this process may not mount one, or the kernel cannot (older than 5.2).
    """
    context = _system_call(_FSOPEN, b"tmpfs", _CLOEXEC)
    try:
        for key, value in ((b"huge", b"advise"), (b"size", b"0"), (b"mode", b"0700")):
            _system_call(_FSCONFIG, context, _SET_STRING, key, value, 0)
        _system_call(_FSCONFIG, context, _CREATE, None, None, 0)
        mount = _system_call(_FSMOUNT, context, _CLOEXEC, 0)
    finally:
        os.close(context)
    try:
        flags = os.O_TMPFILE | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC
        return os.open(".", flags, 0o600, dir_fd=mount)
    finally:
        os.close(mount)


def huge_file_of_namespace() -> int:
    """What is `huge_file` of a child process that is root in a user namespace of its own?

    Raises:
        OSError: the system allows no such namespace.
    """
    ours, theirs = socket.socketpair()
    with ours, theirs:
        child = os.fork()
        if not child:
            try:
                _enter_namespace()
                socket.send_fds(theirs, [b"."], [huge_file()])
            finally:
                os._exit(0)
        theirs.close()
        _, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
        os.waitpid(child, 0)
    if not descriptors:
        raise OSError("no user namespace")
    os.set_inheritable(descriptors[0], False)
    return descriptors[0]


def _enter_namespace() -> None:
    user, group = os.geteuid(), os.getegid()
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWUSER | _CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "unshare")
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def _system_call(number: int, *args: int | bytes | None) -> int:
    words = [ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args]
    result: int = ctypes.CDLL(None, use_errno=True).syscall(ctypes.c_long(number), *words)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result
