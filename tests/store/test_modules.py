import lzma
import struct
from pathlib import Path

import pytest
import zstandard

import needs
from topbit.errors import InputError
from topbit.store.modules import ModuleTree, modinfo


def module(depends: str = "", extra: bytes = b"license=GPL\0") -> bytes:
    """The smallest ELF file with a .modinfo section."""
    info = extra + b"depends=" + depends.encode() + b"\0"
    names = b"\0.modinfo\0.shstrtab\0"
    info_at, names_at = 64, 64 + len(info)
    table = names_at + len(names)
    head = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH", 1, 183, 1, 0, 0, table, 0, 64, 0, 0, 64, 3, 2
    )

    def section(name: int, at: int, size: int) -> bytes:
        return struct.pack("<IIQQQQIIQQ", name, 1, 0, 0, at, size, 0, 0, 1, 0)

    sections = bytes(64) + section(1, info_at, len(info)) + section(10, names_at, len(names))
    return head + info + names + sections


@pytest.fixture
def tree(tmp_path: Path) -> ModuleTree:
    net = tmp_path / "kernel/drivers/net"
    net.mkdir(parents=True)
    (net / "virtio_net.ko.xz").write_bytes(lzma.compress(module("net_failover,virtio-ring")))
    (net / "net_failover.ko.zst").write_bytes(zstandard.compress(module("failover")))
    (net / "failover.ko").write_bytes(module())
    (net / "virtio-blk.ko").write_bytes(module("virtio_ring"))
    (net / "a.ko").write_bytes(module("b"))
    (net / "b.ko").write_bytes(module("a"))
    (net / "broken.ko").write_bytes(b"\x7fELF\x02\x01 and then nothing")
    (net / "orphan.ko").write_bytes(module("absent"))
    (tmp_path / "modules.builtin").write_text("kernel/drivers/virtio/virtio_ring.ko\n")
    return ModuleTree(tmp_path)


def test_added_modules_come_before_the_kernels_own(
    tree: ModuleTree, tmp_path_factory: pytest.TempPathFactory
) -> None:
    mine = tmp_path_factory.mktemp("mine")
    (mine / "my-net.ko").write_bytes(module("virtio_net"))
    (mine / "failover.ko.xz").write_bytes(lzma.compress(module(extra=b"license=MINE\0")))
    (mine / "notes.txt").write_bytes(b"")
    wider = tree.adding(sorted(mine.iterdir()))
    loaded = wider.closure(["my_net"])
    assert [m.name for m in loaded] == ["failover", "net_failover", "virtio_net", "my_net"]
    assert b"MINE" in loaded[0].data
    assert wider.builtin == tree.builtin
    assert not wider.has("notes")
    assert not tree.has("my_net")


@pytest.mark.parametrize(
    ("wanted", "loaded"),
    [
        (["virtio_net"], ["failover", "net_failover", "virtio_net"]),
        (["virtio-net"], ["failover", "net_failover", "virtio_net"]),
        (["virtio_blk", "failover"], ["virtio_blk", "failover"]),
        (["virtio_ring"], []),
        (["a"], ["b", "a"]),
        ([], []),
    ],
)
def test_dependencies_come_first(tree: ModuleTree, wanted: list[str], loaded: list[str]) -> None:
    modules = tree.closure(wanted)
    assert [m.name for m in modules] == loaded
    assert all(m.data.startswith(b"\x7fELF") for m in modules)


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ("virtio_nett", r"no module virtio_nett .*did you mean 'virtio_net'"),
        ("orphan", r"no module absent \(wanted by orphan\)"),
        ("broken", "not a kernel module"),
    ],
)
def test_what_cannot_be_loaded_is_said(tree: ModuleTree, wanted: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        tree.closure([wanted])


def test_kernel_without_modules_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no modules at all"):
        ModuleTree(tmp_path / "absent").closure(["nvme"])


@pytest.mark.parametrize("cut", [5, 20, 64, 100, -1])
def test_cut_off_module_is_refused(cut: int) -> None:
    with pytest.raises(InputError, match="not a kernel module"):
        modinfo(module("failover")[:cut][:150], "x.ko")


@pytest.mark.qemu
def test_modinfo_agrees_with_the_build_of_a_real_kernel() -> None:
    """Oracle: modules.order of the kernel's own build lists every module file that is there."""
    kernel = needs.kernel("6.18")
    tree = kernel.tree()
    order = (tree.folder / "modules.order").read_text().split()
    assert set(tree.files) == {Path(line).stem.replace("-", "_") for line in order}
    (blk,) = tree.closure(["virtio_blk"])
    assert modinfo(blk.data, "virtio_blk")["vermagic"].split()[0] == kernel.release


@pytest.mark.parametrize(
    ("driver", "has"), [("nvme", True), ("virtio-rng", True), ("virtio_blk", False), ("usb", False)]
)
def test_the_configuration_tells_what_is_built_in_where_no_list_does(
    driver: str, has: bool, tmp_path: Path
) -> None:
    options = frozenset({"BLK_DEV_NVME", "HW_RANDOM_VIRTIO", "VIRTIO_NET_NOT"})
    tree = ModuleTree(tmp_path, options)
    assert tree.has(driver) == has
    assert not has or tree.closure([driver]) == []
    (tmp_path / "modules.builtin").write_text("kernel/drivers/virtio/virtio_ring.ko\n")
    assert not ModuleTree(tmp_path, options).has(driver)
