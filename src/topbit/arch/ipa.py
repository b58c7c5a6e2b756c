"""Whose address is a number, and in which half of a Realm's address space does it lie?

A Realm's IPA space has two halves. Below is the protected address range, private memory. Above is
the unprotected half, shared memory: its addresses carry the *shared bit*, the top bit of the
space. A page has an address in each, its *aliases*. `IpaSpace` is asked which half, which alias,
which bit; nobody else writes it out.

A number that names memory is one of four kinds, and each is a type: what takes a `Pa` takes no
`Ipa` and no bare number. A number becomes an address where somebody says so, `Pa(number)`, or where
it is found to be one (`IpaSpace.in_par`, `Granules.has`). At run time all of them are ints
(`NewType`). To a type checker an address and an offset are an address of the same kind again, which
a `NewType` alone would forget, and two addresses are a distance.

Sources: DEN0137 1.0, "Realm IPA space" (protected and unprotected IPA) and RmiFeatureRegister0
(S2SZ). The questions are those of TF-RMM (addr_in_par), the types those of rust-vmm
(vm-memory, address.rs).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NewType, TypeAlias, TypeGuard

from topbit.errors import UsageError

if TYPE_CHECKING:
    from typing import Self, overload

    class _Address(int):
        def __add__(self, offset: int, /) -> Self: ...
        def __and__(self, mask: int, /) -> Self: ...
        @overload
        def __sub__(self, other: Self, /) -> int: ...  # type: ignore[overload-overlap]
        @overload
        def __sub__(self, offset: int, /) -> Self: ...
        def __sub__(self, offset: int, /) -> int: ...

    class Ipa(_Address):
        """A guest's physical address, the input of stage 2.

        What Linux in the guest calls phys_addr_t is the one with the shared bit clear.
        """

    class Pa(_Address):
        """A physical address of the platform, the output of stage 2."""

    class Iova(_Address):
        """An address that arrives at the SMMU, and at which VFIO maps a page for devices."""

    class DmaAddr(_Address):
        """What a driver gives its device to use (dma_addr_t)."""

else:
    Ipa = NewType("Ipa", int)
    Pa = NewType("Pa", int)
    Iova = NewType("Iova", int)
    DmaAddr = NewType("DmaAddr", int)

Half: TypeAlias = Literal["protected", "unprotected", "outside"]

IPA_BITS_MIN, IPA_BITS_MAX = 32, 52


def check_ipa_bits(bits: int, where: str = "ipa_bits") -> int:
    """Is `bits` a width that a Realm's IPA space can have? Returns it.

    Source: DEN0137 1.0 RmiFeatureRegister0.S2SZ; TF-RMM lib/s2tt S2TT_MIN_IPA_BITS.

    Raises:
        UsageError: not in 32..52; `where` says who gave it.
    """
    if not IPA_BITS_MIN <= bits <= IPA_BITS_MAX:
        raise UsageError(
            f"{bits} is no width of a Realm's IPA space",
            where=where,
            hint=f"give a number from {IPA_BITS_MIN} to {IPA_BITS_MAX}; the shared bit is "
            "bit ipa_bits-1",
        )
    return bits


@dataclass(frozen=True, slots=True)
class IpaSpace:
    """Which addresses has a Realm whose IPA space is `bits` wide?

    A range is (start, size). Any int may be asked about: a word of a hostile guest is an address
    of this space only once `contains` or `in_par` has said so, which is what they tell the type
    checker.

    Attributes:
        bits: width of the space, 32 to 52.
        shared_bit: the shared bit as a value: also the size of a half, and the first address of
            the unprotected one.
        size: bytes of both halves: also the first number that is no address of the space.

    Raises:
        UsageError: no such width.
    """

    bits: int
    shared_bit: int = field(init=False, repr=False, compare=False)
    size: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_ipa_bits(self.bits)
        object.__setattr__(self, "shared_bit", 1 << self.bit_number)
        object.__setattr__(self, "size", 1 << self.bits)

    @property
    def bit_number(self) -> int:
        """Which bit is the shared bit, counted from 0?"""
        return self.bits - 1

    def contains(self, ipa: int, size: int = 1) -> TypeGuard[Ipa]:
        """Do all `size` bytes at `ipa` lie in the space, in whichever half?"""
        return 0 <= ipa <= self.size - size

    def in_par(self, ipa: int, size: int = 1) -> TypeGuard[Ipa]:
        """Do all `size` bytes at `ipa` lie in the protected address range (private memory)?"""
        return 0 <= ipa <= self.shared_bit - size

    def in_unprotected(self, ipa: int, size: int = 1) -> TypeGuard[Ipa]:
        """Do all `size` bytes at `ipa` lie in the unprotected half (shared memory)?"""
        return self.shared_bit <= ipa <= self.size - size

    def half(self, address: int) -> Half:
        """In which half does `address` lie: "protected", "unprotected", or "outside" of both?"""
        if not self.contains(address):
            return "outside"
        return "protected" if self.in_par(address) else "unprotected"

    def has_shared_bit(self, address: int) -> bool:
        """Does `address` carry the shared bit? Asked of the bit alone, also outside the space."""
        return bool(address & self.shared_bit)

    def protected(self, address: int) -> Ipa:
        """Which address has the same page in the protected half: the one that Linux knows it by?

        Clears exactly the shared bit: what lay outside the space still does.
        """
        return Ipa(address & ~self.shared_bit)

    def unprotected(self, address: int) -> Ipa:
        """Which address has the same page in the unprotected half? Sets exactly the shared bit."""
        return Ipa(address | self.shared_bit)

    def alias(self, address: int) -> Ipa:
        """Which address has the same page in the other half?"""
        return Ipa(address ^ self.shared_bit)
