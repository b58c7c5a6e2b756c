import contextlib
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import needs
from device_trees import dts, dump
from topbit.errors import InputError
from topbit.machine.qemu.host import fdt

names = st.text("abcdefghijklmnopqrstuvwxyz0123456789,._+-@", min_size=1, max_size=20)


def nodes(depth: int = 3) -> st.SearchStrategy[fdt.Node]:
    return st.builds(
        fdt.Node,
        names,
        st.dictionaries(names, st.binary(max_size=20), max_size=4),
        st.lists(nodes(depth - 1), max_size=3) if depth else st.just([]),
    )


@settings(deadline=None)
@given(nodes(), st.lists(st.tuples(st.integers(1, 2**64 - 1), st.integers(1, 2**64 - 1))))
def test_what_is_packed_is_parsed(root: fdt.Node, reserved: list[tuple[int, int]]) -> None:
    root.name = ""
    tree = fdt.Tree(root, reserved, boot_cpu=3)
    assert fdt.parse(fdt.pack(tree)) == tree


def test_dtc_reads_the_same_from_an_unchanged_tree() -> None:
    assert dts(fdt.pack(fdt.parse(dump()))) == dts(dump())


def test_dtc_writes_what_is_parsed(tmp_path: Path) -> None:
    source = tmp_path / "x.dts"
    source.write_text(
        '/dts-v1/; /memreserve/ 0x1000 0x20;\n/ { a = <1 2>; soc { compatible = "x", "y"; '
        "uart@9000000 { reg = <0x9000000>; flag; }; }; };"
    )
    blob = subprocess.check_output([needs.tool("dtc"), "-q", "-O", "dtb", str(source)])
    tree = fdt.parse(blob)
    assert tree.reserved == [(0x1000, 0x20)]
    assert tree.root.cells("a") == (1, 2)
    uart = tree.root.child("soc").child("uart")
    assert uart == fdt.Node("uart@9000000", {"reg": fdt.cells(0x9000000), "flag": b""})
    assert tree.root.child("soc").is_compatible("y")
    assert tree.root.remove(compatible="x") == 1
    with pytest.raises(KeyError, match="no node soc"):
        tree.root.child("soc")


@pytest.mark.parametrize("blob", [b"", b"\xd0\x0d\xfe\xed", bytes(100), b"MZ" * 100])
def test_what_is_no_tree_is_refused(blob: bytes) -> None:
    with pytest.raises(InputError, match="device tree"):
        fdt.parse(blob)


@settings(deadline=None)
@given(st.data())
def test_damaged_tree_is_parsed_or_refused(data: st.DataObject) -> None:
    small = fdt.pack(
        fdt.Tree(fdt.Node("", {"a": b"b"}, [fdt.Node("c", {"d": bytes(9)})]), [(1, 2)])
    )
    blob = bytearray(small)
    for _ in range(data.draw(st.integers(1, 4))):
        blob[data.draw(st.integers(0, len(blob) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(InputError):
        fdt.parse(bytes(blob[: data.draw(st.integers(0, len(blob)))]))
