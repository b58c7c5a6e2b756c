"""The test device of QEMU 11, and a driver module that the user brings along."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

import needs
from topbit.arch.ipa import IpaSpace
from topbit.machine.qemu.guest import testdev
from topbit.machine.qemu.guest.device import GuestDevice
from topbit.machine.qemu.guest.devices import device_of
from topbit.machine.qemu.options import QemuOptions
from topbit.machine.qemu.outcome import Outcome
from topbit.machine.qemu.run import run
from topbit.rules import check
from topbit.scenario import loads

TEST = '[[device]]\nname = "test0"\nmodel = "qemu:iommu-testdev"\n'
DRIVERS = "driver=virtio_pci,driver=virtio_rng"
RNG = f'[[device]]\nname = "rng0"\nmodel = "qemu:virtio-rng-pci,{DRIVERS}"\n'


@pytest.mark.parametrize(
    ("model", "behaviour", "step", "qemu"),
    [
        ("qemu:iommu-testdev", "good", "translate-d", "iommu-testdev"),
        ("qemu:iommu-testdev", "wild", "wild-0000-00-01-0", "iommu-testdev"),
        ("edu", "wild", "wild-0000-00-01-0", "edu"),
    ],
)
def test_what_the_device_does(model: str, behaviour: str, step: str, qemu: str) -> None:
    wanted = loads(f'[[device]]\nname="d"\nmodel="{model}"\nbehaviour="{behaviour}"', "test")
    device: GuestDevice = device_of(wanted.device[0], 1, wanted, b"")
    assert [one.name for one in device.steps] == [step]
    assert ("devmem $(at 20) 32 1" in device.steps[0].script) == (qemu == testdev.MODEL)
    assert device.pci is not None
    assert device.pci.kind_of_device.name == qemu
    device.close()


def test_the_page_that_it_writes_is_the_last_one_of_the_pool() -> None:
    script = testdev.translate("t", "0000:00:01.0", IpaSpace(41)).script
    assert "$((end + 1099511627776 - 0x1000))" in script
    assert "reaches 0x30000000000" in testdev.wild_dma("0", IpaSpace(41), 3 << 40).script


def booted(text: str, folder: Path, **options: object) -> Outcome:
    kernel = needs.kernel("6.18")
    assert kernel.modules
    # The kernel has lost a driver, which the user brings along.
    lean = folder / "lean"
    shutil.copytree(kernel.modules, lean, copy_function=os.symlink, symlinks=True)
    (driver,) = lean.rglob("virtio-rng.ko*")
    mine = folder / driver.name
    shutil.copy(driver.readlink(), mine)
    driver.unlink()
    given: QemuOptions = {
        "kernel": kernel.image,
        "modules": lean,
        "add": [str(mine)],
        "cpu": "max",
        "timeout": 600,
    }
    return run(loads(text, "test"), given, note=print, progress=lambda text: None)


@pytest.mark.qemu
def test_the_newest_qemu_its_test_device_and_a_driver_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its largest CPU model as well, which has FPMR, GCS and SCTLR2."""
    monkeypatch.setenv("TOPBIT_QEMU", needs.tool("newest-qemu"))
    wild = TEST.replace("test0", "wild0") + 'behaviour = "wild"\n'
    outcome = booted(TEST + RNG + wild, tmp_path)
    assert outcome.complete
    assert outcome.guest.steps["translate-test0"].status == 0
    assert outcome.guest.steps["probe-rng0"].status == 0
    found = [one for one in check(outcome.recording).findings if one.severity == "violation"]
    assert [(one.rule, one.device) for one in found] == [("F4", "0000:00:03.0")]
