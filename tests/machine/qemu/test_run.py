"""What happens before a guest boots, and what is said while it does."""

from __future__ import annotations

import io
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from topbit.errors import InputError, UsageError
from topbit.machine.qemu import run as module
from topbit.machine.qemu import scenario_run
from topbit.machine.qemu.options import QemuOptions
from topbit.machine.qemu.run import doing, run
from topbit.recording import Platform
from topbit.scenario import builtin, override
from topbit.store.kernels import Kernel


def ignore(text: str) -> None:
    """Nobody wants to know."""


@pytest.mark.parametrize(
    ("console", "told"),
    [
        (b"", "booting"),
        (b"[    0.000000] Booting Linux on physical CPU 0x0\r\n", "booting"),
        (b"x\n@@ 1.52 step copy-nvme0 start\r\n", "step copy-nvme0"),
        (b"x\n@@ 1.52 step copy-nvme0 start\r\n@@ 2.01 ready\r\n[ 2.1] y z", "ready"),
        (b"x\n@@ 1.52 step copy-nvme0 start\r\n@@ 2.01 step an", "step copy-nvme0"),  # cut off
        (b"x\n@@ 1.52 step copy-nvme0 exit 0\r\n\n@@ done\n", "ending"),
        (b"x\n@@ 1.52 ready\r\n@@ 1.6 \x1b[2J bad\r\n@@ 1.7 step \x1b[2J start\r\n", "ready"),
        (b"x\n@@ 1.52 boot 6.18.15\r\n[    1.600000] nvme nvme0: pci function\r\n", "boot 6.18.15"),
        (b"x\n@@ ", "booting"),
        (b"x\n@@ 1.52 step \xff\xfe start\n", "booting"),
    ],
)
def test_what_the_guest_is_doing(console: bytes, told: str) -> None:
    assert doing(console) == told


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"cpus": 0}, UsageError, "--cpus: 0 vCPUs"),
        ({"cpus": 1000}, UsageError, "--cpus: 1000 vCPUs"),
        ({"timeout": -5.0}, UsageError, "--timeout: -5 seconds"),
        ({"timeout": 0}, UsageError, "--timeout: 0 seconds"),
        ({"timeout": float("nan")}, UsageError, "--timeout: nan seconds"),
        ({"gdb": "/nonexistent/vmlinux"}, InputError, "--gdb /nonexistent/vmlinux: cannot be read"),
        ({"gdb": "/etc/hostname"}, InputError, "--gdb /etc/hostname: is no ELF file"),
        ({"gdb": "seed"}, InputError, "topbit run seed --machine qemu --gdb"),
        ({"gdb": "mine.toml"}, InputError, "topbit run mine.toml --machine qemu --gdb"),
        ({"rootfs_write": True}, UsageError, "--rootfs-write"),
        ({"initrd": "/nonexistent"}, InputError, "--initrd /nonexistent: cannot be read"),
        ({"log": "/nonexistent/log"}, InputError, "--log /nonexistent/log: cannot write"),
        ({"kernel": "/nonexistent/Image"}, InputError, "--kernel"),
        ({"kernel": "7.3", "modules": "/lib"}, UsageError, "--modules"),
        ({"kernel": "7.3", "flavour": "thin"}, InputError, "unknown flavour 'thin'"),
    ],
)
def test_bad_options_are_said_before_anything_starts(
    options: QemuOptions, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        run(builtin("seed"), options, note=ignore, progress=ignore)


def test_what_qemu_cannot_be_is_said_before_a_kernel_is_fetched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "provide", None)
    with pytest.raises(UsageError, match="PCIe window"):
        run(override(builtin("seed"), "realm.ipa_bits=40"), {}, note=ignore, progress=ignore)


class Prepared:
    """Stands for a `ScenarioRun`: takes what it is given and runs nothing."""

    def __init__(self, *positional: object, **given: Any) -> None:
        self.given = given
        self.own = given["own"]
        PREPARED.append(self)

    def __enter__(self) -> Prepared:
        return self

    def __exit__(self, *exception: object) -> None:
        self.closed = True

    def run(self, *, started: Callable[[object], None], **given: Any) -> SimpleNamespace:
        self.given |= given
        console = SimpleNamespace(tail=lambda size: b"\n@@ 1.5 step copy-nvme0 start\n")
        started(SimpleNamespace(console=console))
        if given["timeout"] == 1:
            time.sleep(2 * module.LOOK)
        recording = SimpleNamespace(platform=Platform())
        return SimpleNamespace(files=HANDED_OUT, recording=recording)


PREPARED: list[Prepared] = []
TAPE = io.BytesIO()
with tarfile.open(fileobj=TAPE, mode="w") as tar:
    tar.addfile(tarfile.TarInfo("log"))
