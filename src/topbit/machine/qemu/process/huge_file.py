"""How does a process get a file in memory that has huge pages, and no name?

The file stands on a tmpfs that is mounted nowhere and gives huge pages to who asks for them. To
mount one takes root's rights: one's own, or those of a child process that is root in a user
namespace of its own. The child is this file, run as a program: it imports nothing but the standard
library, so that it starts in a few milliseconds, and hands the descriptor back through a socket.
Source: Linux Documentation/admin-guide/mm/transhuge.rst; fsopen(2), fsmount(2), open(2) O_TMPFILE.
"""

import ctypes
import os
import sys

# Numbers of system calls, the same on all architectures, and their constants: linux/mount.h.
_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432
_CLOEXEC = 1
_SET_STRING, _CREATE = 1, 6
_CLONE_NEWNS, _CLONE_NEWUSER = 0x0002_0000, 0x1000_0000


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
        OSError: the system allows no such namespace, or no child process.
    """
    import socket
    import subprocess

    ours, theirs = socket.socketpair()
    with ours, theirs:
        child = subprocess.Popen(
            # Without the environment's and the site's additions: they take longer than the work.
            [sys.executable, "-I", "-S", __file__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        theirs.close()
        _, rights, _, _ = ours.recvmsg(1, socket.CMSG_LEN(4), socket.MSG_CMSG_CLOEXEC)
        child.wait()
    if not rights:
        raise OSError("no user namespace")
    return int.from_bytes(rights[0][2], sys.byteorder)


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


def _hand_over(channel: int) -> None:
    """Send a `huge_file` of a new namespace through the socket that descriptor `channel` is."""
    # The whole of socket.py takes as long to import as the interpreter to start.
    import _socket

    _enter_namespace()
    descriptor = huge_file().to_bytes(4, sys.byteorder)
    end = _socket.socket(fileno=channel)
    end.sendmsg([b"."], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, descriptor)])


if __name__ == "__main__":
    _hand_over(int(sys.argv[1]))
