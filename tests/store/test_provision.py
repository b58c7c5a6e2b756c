from pathlib import Path

import pytest

from topbit.errors import InputError, MissingToolError, RunError
from topbit.store import busybox, kernels, tools
from topbit.store.download import Download
from topbit.store.provision import lacks, provide

QEMU = "qemu-system-aarch64 9.1 or newer"


@pytest.fixture(autouse=True)
def _bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(tools.shutil, "which", lambda name: None)
    for name in ("TOPBIT_QEMU", "TOPBIT_BUSYBOX"):
        monkeypatch.delenv(name, raising=False)


def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, qemu: bool, kernel: bool) -> None:
    if qemu:
        program = tmp_path / "qemu"
        program.write_text("#!/bin/sh\necho QEMU emulator version 10.0.2\n")
        program.chmod(0o755)
        monkeypatch.setenv("TOPBIT_QEMU", str(program))
    if kernel:
        (tmp_path / "cache/topbit/kernels/6.18.15+deb13-cloud-arm64").mkdir(parents=True)


@pytest.mark.parametrize(
    ("qemu", "kernel", "asked", "missing"),
    [
        (False, False, "6.18", [QEMU, "Linux 6.18 for arm64 (cloud)", busybox.WHAT]),
        (True, False, "6.18", ["Linux 6.18 for arm64 (cloud)", busybox.WHAT]),
        (True, True, "6.18", [busybox.WHAT]),
        (True, True, "7.3", ["Linux 7.3 for arm64 (cloud)", busybox.WHAT]),
        (False, False, None, [QEMU, busybox.WHAT]),
    ],
)
def test_what_is_not_here(
    qemu: bool,
    kernel: bool,
    asked: str | None,
    missing: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here(tmp_path, monkeypatch, qemu=qemu, kernel=kernel)
    assert [lack.what for lack in lacks(asked, "cloud")] == missing


@pytest.mark.parametrize("variable", ["TOPBIT_QEMU", "TOPBIT_BUSYBOX"])
def test_what_the_user_names_wrongly_is_not_fetched_instead(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "/nonexistent")
    with pytest.raises(MissingToolError, match=variable):
        lacks("6.18", "cloud")


def answers(monkeypatch: pytest.MonkeyPatch, done: list[str]) -> None:
    """Let the archive have all that is asked for."""
    for module, what in ((tools, "QEMU"), (kernels, "a kernel"), (busybox, "busybox")):

        def wanted(*asked: object, what: str = what, **more: object) -> Download:
            done.append(f"{what}?")
            return Download(what, 5, lambda came: done.append(what))

        monkeypatch.setattr(module, "wanted", wanted)


def test_all_is_asked_for_before_anything_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    answers(monkeypatch, done)
    provide(lacks("6.18", "cloud"), lambda text: None, lambda what, came, size: None)
    assert done == ["QEMU?", "a kernel?", "busybox?", "QEMU", "a kernel", "busybox"]


def test_a_kernel_that_is_not_offered_ends_it_before_anything_is_fetched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[str] = []
    answers(monkeypatch, done)

    def none(name: str, *, flavour: str) -> Download:
        raise InputError(f"no kernel {name} ({flavour})")

    monkeypatch.setattr(kernels, "wanted", none)
    with pytest.raises(InputError, match=r"no kernel 9\.9 \(rt\)"):
        provide(lacks("9.9", "rt"), lambda text: None, lambda what, came, size: None)
    assert done == ["QEMU?"]


@pytest.mark.parametrize("kind", [RunError, MissingToolError])
def test_without_the_archive_one_message_names_all_and_every_way_around(
    kind: type[RunError], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*asked: object, **more: object) -> Download:
        raise kind("the mirror does not answer")

    for module in (tools, kernels, busybox):
        monkeypatch.setattr(module, "wanted", unreachable)
    with pytest.raises(kind) as raised:
        provide(lacks("6.18", "cloud"), lambda text: None, lambda what, came, size: None)
    said = str(raised.value)
    assert said.startswith(f"{QEMU}, Linux 6.18 for arm64 (cloud), busybox for arm64: not here")
    assert "the mirror does not answer" in said
    for way in ("TOPBIT_QEMU", "TOPBIT_BUSYBOX", "--kernel path/to/Image"):
        assert way in said
