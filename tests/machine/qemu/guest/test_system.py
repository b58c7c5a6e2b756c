"""Which kernel command line does a scenario give?"""

from pathlib import Path

import pytest

from kernel_images import image, written
from topbit.machine.qemu.guest.device import GuestDevice
from topbit.machine.qemu.guest.own_system import OwnSystem
from topbit.machine.qemu.guest.steps import Step
from topbit.machine.qemu.guest.system import GuestSystem
from topbit.machine.qemu.process.pci import PciDevice
from topbit.scenario import DeviceSpec, loads
from topbit.store.kernels import Kernel


def words(tmp_path: Path, release: str, append: str = "") -> list[str]:
    scenario = loads('[[device]]\nname = "nvme0"\n', "test")
    nvme = GuestDevice(DeviceSpec("nvme0"), PciDevice("nvme", 1, image=tmp_path / "disk.img"))
    kernel = Kernel(release, written(tmp_path, image()), None)
    system = GuestSystem(scenario, kernel, OwnSystem(), [nvme], None, append)
    found = [word for word in system.command_line().split() if word.startswith("nvme.")]
    assert bool(system.notes) == (bool(found) and not append)
    return found


@pytest.mark.parametrize(
    ("release", "broken"),
    [
        ("6.16.12+deb14+1-arm64", False),
        ("6.18", True),
        ("6.18.15+deb13-cloud-arm64", True),
        ("6.19.0", False),
        ("7.2.12+deb14-arm64", False),
    ],
)
def test_nvme_has_no_sgls_where_their_unmapping_is_broken(
    tmp_path: Path, release: str, broken: bool
) -> None:
    assert words(tmp_path, release) == ["nvme.sgl_threshold=0"] * broken


def test_the_user_may_want_them_all_the_same(tmp_path: Path) -> None:
    asked = "nvme.sgl_threshold=32768"
    assert words(tmp_path, "6.18.15", asked) == [asked]


def test_a_driver_that_cannot_be_reloaded_is_told(tmp_path: Path) -> None:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules/virtio_net.ko").write_bytes(b"")
    kernel = Kernel("6.18", written(tmp_path, image()), None)
    scenario = loads("[workload]\nreloads = 2\n", "test")
    models = {"nvme": tmp_path / "disk.img", "virtio-net": None, "edu": None}
    devices = [
        GuestDevice(DeviceSpec(name), PciDevice(name, slot, image=image))
        for slot, (name, image) in enumerate(models.items(), 1)
    ]
    for device in devices[:2]:
        device.again = [Step("work", "")]
    system = GuestSystem(scenario, kernel, OwnSystem(), devices, None, "")
    steps = system.steps(interactive=False)
    assert [step.name for step in steps if "reload" in step.name] == ["reload-virtio-net"]
    assert system.notes == ["workload.reloads leaves nvme out: it is part of this kernel"]


@pytest.mark.parametrize("late", [False, True])
def test_the_trace_is_turned_on_by_the_command_line_or_late(late: bool, tmp_path: Path) -> None:
    kernel = Kernel("7.3", written(tmp_path, image()), None)
    busybox = tmp_path / "busybox"
    busybox.write_bytes(b"\x7fELF\x02\x01" + bytes(12) + b"\xb7\0")
    system = GuestSystem(loads("", "test"), kernel, OwnSystem(), [], None, "", late_trace=late)
    words = system.command_line().split()
    assert ("trace_event=dma:*,swiotlb:*" in words) != late
    assert "trace_buf_size=8192K" in words
    assert (b"topbit/events\0" in system.initramfs(busybox, [])) == late


@pytest.mark.parametrize(("cpus", "each"), [(1, 8192), (4, 8192), (8, 4096), (64, 512)])
@pytest.mark.parametrize("late", [False, True])
def test_many_cpus_have_less_room_each_for_the_trace(
    cpus: int, each: int, late: bool, tmp_path: Path
) -> None:
    kernel = Kernel("7.3", written(tmp_path, image()), None)
    scenario, own = loads("", "test"), OwnSystem()
    system = GuestSystem(scenario, kernel, own, [], None, "", late_trace=late, cpus=cpus)
    assert f"trace_buf_size={each}K" in system.command_line().split()


