"""Where the helpers are in a tree."""

from pathlib import Path

import pytest

import small_tree
from topbit.errors import InputError
from topbit.kernel_tree.tree import (
    DMA_DIRECT,
    MEM_ENCRYPT,
    NEEDED,
    PGTABLE,
    PGTABLE_PROT,
    RSI,
    SourceTree,
)


def test_what_a_tree_holds(tmp_path: Path) -> None:
    tree = SourceTree(small_tree.write(tmp_path))
    assert (tree.release, tree.rsi) == ("7.9.1", RSI[0])
    bit, macro = tree.shared_bit(), tree.shared_macro()
    assert bit is not None
    assert macro is not None
    assert (bit.place, bit.text) == (f"{RSI[0]}:3", "prot_ns_shared = BIT(config.ipa_bits - 1);")
    assert (macro.place, macro.text.count("\n")) == (f"{PGTABLE_PROT}:1", 1)
    entry = tree.phys_to_pte()
    assert (entry.line, entry.text.splitlines()[-1]) == (3, "#endif")
    assert tree.line_of(DMA_DIRECT, "dma_to_phys") == f"{DMA_DIRECT}:44"
    assert tree.line_of(DMA_DIRECT, "nothing") == DMA_DIRECT


def test_since_7_4_the_code_for_realms_is_firmwares(tmp_path: Path) -> None:
    root = small_tree.write(tmp_path)
    (root / RSI[1]).parent.mkdir(parents=True)
    (root / RSI[0]).rename(root / RSI[1])
    assert SourceTree(root).rsi == RSI[1]


def test_a_tree_without_realms(tmp_path: Path) -> None:
    tree = SourceTree(small_tree.write(tmp_path, {RSI[0]: None}))
    assert (tree.rsi, tree.shared_bit(), tree.shared_macro()) == (None, None, None)


@pytest.mark.parametrize("name", ["Makefile", *NEEDED])
def test_a_file_that_is_missing_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=f"has no {name}.*looked for Makefile, {NEEDED[0]}"):
        SourceTree(small_tree.write(tmp_path, {name: None}))


def test_what_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder"):
        SourceTree(tmp_path / "none")


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        (RSI[0], ("prot_ns_shared", "other"), "has not an assignment of prot_ns_shared"),
        (RSI[0], ("config.ipa_bits", "width"), "from something else than config.ipa_bits"),
        (PGTABLE_PROT, ("PROT_NS_SHARED", "PROT_OTHER"), "has not the definition"),
        (PGTABLE, ("__phys_to_pte_val", "to_entry"), "has not __phys_to_pte_val"),
    ],
)
def test_what_is_looked_for_and_not_found(
    tmp_path: Path, name: str, change: tuple[str, str], words: str
) -> None:
    tree = SourceTree(small_tree.write(tmp_path, {name: change}))
    with pytest.raises(InputError, match=words):
        assert [tree.shared_bit(), tree.shared_macro(), tree.phys_to_pte()] == []


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    tree = SourceTree(small_tree.write(tmp_path))
    (tmp_path / MEM_ENCRYPT).unlink()
    (tmp_path / MEM_ENCRYPT).mkdir()
    with pytest.raises(InputError, match="cannot be read"):
        tree.read(MEM_ENCRYPT)


def test_a_makefile_without_a_version(tmp_path: Path) -> None:
    root = small_tree.write(tmp_path)
    (root / "Makefile").write_text("all:\n")
    assert SourceTree(root).release == "unknown"
