"""Whenever topbit dies, nothing is left behind: no QEMU, no file, no half-written one."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import needs

pytestmark = pytest.mark.qemu

SCENARIO = '[[device]]\nname = "nvme0"\n[[device]]\nname = "net0"\nmodel = "virtio-net"\n'
POLICY = "from topbit.vmm.policy import VmmPolicy\nclass Mine(VmmPolicy): pass\n"
FILES = ["log", "mine.py", "own.toml", "tmp"]
# The command writes without end to the outbox; where it is to end, one file of 64 MiB comes out.
WRITES = "while :; do cat /bin/busybox; done"
HANDS_OUT = "dd if=/dev/zero of=/big bs=1M count=64"
PATIENCE = 600  # seconds
MOMENTS = {
    "boot": ("Booting Linux", WRITES),
    "trace": ("@@ [0-9.]+ boot ", WRITES),
    "disk": ("@@ [0-9.]+ step copy-nvme0 start", WRITES),
    "output": ("@@ [0-9.]+ step run start", WRITES),
    "files": ("@@ [0-9.]+ step get start", HANDS_OUT),
}


def family(pid: int) -> set[int]:
    """Which processes has it started, and they?"""
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if words[0] != "Z":
            parents.setdefault(int(words[1]), []).append(int(folder.name))
    found, left = set(), [pid]
    while left:
        for child in parents.get(left.pop(), ()):
            found.add(child)
            left.append(child)
    return found


def alive(pids: set[int]) -> set[int]:
    """Which of them are there a minute later? None, the sooner the better."""
    end = time.monotonic() + 60
    while left := {pid for pid in pids if running(pid)}:
        if time.monotonic() > end:
            break
        time.sleep(0.05)
    return left


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGKILL, id="SIGKILL"),
        pytest.param(signal.SIGTERM, id="SIGTERM", marks=pytest.mark.slow),
    ],
)
def test_a_death_leaves_nothing_behind(moment: str, number: signal.Signals, tmp_path: Path) -> None:
    needs.tool("qemu")
    needs.busybox()
    needs.kernel("6.18")
    seen, command = MOMENTS[moment]
    (tmp_path / "own.toml").write_text(SCENARIO)
    (tmp_path / "mine.py").write_text(POLICY)
    (tmp_path / "tmp").mkdir()
    log = tmp_path / "log"
    words = [sys.executable, "-m", "topbit", "run", "own.toml", "--machine", "qemu"]
    words += ["--vmm", "mine.py", "--log", "log", "--run", command, "--get", "/big:big"]
    with subprocess.Popen(
        words,
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TMPDIR": str(tmp_path / "tmp"), "PYTHONDONTWRITEBYTECODE": "1"},
    ) as topbit:
        end = time.monotonic() + PATIENCE
        while not (log.exists() and re.search(seen, log.read_text("latin-1"))):
            assert topbit.poll() is None
            assert time.monotonic() < end
            time.sleep(0.02)
        children = family(topbit.pid)
        topbit.send_signal(number)
        status = topbit.wait(PATIENCE)
    assert children  # QEMU, at the least
    assert status == (-number if number == signal.SIGKILL else 128 + number)
    assert alive(children) == set()
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES
    assert list((tmp_path / "tmp").iterdir()) == []
