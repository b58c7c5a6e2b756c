"""Is the guest's memory a file without a name, with huge pages where the system has them?"""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from topbit.machine.qemu.process import ram
from topbit.machine.qemu.process.ram import HUGE_PAGE, AnonymousRam

SIZE = 8 * HUGE_PAGE


def refused() -> int:
    raise PermissionError


@pytest.mark.parametrize("way", [ram.huge_file, ram.huge_file_of_namespace])
def test_a_huge_file_has_huge_pages_and_no_name(way: Callable[[], int]) -> None:
    try:
        descriptor = way()
    except OSError as error:
        pytest.skip(f"this system does not allow it: {error}")
    try:
        assert not os.get_inheritable(descriptor)
        assert os.fstat(descriptor).st_nlink == 0
        os.ftruncate(descriptor, SIZE)
        with mmap.mmap(descriptor, SIZE) as mapped:
            mapped.madvise(mmap.MADV_HUGEPAGE)
            before = os.fstat(descriptor).st_blocks
            mapped[0] = 1
            touched = (os.fstat(descriptor).st_blocks - before) * 512
        modes = Path("/sys/kernel/mm/transparent_hugepage/shmem_enabled")
        if not modes.exists() or "[deny]" in modes.read_text():
            pytest.skip("this kernel has no huge pages for files in memory")
        assert touched == HUGE_PAGE
        with open(f"/proc/self/fd/{descriptor}", "r+b") as again:  # as QEMU opens it
            assert again.read(1) == b"\x01"
    finally:
        os.close(descriptor)


def test_without_the_right_to_mount_there_is_memory_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ram, "huge_file", refused)
    monkeypatch.setattr(ram, "huge_file_of_namespace", refused)
    with contextlib.closing(AnonymousRam(SIZE)) as memory:
        memory.buffer[SIZE - 1] = 7
        assert os.pread(memory.fd, 1, SIZE - 1) == b"\x07"


def test_a_child_without_namespaces_is_an_error_and_no_hang(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ram, "_enter_namespace", refused)
    with pytest.raises(OSError, match="namespace"):
        ram.huge_file_of_namespace()