HANDED_OUT = TAPE.getvalue()


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> list[Prepared]:
    PREPARED.clear()
    kernel = Kernel("6.18.15", Path("Image"), None)
    monkeypatch.setattr(scenario_run, "ScenarioRun", Prepared)
    monkeypatch.setattr(module, "lacks", lambda kernel, flavour: [])
    monkeypatch.setattr(module.kernels, "kernel", lambda name, **given: kernel)
    monkeypatch.setattr(module.tools, "find", lambda name: Path("/usr/bin/the-gdb"))
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    return PREPARED


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"timeout": 300, "terminal": None, "log": None, "options": (), "cpus": 1, "cpu": ""}),
        ({"timeout": 5.5, "cpus": 4, "cpu": "max"}, {"timeout": 5.5, "cpus": 4, "cpu": "max"}),
        ({"timeout": None}, {"timeout": None}),
        ({"console": True}, {"timeout": 300, "terminal": 2, "keyboard": False}),
        ({"append": "quiet"}, {"append": "quiet"}),
        ({"append": "quiet", "gdb": True}, {"append": "quiet nokaslr", "timeout": None}),
        ({"gdb": sys.executable, "timeout": 9}, {"append": " nokaslr", "timeout": 9}),
    ],
)
def test_options_reach_the_run(
    options: QemuOptions, expected: dict[str, object], prepared: list[Prepared]
) -> None:
    assert run(builtin("seed"), options, note=ignore, progress=ignore).files == HANDED_OUT
    (made,) = prepared
    assert {key: made.given[key] for key in expected} == expected
    assert made.closed


@pytest.mark.parametrize("gdb", [True, sys.executable])
def test_how_a_debugger_attaches_is_said(gdb: bool | str, prepared: list[Prepared]) -> None:
    said: list[str] = []
    run(builtin("seed"), {"gdb": gdb}, note=said.append, progress=ignore)
    (line,) = said
    assert "waits for a debugger: /usr/bin/the-gdb " in line
    assert (sys.executable in line) == (gdb == sys.executable)
    assert prepared[0].given["options"][0] == "-gdb"


def test_the_command_and_the_log_reach_the_run(prepared: list[Prepared], tmp_path: Path) -> None:
    log = tmp_path / "log"
    run(builtin("seed"), {"command": "ls", "log": str(log)}, note=ignore, progress=ignore)
    assert prepared[0].own.command == "ls"
    assert prepared[0].given["log"] == log
    assert log.exists()


def test_files_of_the_user_go_in_and_come_out(prepared: list[Prepared], tmp_path: Path) -> None:
    target = tmp_path / "out"
    options: QemuOptions = {"add": [__file__], "get": [f"/tmp/log:{target}"]}
    run(builtin("seed"), options, note=ignore, progress=ignore)
    assert [one.path for one in prepared[0].own.added] == ["/test_run.py"]
    assert target.exists()


@pytest.mark.usefixtures("prepared")
def test_a_file_that_cannot_be_written_costs_nothing_else(tmp_path: Path) -> None:
    options: QemuOptions = {"get": [f"/tmp/log:{tmp_path}"]}
    platform = run(builtin("seed"), options, note=ignore, progress=ignore).recording.platform
    assert "cannot write: Is a directory" in platform.unfinished
    assert platform.notes == [platform.unfinished]


def test_who_sits_at_the_console_is_told_how_to_leave(
    prepared: list[Prepared], monkeypatch: pytest.MonkeyPatch
) -> None:
    for at_it in (False, True):
        said: list[str] = []
        monkeypatch.setattr(sys.stdin, "isatty", lambda at_it=at_it: at_it, raising=False)
        run(builtin("seed"), {"console": True}, note=said.append, progress=ignore)
        assert any("Ctrl-] ends the run" in line for line in said) == at_it


def test_a_system_of_ones_own_shows_its_console(prepared: list[Prepared], tmp_path: Path) -> None:
    initrd = tmp_path / "initrd"
    initrd.write_bytes(b"070701")
    run(builtin("seed"), {"initrd": initrd}, note=ignore, progress=ignore)
    assert (prepared[0].given["terminal"], prepared[0].given["keyboard"]) == (2, False)


@pytest.mark.usefixtures("prepared")
def test_what_the_guest_does_is_told_until_the_run_is_over() -> None:
    said: list[str] = []
    began: list[object] = []
    run(builtin("seed"), {"timeout": 1}, note=ignore, progress=said.append, started=began.append)
    assert len(began) == 1
    assert said[0] == "Linux 6.18.15: starting"
    assert said[1] == "Linux 6.18.15: step copy-nvme0"
    told = len(said)
    time.sleep(2 * module.LOOK)
    assert len(said) == told
