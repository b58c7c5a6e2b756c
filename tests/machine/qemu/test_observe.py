"""A kernel is booted and asked what it gives to devices."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

import needs
import topbit
from observed_boots import recorded
from topbit.errors import InputError
from topbit.machine.model.dma_table import What, Who
from topbit.machine.qemu import observe as module
from topbit.machine.qemu.guest.ask_module import Layout, Op
from topbit.machine.qemu.guest.asking import Ask
from topbit.machine.qemu.observe import devices, has_pci, observe, seen_in
from topbit.store.kernels import Kernel
from topbit.store.modules import Module


def quiet(*told: object) -> None:
    """Nobody wants to know."""


def kernel(
    folder: Path, options: frozenset[str] = frozenset(), page_size: int = 4096, built: bool = False
) -> Kernel:
    """A kernel with one module, and with this configuration."""
    tree = SimpleNamespace(closure=lambda names: [] if built else [Module(n, b"") for n in names])
    image = SimpleNamespace(configuration=options, page_size=page_size)
    return cast(
        "Kernel",
        SimpleNamespace(
            release="7.3",
            image=folder / "Image",
            modules=folder / "lib",
            read=lambda: image,
            tree=lambda: tree,
        ),
    )


def layouts(monkeypatch: pytest.MonkeyPatch, one: Kernel) -> list[Layout]:
    """For which layouts are the modules made? Nothing boots."""
    found: list[Layout] = []

    def made(question: object, template: object, layout: Layout) -> bytes:
        found.append(layout)
        return b"ELF"

    recording = recorded("7.3", 41)
    outcome = SimpleNamespace(recording=recording, complete=False, ending="timeout")
    asked: dict[str, Any] = {}

    def run(scenario: object, options: dict[str, Any], **told: object) -> object:
        asked.update(options, scenario=scenario)
        folder = Path(options["add"][0].rpartition(":")[0])
        assert sorted(path.name for path in folder.iterdir()) == ["1.ko", "driver"]
        return outcome

    monkeypatch.setattr(module, "module", made)
    monkeypatch.setattr(module, "run", run)
    seen = observe(
        one, 41, [Ask("edu0", Op.MAP_PAGE)], {"append": "quiet"},
        note=quiet, progress=quiet, fetched=quiet,
    )  # fmt: skip
    assert (seen.ending, seen.ipa_bits) == ("timeout", 41)
    assert asked["append"] == "quiet log_buf_len=8M"
    assert [device.trusted for device in asked["scenario"].device] == [False, True, False]
    return found


def test_the_layout_stands_in_the_kernels_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    within = kernel(tmp_path, frozenset({"ARM64_VA_BITS_48", "SMP"}))
    assert layouts(monkeypatch, within) == [Layout(48, 12)]
    text = "# CONFIG_ARM64_VA_BITS_48 is not set\nCONFIG_ARM64_VA_BITS_52=y\n"
    (tmp_path / "config").write_text(text)
    assert layouts(monkeypatch, kernel(tmp_path, page_size=16384)) == [Layout(52, 14)]
    (tmp_path / "config").unlink()
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/.config").write_text("CONFIG_ARM64_VA_BITS_39=y\n")
    assert layouts(monkeypatch, kernel(tmp_path)) == [Layout(39, 12)]


@pytest.mark.parametrize(
    ("options", "page_size", "built", "words"),
    [
        (frozenset({"SMP"}), 4096, False, "7.3 lays its address space out .*CONFIG_IKCONFIG"),
        (frozenset({"ARM64_VA_BITS_48"}), 0, False, "lays its address space out"),
        (frozenset({"ARM64_VA_BITS_48"}), 4096, True, "has uio_pci_generic built in"),
    ],
)
def test_what_a_module_cannot_be_made_for(
    options: frozenset[str],
    page_size: int,
    built: bool,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(InputError, match=words):
        layouts(monkeypatch, kernel(tmp_path, options, page_size, built))


@pytest.mark.parametrize(("bits", "pci"), [(41, True), (44, True), (45, False), (52, False)])
def test_which_devices_are_there(bits: int, pci: bool) -> None:
    assert has_pci(bits) is pci
    assert list(devices(bits)) == (
        ["edu0", "edu1", "serial8250"] if pci else ["4010000000.pcie", "serial8250"]
    )


def test_above_50_bits_no_driver_works() -> None:
    """It would wait for ever: see `WORKS`."""
    assert [d.name for d in module._scenario(50).device] == ["virtio0"]
    assert module._scenario(51).device == ()


def test_a_recording_tells_its_width() -> None:
    assert seen_in(recorded("7.3", 52), []).ipa_bits == 52


@pytest.mark.qemu
@pytest.mark.parametrize(("series", "bits"), [("7.3", 41), ("7.3", 52), ("6.18", 42)])
def test_what_the_table_says_is_what_a_kernel_does(series: str, bits: int) -> None:
    needs.tool("qemu")
    needs.busybox()
    needs.kernel(series)
    found = topbit.observe(series, ipa_bits=[bits])
    assert found.exit_status == 0, found
    assert found.observed >= 79
    moved = {
        (one.asked.row.who, one.asked.row.what)
        for one in found.boots[0].seen
        if one.answer and one.answer.back
    }
    if bits <= 44:
        assert {(who, What.BUFFER) for who in (Who.UNTRUSTED, Who.TRUSTED)} <= moved
