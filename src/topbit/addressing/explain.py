"""What does one address mean to each agent of a Realm?

Sources: DEN0137 1.0 (protected and unprotected IPA); Linux 7.2
arch/arm64/include/asm/mem_encrypt.h, KVM kvm_gpa_from_fault; cover letter
of "arm64: realm: Fix DMA address for devices".
"""

from __future__ import annotations

from dataclasses import dataclass

from topbit.addressing.kernel_policy import ALIAS_RELEASES
from topbit.addressing.scheme import U64, prot_ns_shared_pte
from topbit.arch.ipa import IPA_BITS_MAX, IPA_BITS_MIN, Half, Ipa, IpaSpace, check_ipa_bits
from topbit.errors import UsageError


def fmt(address: int) -> str:
    """How is an address printed? 0x and 16 digits."""
    return f"0x{address:016x}"


@dataclass(frozen=True, slots=True)
class Meaning:
    """What does one address mean in a Realm of a given width?

    Attributes:
        address: the address asked about.
        ipa_bits: width of the IPA space.
        half: in which half of it the address lies, if in any.
        canonical: the address with the shared bit cleared: the page as Linux names it.
        alias: the same page at the other half; None outside.
        looks_like: a wider IPA space in which the address would be an alias, if it is outside.
        agents: (who, what it does with the address), for people.
    """

    address: int
    ipa_bits: int
    half: Half
    canonical: Ipa
    alias: Ipa | None
    looks_like: int | None
    agents: tuple[tuple[str, str], ...]


SPECIAL: dict[int, tuple[str, tuple[tuple[str, str], ...]]] = {
    U64: (
        "DMA_MAPPING_ERROR: no address, but how dma_map_*() says that it failed",
        (
            ("guest kernel", "returns it (Linux include/linux/dma-mapping.h); the trace shows it"),
            ("why", "the bounce pool was full or missing, or no address fits the device's mask"),
            ("driver", "must ask dma_mapping_error(), and must not give it to a device"),
            ("any device", "that uses it was given it by a driver that did not ask"),
        ),
    ),
    0: (
        "NULL: in most machines no address at all",
        (
            ("guest kernel", "dma_alloc_coherent() that failed, and dma_free of what never was"),
            ("driver", "a descriptor that was never filled in, or was cleared too early"),
            ("any device", "that uses it has no address yet, or has an MSI vector without one"),
            ("machines", "whose RAM begins at 0 (x86, some Arm boards) have memory there"),
        ),
    ),
}
"""Addresses that say something else than a place: what, and what each agent means by it."""


def explain(address: int, ipa_bits: int) -> Meaning:
    """What does `address` mean in a Realm of `ipa_bits`?

    Raises:
        UsageError: not a 64-bit address, or no width of a Realm.
    """
    check_ipa_bits(ipa_bits, "--ipa-bits")
    if not 0 <= address <= U64:
        raise UsageError(f"{address:#x} is no 64-bit address", hint="give 0 to 0xffffffffffffffff")
    space = IpaSpace(ipa_bits)
    half, canonical, alias = space.half(address), space.protected(address), space.alias(address)
    bit = space.bit_number
    if half == "outside":
        wider = _looks_like(address)
        return Meaning(address, ipa_bits, half, canonical, None, wider, _outside(bit))
    if half == "unprotected":
        agents = _unprotected(address, canonical, bit)
    else:
        agents = _protected(alias, bit)
    return Meaning(address, ipa_bits, half, canonical, alias, None, agents)


def _looks_like(address: int) -> int | None:
    width = address.bit_length()
    return width if IPA_BITS_MIN <= width <= IPA_BITS_MAX else None


def _unprotected(address: int, canonical: Ipa, bit: int) -> tuple[tuple[str, str], ...]:
    return (
        ("guest CPU", f"sees the shared page {fmt(canonical)} here (stage 1 sets bit {bit})"),
        (
            "guest DMA",
            f"Linux from {ALIAS_RELEASES} on gives devices this address for the shared page "
            f"{fmt(canonical)}; older Realm guests gave {fmt(canonical)}",
        ),
        ("RMM", "maps it to whatever Non-secure page the host names (RTT_MAP_UNPROTECTED)"),
        ("VMM, VFIO", f"must map IOVA {fmt(address)} while the page is shared"),
        ("VMM, emulated device", f"must mask bit {bit} off and use {fmt(canonical)}"),
        ("KVM", f"masks bit {bit} off a faulting address too (kvm_gpa_from_fault)"),
        ("untrusted device (T=0)", "reaches the shared page through the host's stage 2"),
        ("trusted device (T=1)", "reaches the shared page through the Realm's own table (NS = 1)"),
    )


def _protected(alias: Ipa, bit: int) -> tuple[tuple[str, str], ...]:
    return (
        ("guest CPU", "reaches private memory here, if its RIPAS is RAM"),
        (
            "guest DMA",
            f"not an address for shared memory: the page's alias {fmt(alias)} is; only a "
            "device that was accepted into the Realm may use private memory",
        ),
        ("RMM", "maps it to a granule in the Realm PAS, or faults: the host cannot reach it"),
        ("VMM, VFIO", f"must not map private pages; a shared page is mapped at {fmt(alias)}"),
        ("VMM, emulated device", f"looks it up as it is (bit {bit} is clear), if it is shared"),
        (
            "untrusted device (T=0)",
            "F_TRANSLATION where the host maps the alias only; granule protection stops it where "
            "tables lead to a private page",
        ),
        ("trusted device (T=1)", "reaches private memory; faults where the page is shared"),
    )


def _outside(bit: int) -> tuple[tuple[str, str], ...]:
    return (
        ("guest CPU", "stage 2 faults; the RMM injects an external abort"),
        (
            "guest DMA",
            f"no helper makes such an address from a valid one: only bit {bit} is set",
        ),
        ("any device", "F_TRANSLATION: it must fault, and never wrap onto valid memory"),
        ("VMM, emulated device", "finds no memory slot: the request must fail"),
    )


def pte_form(ipa_bits: int) -> int | None:
    """Which wrong bit would a kernel with 52-bit PAs set (page-table form)? None: the right one."""
    value = prot_ns_shared_pte(ipa_bits)
    return None if value == IpaSpace(ipa_bits).shared_bit else value
