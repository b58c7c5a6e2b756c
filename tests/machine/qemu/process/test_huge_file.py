"""Is the guest's memory a file without a name, with huge pages where the system has them?"""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from topbit.machine.qemu.process import huge_file

HUGE_PAGE = 2 << 20
SIZE = 8 * HUGE_PAGE


@pytest.mark.parametrize("way", [huge_file.huge_file, huge_file.huge_file_of_namespace])
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


def test_a_child_that_gives_no_file_is_an_error_and_no_hang(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(OSError, match="namespace"):
        huge_file.huge_file_of_namespace()


def test_the_child_leaves_no_descriptor_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.listdir("/proc/self/fd")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(OSError, match="namespace"):
        huge_file.huge_file_of_namespace()
    assert os.listdir("/proc/self/fd") == before
