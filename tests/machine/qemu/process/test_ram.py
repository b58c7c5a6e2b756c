"""Is there memory for the guest, whatever the system allows?"""

from __future__ import annotations

import contextlib
import os

import pytest

from topbit.errors import RunError
from topbit.machine.qemu.process import ram
from topbit.machine.qemu.process.ram import HUGE_PAGE, AnonymousRam

SIZE = 8 * HUGE_PAGE


def refused() -> int:
    raise PermissionError


def test_without_the_right_to_mount_there_is_memory_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ram, "huge_file", refused)
    monkeypatch.setattr(ram, "huge_file_of_namespace", refused)
    with contextlib.closing(AnonymousRam(SIZE)) as memory:
        memory.buffer[SIZE - 1] = 7
        assert os.pread(memory.fd, 1, SIZE - 1) == b"\x07"


def test_the_first_way_that_the_system_allows_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ram, "huge_file_of_namespace", lambda: 12)
    monkeypatch.setattr(ram, "huge_file", lambda: 11)
    assert ram.anonymous_file() == 11
    monkeypatch.setattr(ram, "huge_file", refused)
    assert ram.anonymous_file() == 12


def test_too_much_memory_is_an_error_and_leaks_nothing() -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(RunError, match="MiB of memory for the guest"):
        AnonymousRam(1 << 62)
    assert os.listdir("/proc/self/fd") == before