def test_a_stale_device_finds_its_victims_rings_in_a_trace_of_their_own(tmp_path: Path) -> None:
    kernel = Kernel("7.3", written(tmp_path, image()), None)
    for behaviour, kept in (("good", False), ("stale", True)):
        edu = GuestDevice(DeviceSpec("edu", behaviour=behaviour), PciDevice("edu", 1))
        system = GuestSystem(loads("", "test"), kernel, OwnSystem(), [edu], None, "")
        assert ("trace_instance=rings,dma:dma_alloc" in system.command_line().split()) == kept


@pytest.mark.parametrize(
    ("given", "append", "traced"),
    [
        ({}, "", True),
        ({}, "trace_event=dma:*", True),
        ({"rootfs": "root.img"}, "", True),
        ({"rootfs": "root.img"}, "quiet trace_event=sched:*", False),
        ({"rootfs": "root.img", "command": "ls"}, "trace_event=sched:*", True),
        ({"initrd": "initrd"}, "quiet", True),
        ({"initrd": "initrd"}, "trace_event=dma:*", False),
        ({"initrd": "initrd"}, "rdinit=/bin/sh", False),
        ({"initrd": "initrd", "rootfs": "root.img"}, "", True),
        ({"rootfs": "root.img"}, "rdinit=/bin/sh", True),
    ],
)
def test_whose_trace_is_recorded(
    given: dict[str, str], append: str, traced: bool, tmp_path: Path
) -> None:
    (tmp_path / "root.img").write_bytes(bytes(512))
    (tmp_path / "initrd").write_bytes(b"070701")
    own = OwnSystem(**{k: tmp_path / v if k != "command" else v for k, v in given.items()})  # type: ignore[arg-type]
    kernel = Kernel("7.3.4", written(tmp_path, image()), None)
    system = GuestSystem(loads("", "test"), kernel, own, [], None, append)
    assert system.traced == traced
    assert ("trace_buf_size=" in system.command_line()) == traced
    assert ("rdinit=/topbit/init" in system.command_line()) == (traced and "initrd" in given)


def pool(tmp_path: Path, release: str, text: str, append: str = "") -> tuple[list[str], bool]:
    """Which words of the command line give the pool's size, and is it told?"""
    kernel = Kernel(release, written(tmp_path, image()), None)
    system = GuestSystem(loads(text, "test"), kernel, OwnSystem(), [], None, append)
    found = [word for word in system.command_line().split() if word.startswith("swiotlb=")]
    return found, any("swiotlb=8192" in note for note in system.notes)


@pytest.mark.parametrize(
    ("release", "mib", "words"),
    [
        ("7.3.4+deb13-cloud-arm64", 64, ["swiotlb=8192"]),
        ("7.4.0", 1, ["swiotlb=8192"]),
        ("7.3.4+deb13-cloud-arm64", 0, []),
        ("7.2.12+deb13-cloud-arm64", 64, []),
    ],
)
def test_a_wire_gets_a_pool_that_holds_its_buffers(
    tmp_path: Path, release: str, mib: int, words: list[str]
) -> None:
    found = pool(tmp_path, release, f"[workload]\nnetwork_mib = {mib}\n")
    assert found == (words, bool(words))


def test_who_asks_for_another_pool_gets_that(tmp_path: Path) -> None:
    wire = "[workload]\nnetwork_mib = 64\n"
    assert pool(tmp_path, "7.3.4", wire, "swiotlb=512") == (["swiotlb=512"], False)
    own = f"{wire}[guest]\nswiotlb_mib = 8\n"
    assert pool(tmp_path, "7.3.4", own) == (["swiotlb=4096"], False)
