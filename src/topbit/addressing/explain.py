"""What does one address mean to each agent of a Realm?

Sources: DEN0137 1.0 (protected and unprotected IPA); Linux 7.2
arch/arm64/include/asm/mem_encrypt.h, KVM kvm_gpa_from_fault; cover letter
of "arm64: realm: Fix DMA address for devices".
"""

from __future__ import annotations

from dataclasses import dataclass

from topbit.addressing.kernel_policy import ALIAS_RELEASES
from topbit.addressing.scheme import (
    IPA_BITS_MAX,
    IPA_BITS_MIN,
    U64,
    check_ipa_bits,
    prot_ns_shared_pte,
)
from topbit.errors import UsageError


def fmt(address: int) -> str:
    """How is an address printed? 0x and 16 digits."""
    return f"0x{address:016x}"


@dataclass(frozen=True, slots=True)
class Meaning:
    """What does one address mean in a Realm of a given width?

    Attributes:
        address: the address asked about.
        ipa_bits: width of the IPA space; the shared bit is bit ipa_bits-1.
        half: "protected", "unprotected" or "outside".
        canonical: the address with the shared bit cleared: the page as Linux names it.
        alias: the same page at the other half; None outside.
        looks_like: a wider IPA space in which the address would be an alias, if it is outside.
        agents: (who, what it does with the address), for people.
    """

    address: int
    ipa_bits: int
    half: str
    canonical: int
    alias: int | None
    looks_like: int | None
    agents: tuple[tuple[str, str], ...]


def explain(address: int, ipa_bits: int) -> Meaning:
    """What does `address` mean in a Realm of `ipa_bits`?

    Raises:
        UsageError: not a 64-bit address, or no width of a Realm.
    """
    check_ipa_bits(ipa_bits, "--ipa-bits")
    if not 0 <= address <= U64:
        raise UsageError(f"{address:#x} is no 64-bit address", mend="give 0 to 0xffffffffffffffff")
    shared = 1 << (ipa_bits - 1)
    canonical = address & ~shared
    if address >> ipa_bits:
        return Meaning(
            address, ipa_bits, "outside", canonical, None, _looks_like(address), _outside(ipa_bits)
        )
    if address & shared:
        agents, half = _unprotected(address, canonical, ipa_bits), "unprotected"
    else:
        agents, half = _protected(address, address | shared, ipa_bits), "protected"
    return Meaning(address, ipa_bits, half, canonical, address ^ shared, None, agents)


def _looks_like(address: int) -> int | None:
    width = address.bit_length()
    return width if IPA_BITS_MIN <= width <= IPA_BITS_MAX else None


def _unprotected(address: int, canonical: int, ipa_bits: int) -> tuple[tuple[str, str], ...]:
    bit = ipa_bits - 1
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


def _protected(address: int, alias: int, ipa_bits: int) -> tuple[tuple[str, str], ...]:
    bit = ipa_bits - 1
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


def _outside(ipa_bits: int) -> tuple[tuple[str, str], ...]:
    return (
        ("guest CPU", "stage 2 faults; the RMM injects an external abort"),
        (
            "guest DMA",
            f"no helper makes such an address from a valid one: only bit {ipa_bits - 1} is set",
        ),
        ("any device", "F_TRANSLATION: it must fault, and never wrap onto valid memory"),
        ("VMM, emulated device", "finds no memory slot: the request must fail"),
    )


def pte_form(ipa_bits: int) -> int | None:
    """Which wrong bit would a kernel with 52-bit PAs set (page-table form)? None: the right one."""
    value = prot_ns_shared_pte(ipa_bits)
    return None if value == 1 << (ipa_bits - 1) else value
