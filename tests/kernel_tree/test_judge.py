"""Which convention a tree implements, and every fault that one can have."""

import functools
from pathlib import Path

import pytest

import needs
import small_tree
from topbit.kernel_tree.judge import Judgement, judge
from topbit.kernel_tree.tree import (
    ARM64_MEM_ENCRYPT,
    DMA_DIRECT,
    MEM_ENCRYPT,
    RSI,
    SourceTree,
)

PAGE_TABLES = ("page tables", "warning")
PLAIN, ORDER = ("plain", "violation"), ("order", "violation")
ENCODED = (RSI[0], ("BIT(config.ipa_bits - 1)", "__phys_to_pte_val(BIT(config.ipa_bits - 1))"))
OLD_ORDER = (
    DMA_DIRECT,
    ("from_bus(dev, dma_addr_canonical(addr))", "dma_addr_canonical(from_bus(dev, addr))"),
)
NO_ALIAS = (ARM64_MEM_ENCRYPT, ("#define dma_addr_unencrypted(x) ((x) | PROT_NS_SHARED)", ""))
CLEARS_MORE = (ARM64_MEM_ENCRYPT, ("((x) & ~PROT_NS_SHARED)", "((x) & (PROT_NS_SHARED - 1))"))
PRIVATE = (
    MEM_ENCRYPT,
    ("#define dma_addr_encrypted(x) (x)", "#define dma_addr_encrypted(x) ((x) | 1)"),
)
OTHER_BIT = (RSI[0], ("BIT(config.ipa_bits - 1)", "BIT(config.ipa_bits - 2)"))


def judged(tmp_path: Path, *changes: tuple[str, tuple[str, str] | None]) -> Judgement:
    needs.program("gcc")
    return judge(SourceTree(small_tree.write(tmp_path, dict(changes))))


@pytest.mark.parametrize(
    ("changes", "convention", "faults"),
    [
        ((), "alias", [PAGE_TABLES]),
        ((ENCODED,), "alias", [("page-table encoding", "violation")]),
        ((OLD_ORDER,), "alias", [ORDER, PAGE_TABLES]),
        ((NO_ALIAS,), "plain", [PAGE_TABLES, PLAIN]),
        (
            (NO_ALIAS, OLD_ORDER),
            "plain",
            [ORDER, PAGE_TABLES, PLAIN],
        ),
        ((CLEARS_MORE,), "alias", [("clears more", "violation"), PAGE_TABLES]),
        ((PRIVATE,), "alias", [PAGE_TABLES, ("private", "violation")]),
        ((OTHER_BIT,), "alias", [("bit", "violation"), PAGE_TABLES]),
        (((RSI[0], None), (ARM64_MEM_ENCRYPT, None)), "none", []),
        (((RSI[0], None), (ARM64_MEM_ENCRYPT, None), OLD_ORDER), "none", [ORDER]),
    ],
)
def test_every_fault_is_found_and_no_other(
    tmp_path: Path,
    changes: tuple[tuple[str, tuple[str, str] | None], ...],
    convention: str,
    faults: list[tuple[str, str]],
) -> None:
    got = judged(tmp_path, *changes)
    assert got.convention == convention
    assert sorted((fault.name, fault.severity) for fault in got.faults) == faults
    assert len(got.violations) == sum(severity == "violation" for _, severity in faults)
    assert got.asked > 90_000


def test_a_fault_has_an_example_and_a_place(tmp_path: Path) -> None:
    (fault,) = judged(tmp_path, ENCODED).faults
    assert (fault.address, fault.got, fault.expected) == (
        0x4000_0000,
        0x4000_0100,
        1 << 50 | 1 << 30,
    )
    assert fault.place == f"{RSI[0]}:3"
    assert fault.where == (
        "4K pages, 52-bit addresses: 51 to 52 IPA bits; 16K pages, 52-bit addresses: 51 to 52 IPA "
        "bits; 64K pages, 52-bit addresses: 49 to 52 IPA bits"
    )


def test_the_cpus_side_is_told_by_itself(tmp_path: Path) -> None:
    (fault,) = judged(tmp_path).faults
    assert (fault.got, fault.expected) == (1 << 50, 0x100)
    assert {str(build)[:3] for build, _ in fault.shown} == {"4K ", "16K", "64K"}
    assert min(bits for _, bits in fault.shown) == 49


@functools.cache
def released(name: str) -> Judgement:
    return judge(SourceTree(needs.source(name)))


# Debian's packages of these kernels, as they are.
@pytest.mark.parametrize(
    ("series", "convention", "faults", "place"),
    [
        ("6.12", "none", ["order"], DMA_DIRECT),
        ("7.2", "alias", ["page-table encoding"], RSI[0]),
        ("7.3", "alias", ["page-table encoding"], RSI[0]),
    ],
)
def test_released_kernels(series: str, convention: str, faults: list[str], place: str) -> None:
    got = released(series)
    assert (got.convention, [fault.name for fault in got.faults]) == (convention, faults)
    assert got.release.startswith(f"{series}.")
    file, line = got.faults[0].place.split(":")
    assert file == place
    assert int(line) > 50
    if convention == "alias":
        by_build = {str(build): bits for build, bits in reversed(got.faults[0].shown)}
        assert by_build == {
            "4K pages, 52-bit addresses": 51,
            "16K pages, 52-bit addresses": 51,
            "64K pages, 52-bit addresses": 49,
        }
