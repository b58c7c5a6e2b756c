"""What each kernel gives devices, held against what was read in its sources."""

import pytest

from topbit.addressing.scheme import SCHEMES
from topbit.errors import UsageError
from topbit.machine.model.dma_table import Outcome, What, Who, rows

T0, T1, NARROW, IOMMU = Who.UNTRUSTED, Who.TRUSTED, Who.NARROW, Who.IOMMU
S = 1 << 40
BUFFER, BOUNCE, PAGES, REGISTERS = 0x8001_0000, 0x8010_0000, 0x8002_0000, 0x5000_0000


def outcome(kernel: str, scheme: str, who: Who, what: What, ipa_bits: int = 41) -> Outcome:
    (found,) = [
        row.outcome
        for row in rows(kernel, ipa_bits=ipa_bits, schemes=[scheme])
        if (row.who, row.what) == (who, what)
    ]
    return found


# kernel/dma/direct.h:dma_direct_map_phys (7.2), direct.c (7.3), dma-iommu.c, swiotlb.c:swiotlb_map.
@pytest.mark.parametrize(
    ("kernel", "scheme", "who", "what", "kind", "formula", "address"),
    [
        ("7.3", "arm-cca", T0, What.BUFFER, "bounced", "B|S", BOUNCE | S),
        ("7.2", "arm-cca", T0, What.BUFFER, "bounced", "B|S", BOUNCE | S),
        ("6.14.0", "arm-cca", T0, What.BUFFER, "silent failure", "B", BOUNCE),
        ("7.3", "arm-cca", T1, What.COHERENT, "address", "M|S", PAGES | S),
        ("7.3", "arm-cca", NARROW, What.BUFFER, "error", "", None),
        ("7.3", "arm-cca", NARROW, What.COHERENT, "silent error", "", None),
        ("7.2", "arm-cca", T0, What.MMIO, "silent error", "", None),
        ("7.3", "arm-cca", T0, What.MMIO, "error", "", None),
        ("6.15", "arm-cca", T0, What.MMIO, "address", "P", REGISTERS),
        ("7.2", "arm-cca", T0, What.MMIO_SHARED, "address", "P", REGISTERS),
        ("7.3", "arm-cca", T0, What.MMIO_SHARED, "address", "P|S", REGISTERS | S),
        ("7.2", "arm-cca", T0, What.REMAPPED, "error", "", None),
        ("7.3", "arm-cca", T0, What.REMAPPED, "address", "M|S", PAGES | S),
        ("7.3", "arm-cca", T0, What.ATOMIC, "address", "M|S", PAGES | S),
        ("7.3", "arm-cca", IOMMU, What.COHERENT, "silent error", "", None),
        ("7.2", "arm-cca", IOMMU, What.COHERENT, "silent failure", "IOVA", 0xFFFF_F000),
        ("7.3", "arm-cca", T0, What.VIRTIO, "silent failure", "P", BUFFER),
        ("7.3", "intel-tdx", T0, What.VIRTIO, "error", "", None),
        ("7.3", "none", T0, What.VIRTIO, "address", "P", BUFFER),
        ("7.2", "arm-pkvm", T0, What.BUFFER, "silent failure", "P", BUFFER),
        ("7.3", "arm-pkvm", T0, What.BUFFER, "bounced", "B", BOUNCE),
        ("7.3", "amd-sme", T0, What.BUFFER, "address", "P|C", BUFFER | 1 << 47),
        ("7.3", "amd-sme", NARROW, What.BUFFER, "bounced", "B", BOUNCE),
        ("7.3", "amd-sme", NARROW, What.COHERENT, "address", "M", PAGES),
        ("7.3", "amd-sev-snp", T0, What.BUFFER, "bounced", "B", BOUNCE),
        ("7.3", "intel-tdx", T0, What.SHARED, "address", "P", BUFFER),
        ("7.3", "s390-pv", T0, What.COHERENT, "address", "M", PAGES),
        ("7.3", "none", T0, What.BUFFER, "address", "P", BUFFER),
        ("7.3", "sev-tio", T1, What.BUFFER, "address", "P", BUFFER),
        ("7.3", "sev-tio", T1, What.SHARED, "address", "P+offset", BUFFER + (1 << 46)),
        ("7.3", "sev-tio", T0, What.BUFFER, "bounced", "B", BOUNCE),
        ("proposed:zero-based-iova", "arm-cca", T0, What.BUFFER, "bounced", "B", BOUNCE),
        ("proposed:zero-based-iova", "arm-cca", T1, What.BUFFER, "bounced", "B|S", BOUNCE | S),
        ("proposed:device-offsets", "arm-cca", T0, What.BUFFER, "bounced", "B+offset", BOUNCE + S),
        ("proposed:private-for-trusted", "arm-cca", T1, What.BUFFER, "address", "P", BUFFER),
        ("proposed:private-for-trusted", "arm-cca", T0, What.BUFFER, "bounced", "B|S", BOUNCE | S),
    ],
)
def test_what_a_device_is_given(
    kernel: str, scheme: str, who: Who, what: What, kind: str, formula: str, address: int | None
) -> None:
    got = outcome(kernel, scheme, who, what)
    assert (got.kind, got.formula, got.address) == (kind, formula, address)


@pytest.mark.parametrize(
    ("ipa_bits", "what", "formula", "said"),
    [
        (52, What.BUFFER, "", "swiotlb full"),  # observed on 7.3.4
        (52, What.COHERENT, "M|0x200", ""),
        (51, What.SHARED, "P|0x100", ""),
        (50, What.BUFFER, "B|S", ""),
    ],
)
def test_wide_realms(ipa_bits: int, what: What, formula: str, said: str) -> None:
    got = outcome("7.3", "arm-cca", T0, what, ipa_bits)
    assert (got.formula, got.said) == (formula, said)
    assert (got.kind == "silent failure") is ("0x" in formula)


@pytest.mark.parametrize(
    ("kernel", "who", "what", "said"),
    [
        ("7.3", NARROW, What.BUFFER, "swiotlb overflow"),
        ("7.2", NARROW, What.SHARED, "DMA addr overflow"),
        ("7.3", T0, What.MMIO, "DMA addr overflow"),
        ("7.2", T0, What.NO_BOUNCE, ""),
    ],
)
def test_what_the_kernel_says_of_an_error(kernel: str, who: Who, what: What, said: str) -> None:
    assert outcome(kernel, "arm-cca", who, what).said == said


def test_which_rows_there_are() -> None:
    found = rows("7.3")
    assert {row.scheme for row in found} == set(SCHEMES)
    assert len({(row.scheme, row.what, row.who) for row in found}) == len(found) == 413
    assert {row.who for row in found if row.scheme == "amd-sme"} == {T0, NARROW, IOMMU}
    assert {row.what for row in rows("7.1", schemes=["none"])} == {
        *(What.BUFFER, What.MMIO, What.COHERENT, What.ATOMIC, What.REMAPPED, What.VIRTIO)
    }


def test_a_kernel_that_cannot_be_a_realm_has_no_such_rows() -> None:
    assert rows("6.12", schemes=["arm-cca"]) == []
    assert {row.scheme for row in rows("6.12")} == set(SCHEMES) - {"arm-cca"}


@pytest.mark.parametrize("scheme", ["arm-ccaa", ""])
def test_no_such_platform(scheme: str) -> None:
    with pytest.raises(UsageError, match="no scheme"):
        rows("7.3", schemes=[scheme])
