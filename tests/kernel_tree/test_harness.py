"""What compiled helpers answer, and what is said of those that do not compile."""

from pathlib import Path

import numpy as np
import pytest

import needs
import small_tree
from topbit.addressing.dma_direct import BusDmaRegion
from topbit.errors import InputError, MissingToolError
from topbit.kernel_tree import harness
from topbit.kernel_tree.harness import Build, Case, compiled
from topbit.kernel_tree.tree import DMA_DIRECT, RSI, SourceTree

RANGES = (BusDmaRegion(0x4000_0000, 0, 0x1000), BusDmaRegion(0x5000_0000, 0x9000, 0x1000))
S = 1 << 40


def case(*addresses: int, bits: int = 41, ranges: tuple[BusDmaRegion, ...] = ()) -> Case:
    return Case(bits, ranges, np.array(addresses, np.uint64))


@pytest.fixture
def tree(tmp_path: Path) -> SourceTree:
    needs.program("gcc")
    return SourceTree(small_tree.write(tmp_path))


def test_the_helpers_of_a_tree_are_asked(tree: SourceTree) -> None:
    with compiled(tree, Build()) as helpers:
        plain, behind = helpers.ask(
            [case(0x1000, 1 << 42 | 0x1000), case(0x4000_0010, 0x5000_0020, 0, ranges=RANGES)]
        )
    assert (plain.pte_form, plain.prot_ns_shared) == (S, S)
    assert plain.unencrypted.tolist() == [S | 0x1000, S | 1 << 42 | 0x1000]
    assert plain.encrypted.tolist() == plain.back.tolist() == [0x1000, 1 << 42 | 0x1000]
    assert behind.unencrypted.tolist() == [S | 0x10, S | 0x9020, (1 << 64) - 1]
    assert behind.back.tolist()[:2] == [0x4000_0010, 0x5000_0020]
    assert behind.canonical.tolist() == [(1 << 64) - 1, (1 << 64) - 1, 0x4000_0000]


@pytest.mark.parametrize(
    ("shift", "pa_bits", "form"),
    [(12, 48, 1 << 51), (12, 52, 0x200), (14, 52, 0x200), (16, 52, 0x8000), (16, 48, 1 << 51)],
)
def test_the_shared_bit_in_page_tables(
    tree: SourceTree, shift: int, pa_bits: int, form: int
) -> None:
    with compiled(tree, Build(shift, pa_bits)) as helpers:
        (answer,) = helpers.ask([case(0, bits=52)])
    assert (answer.pte_form, answer.prot_ns_shared) == (form, 1 << 51)


def test_an_amd_host_has_its_bit_in_private_addresses(tree: SourceTree) -> None:
    with compiled(tree, Build(amd=True)) as helpers:
        (answer,) = helpers.ask([case(0x1000)])
    assert (answer.unencrypted[0], answer.encrypted[0], answer.back[0]) == (
        0x1000,
        S | 0x1000,
        0x1000,
    )
    assert answer.prot_ns_shared == 0


def test_regions_with_an_offset_of_their_own(tmp_path: Path) -> None:
    """Up to Linux 6.7 a region has its offset, too."""
    needs.program("gcc")
    root = small_tree.write(
        tmp_path, {DMA_DIRECT: ("	u64 size;\n", "	u64 size;\n	u64 offset;\n")}
    )
    text = (root / DMA_DIRECT).read_text()
    (root / DMA_DIRECT).write_text(
        text.replace("r->dma_start + (phys - r->cpu_start)", "phys - r->offset")
    )
    with compiled(SourceTree(root), Build()) as helpers:
        (answer,) = helpers.ask([case(0x5000_0020, ranges=RANGES)])
    assert answer.unencrypted.tolist() == [S | 0x9020]


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        (
            DMA_DIRECT,
            ("return from_bus(dev,", "return from_bus(bus,"),
            r"linux/dma-direct.h:46.*bus",
        ),
        (RSI[0], ("BIT(config.ipa_bits - 1)", "config.ipa_bits + x"), r"rsi\.c:3.*'x'"),
    ],
)
def test_a_tree_that_does_not_compile_says_where(
    tmp_path: Path, name: str, change: tuple[str, str], words: str
) -> None:
    needs.program("gcc")
    tree = SourceTree(small_tree.write(tmp_path, {name: change}))
    with pytest.raises(InputError, match=rf"do not compile: .*{words}"), compiled(tree, Build()):
        pass


def test_a_header_that_is_not_the_trees_leads_to_topbits(tmp_path: Path) -> None:
    needs.program("gcc")
    include = "#include <linux/mem_encrypt.h>"
    more = f"{include}\n#include <linux/new/thing.h>\n# include <../../escape.h>"
    tree = SourceTree(small_tree.write(tmp_path / "tree", {DMA_DIRECT: (include, more)}))
    with pytest.raises(InputError, match=r"escape\.h"), compiled(tree, Build()):
        pass


@pytest.mark.parametrize(
    ("code", "words"),
    [("*(volatile char *)0 = 0;", "crashed"), ("for (;;) ;", "did not end in 1 s")],
)
def test_helpers_that_crash_or_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, words: str
) -> None:
    needs.program("gcc")
    at = "	return from_bus(dev, dma_addr_canonical(addr));"
    tree = SourceTree(small_tree.write(tmp_path, {DMA_DIRECT: (at, f"	{code}\n{at}")}))
    with compiled(tree, Build()) as helpers:
        monkeypatch.setattr(harness, "TIMEOUT", 1)
        with pytest.raises(InputError, match=words):
            helpers.ask([case(0)])


def test_without_a_compiler(tree: SourceTree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MissingToolError, match="C compiler"), compiled(tree, Build()):
        pass


@pytest.mark.parametrize(
    ("build", "text"),
    [(Build(16, 52), "64K pages, 52-bit addresses"), (Build(amd=True), "AMD, C bit")],
)
def test_a_build_has_a_name(build: Build, text: str) -> None:
    assert str(build) == text
