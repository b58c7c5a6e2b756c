"""Which work does a scenario give the guest, in which order?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from every_device import EVERY_DEVICE
from topbit.errors import UsageError
from topbit.machine.qemu.guest.device import GuestDevice
from topbit.machine.qemu.guest.devices import agenda, buses, device_of
from topbit.scenario import Scenario, loads
from topbit.store.modules import ModuleTree


@pytest.fixture
def tree(tmp_path: Path) -> ModuleTree:
    """Drivers as modules, but NVMe's, which is part of the kernel."""
    for name in ("virtio_blk", "virtio_net", "virtio-rng"):
        (tmp_path / f"{name}.ko").touch()
    (tmp_path / "modules.builtin").write_text("kernel/drivers/nvme/host/nvme.ko\n")
    return ModuleTree(tmp_path)


def scenario(work: str) -> Scenario:
    return loads(f"[workload]\n{work}\n{EVERY_DEVICE}", "test")


def devices_of(wanted: Scenario) -> Iterator[GuestDevice]:
    for number, spec in enumerate(wanted.device, 1):
        yield device_of(spec, number, wanted, b"payload" * 1000)


def names(work: str, tree: ModuleTree) -> list[str]:
    wanted = scenario(work)
    devices = list(devices_of(wanted))
    steps = agenda(devices, wanted.workload, tree)
    for device in devices:
        device.close()
    assert len({step.name for step in steps}) == len(steps)
    return [step.name for step in steps]


def test_usual_work(tree: ModuleTree) -> None:
    assert names("", tree) == [
        *("copy-nvme0", "rebind-0000-00-01-0"),
        *("copy-disk0", "rebind-0000-00-02-0"),
        *("copy-virtio0", "rebind-a803000-virtio-mmio"),
        *("ping-eth0", "echo", "rebind-0000-00-04-0"),
        *("random-rng0", "rebind-0000-00-05-0"),
    ]


def test_any_name_that_a_scenario_takes_names_steps(tree: ModuleTree) -> None:
    wanted = loads('[[device]]\nname = "My-nvme_0"\n', "test")
    (device,) = devices_of(wanted)
    steps = agenda([device], wanted.workload, tree)
    assert [step.name for step in steps] == ["copy-My-nvme_0", "rebind-0000-00-01-0"]
    device.close()


def test_no_work(tree: ModuleTree) -> None:
    assert names("transfers = 0\nrebinds = 0", tree) == ["ping-eth0", "echo", "random-rng0"]


def test_what_disturbs_all_comes_last_and_then_each_works_again(tree: ModuleTree) -> None:
    found = names("rebinds = 0\nreaders = 2\nreloads = 1\nunplug = true", tree)
    assert found[:3] == ["copy-nvme0", "parallel-nvme0", "unplug-0000-00-01-0"]
    assert "unplug-a803000-virtio-mmio" not in found
    assert found[-9:] == [
        *("reload-virtio-blk", "reload-virtio-net", "reload-virtio-rng"),
        *("again-nvme0", "again-disk0", "again-virtio0"),
        *("ping-again-eth0", "echo-again", "random-again-rng0"),
    ]


def test_devices_behind_ports_have_buses_of_their_own(tree: ModuleTree) -> None:
    wanted = scenario("hotplug = true")
    assert buses(wanted) == {"nvme0": 1, "disk0": 2, "net0": 3, "rng0": 4}
    assert buses(scenario("")) == {}
    found = names("hotplug = true", tree)
    assert found[:3] == ["copy-nvme0", "rebind-0000-01-00-0", "replug-0000-01-00-0"]
    assert "replug-0000-04-00-0" in found
    assert found[-1] == "random-again-rng0"


@pytest.mark.parametrize(
    ("model", "behaviour"),
    [
        ("nvme", "good"),
        ("virtio-net", "good"),
        ("virtio-rng", "good"),
        ("edu", "good"),
        ("edu", "stale"),
        ("edu", "wild"),
        ("nvme", "wild"),
    ],
)
def test_a_trusted_device_is_trusted_whatever_it_does(model: str, behaviour: str) -> None:
    wanted = loads(
        f'[[device]]\nname="a"\n[[device]]\nname="b"\nmodel="{model}"\nbehaviour="{behaviour}"\n'
        "trusted=true",
        "test",
    )
    other, device = devices_of(wanted)
    assert device.pci is not None
    assert device.pci.trusted
    assert device.facts().trusted
    other.close()
    device.close()


def test_a_device_that_is_watched_stays_in_its_slot() -> None:
    wanted = loads(
        '[workload]\nhotplug = true\n[[device]]\nname="a"\n'
        '[[device]]\nname="b"\nmodel="edu"\nbehaviour="stale"',
        "test",
    )
    with pytest.raises(UsageError, match="stays in its slot"):
        buses(wanted)
