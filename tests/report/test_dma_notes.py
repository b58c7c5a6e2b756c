"""Which rows are disputed or latent faults?"""

import pytest

from topbit.addressing.kernel_policy import policy_for
from topbit.machine.model.dma_table import rows
from topbit.report.dma_notes import NOTES, notes_of

KERNELS = [("6.14.0", 41), ("7.2", 41), ("7.3", 41), ("7.3", 52)]


def noted(kernel: str, ipa_bits: int) -> dict[int, set[tuple[str, str, str]]]:
    """Rows of each note: scheme, device, request."""
    found: dict[int, set[tuple[str, str, str]]] = {}
    for row in rows(kernel, ipa_bits=ipa_bits):
        for number in notes_of(row, policy_for(kernel)):
            found.setdefault(number, set()).add((row.scheme, row.who.value, row.what.value))
    return found


def test_every_note_is_about_some_row() -> None:
    assert set().union(*(noted(*which) for which in KERNELS)) == set(range(1, len(NOTES) + 1))


def test_no_note_is_about_a_machine_without_a_guest() -> None:
    for which in KERNELS:
        schemes = {row[0] for found in noted(*which).values() for row in found}
        assert schemes.isdisjoint({"none", "amd-sme"})


T0, T1, NARROW, IOMMU = "T=0", "T=1", "32-bit", "vIOMMU"


@pytest.mark.parametrize(
    ("number", "words", "which", "scheme", "has", "has_not"),
    [
        (1, "drops the bit", 2, "arm-cca", (T0, "buffer"), (T1, "buffer")),
        (2, "accepted", 2, "arm-cca", (T1, "coherent"), (T1, "MMIO")),
        (3, "32 bits", 2, "arm-cca", (NARROW, "buffer"), (T0, "buffer")),
        (4, "No line", 2, "arm-cca", (NARROW, "coherent"), (IOMMU, "coherent")),
        (5, "misleads", 2, "arm-pkvm", (T0, "MMIO"), (T0, "buffer")),
        (6, "Peer-to-peer", 2, "arm-cca", (T0, "MMIO|CC_SHARED"), (T0, "MMIO")),
        (7, "vIOMMU", 1, "s390-pv", (IOMMU, "coherent"), (IOMMU, "MMIO")),
        (8, "never made shared", 1, "arm-cca", (T0, "coherent, remapped"), (T0, "coherent")),
        (9, "ACCESS_PLATFORM", 2, "arm-cca", (T0, "virtio, bypassing"), (T0, "buffer")),
        (10, "restricted", 1, "arm-pkvm", (T0, "buffer"), (T1, "buffer")),
        (11, "page-table", 3, "arm-cca", (T0, "CC_SHARED"), (T0, "MMIO")),
        (12, "0 slots used", 3, "arm-cca", (T0, "buffer"), (T0, "MMIO")),
    ],
)
def test_what_a_note_is_about(
    number: int,
    words: str,
    which: int,
    scheme: str,
    has: tuple[str, str],
    has_not: tuple[str, str],
) -> None:
    assert words in NOTES[number - 1].text
    found = noted(*KERNELS[which])[number]
    assert (scheme, *has) in found
    assert (scheme, *has_not) not in found


@pytest.mark.parametrize("number", [8, 10])
def test_what_is_mended_is_told_no_more(number: int) -> None:
    assert number in noted("7.2", 41)
    assert number not in noted("7.3", 41)
