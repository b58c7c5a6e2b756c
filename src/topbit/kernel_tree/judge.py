"""Which convention does a tree implement, and where does it break it?

The tree's helpers are asked with boundary and random addresses, in Realms of 32 to 52 bits, on
buses with and without dma-ranges, and compared with `addressing/`. A difference is a finding with
one address as its example, for all builds and widths that show it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from topbit.addressing.dma_direct import (
    DMA_MAPPING_ERROR,
    BusDmaRegion,
    DmaDevice,
    dma_to_phys,
    phys_to_dma,
    phys_to_dma_unencrypted,
    translate_phys_to_dma,
)
from topbit.addressing.scheme import U64, Scheme, amd_sme, arm_cca
from topbit.arch.ipa import IPA_BITS_MAX, IPA_BITS_MIN, DmaAddr, Ipa, IpaSpace
from topbit.kernel_tree.harness import BUILDS, Answer, Build, Case, compiled
from topbit.kernel_tree.tree import ARM64_MEM_ENCRYPT, DMA_DIRECT, SourceTree

Convention = Literal["alias", "plain", "none"]
Severity = Literal["violation", "warning"]
BUSES: tuple[tuple[BusDmaRegion, ...], ...] = (
    (),
    (BusDmaRegion(Ipa(0x4000_0000), DmaAddr(0), 0x4000_0000),),
    (
        BusDmaRegion(Ipa(0x4000_0000), DmaAddr(0x1000_0000), 0x1000_0000),
        BusDmaRegion(Ipa(0x6000_0000), DmaAddr(0x6000_0000), 0x1000_0000),
    ),
)
BOUNDARIES = (0, 1, 0xFFF, 0x3FFF_FFFF, 0x4000_0000, 0x4FFF_FFFF, 0x5000_0000, 0x7FFF_FFFF)
RANDOM_ADDRESSES = 200
CONVENTIONS = {
    "alias": "shared memory has the shared bit in its device address",
    "plain": "shared memory has its plain address: the convention before 6.15",
    "none": "arm64 cannot be a Realm",
}


@dataclass(slots=True)
class Fault:
    """What does a tree do wrong?

    Attributes:
        name: a word for it.
        severity: "violation", or "warning" for what goes wrong on the CPU's side.
        message: what is wrong, a sentence without a full stop.
        place: file:line in the tree.
        address: the example: what the helper was asked.
        got, expected: what it answered, and what was right.
        shown: (build, ipa_bits) that show it.
    """

    name: str
    severity: Severity
    message: str
    place: str
    address: int
    got: int
    expected: int
    shown: list[tuple[Build, int]] = field(default_factory=list)

    @property
    def where(self) -> str:
        """In which builds and widths, for people?"""
        by_build: dict[str, list[int]] = {}
        for build, bits in self.shown:
            by_build.setdefault(str(build), []).append(bits)
        return "; ".join(f"{name}: {_spans(bits)} IPA bits" for name, bits in by_build.items())


def _spans(bits: Iterable[int]) -> str:
    found = sorted(set(bits))
    return f"{found[0]}" if len(found) == 1 else f"{found[0]} to {found[-1]}"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is to be said of one tree?

    Attributes:
        release: its release.
        convention: which one it keeps.
        rsi: the file with its code for Realms; None: it has none.
        faults: what it does wrong.
        asked: addresses asked about, in all.
    """

    release: str
    convention: Convention
    rsi: str | None
    faults: tuple[Fault, ...]
    asked: int

    @property
    def violations(self) -> list[Fault]:
        """Which faults give devices wrong addresses?"""
        return [fault for fault in self.faults if fault.severity == "violation"]


class _Faults:
    """Faults of one tree while it is asked; equal ones are one."""

    def __init__(self, tree: SourceTree) -> None:
        self.tree = tree
        self.found: dict[str, Fault] = {}

    def note(
        self,
        name: str,
        message: str,
        place: Callable[[], str],
        example: tuple[int, int, int],
        build: Build,
        bits: int,
        severity: Severity = "violation",
    ) -> None:
        fault = self.found.get(name)
        if fault is None:
            fault = self.found[name] = Fault(name, severity, message, place(), *example)
        if (build, bits) not in fault.shown:
            fault.shown.append((build, bits))


def judge(tree: SourceTree, seed: int = 1) -> Judgement:
    """What is to be said of a tree?

    Args:
        tree: the tree.
        seed: of the random addresses.

    Raises:
        InputError: its helpers do not compile, or crash.
        MissingToolError: there is no C compiler.
    """
    faults = _Faults(tree)
    asked, aliased = 0, False
    for build in (*BUILDS, Build(amd=True)):
        cases = list(_cases(random.Random(seed)))
        with compiled(tree, build) as helpers:
            answers = helpers.ask(cases)
        asked += sum(len(case.addresses) for case in cases)
        for case, answer in zip(cases, answers, strict=True):
            if build.amd:
                _judge_order(
                    faults, build, case, answer, amd_sme(IpaSpace(case.ipa_bits).bit_number)
                )
            elif tree.rsi is not None:
                aliased |= _judge_realm(faults, build, case, answer)
    convention: Convention = "none" if tree.rsi is None else "alias" if aliased else "plain"
    if convention == "alias":
        faults.found.pop("plain", None)
    return Judgement(tree.release, convention, tree.rsi, tuple(faults.found.values()), asked)


def _cases(chosen: random.Random) -> Iterable[Case]:
    """Every width on every bus; addresses are below the shared bit, as a guest's are."""
    for bits in range(IPA_BITS_MIN, IPA_BITS_MAX + 1):
        space = IpaSpace(bits)
        for ranges in BUSES:
            picked = [chosen.randrange(space.shared_bit) for _ in range(RANDOM_ADDRESSES // 2)]
            picked += [chosen.randrange(0x4000_0000, 0x8000_0000) for _ in picked]
            last = space.protected(space.size - 1)
            inside = [one for one in (*BOUNDARIES, last, *picked) if space.in_par(one)]
            yield Case(bits, ranges, np.array([*inside, space.size + 0x4000_1000], np.uint64))


def _judge_realm(faults: _Faults, build: Build, case: Case, answer: Answer) -> bool:
    """Hold one answer against the convention. True: it gives shared memory another address."""
    tree, bits, x = faults.tree, case.ipa_bits, case.addresses
    scheme = arm_cca(bits)
    device = DmaDevice(scheme, case.ranges)
    bus = translate_phys_to_dma(case.ranges, x)
    wanted = phys_to_dma_unencrypted(device, x)

    def at(helper: str) -> Callable[[], str]:
        return lambda: tree.line_of(DMA_DIRECT, helper)

    if not (answer.unencrypted != bus).any():
        faults.note(
            "plain",
            "shared memory is given to devices at its plain address",
            at("phys_to_dma_unencrypted"),
            _first(x, answer.unencrypted, wanted),
            build,
            bits,
        )
    elif (answer.unencrypted != wanted).any():
        _judge_bit(faults, build, case, answer, wanted)
    else:
        _judge_order(faults, build, case, answer, scheme)
    _compare(faults, "private", "a private page's address carries a bit", at("phys_to_dma"),
             case, answer.encrypted, phys_to_dma(device, x), build)  # fmt: skip
    _judge_page_tables(faults, build, bits, answer)
    return bool((answer.unencrypted != bus).any())


def _judge_bit(
    faults: _Faults, build: Build, case: Case, answer: Answer, wanted: NDArray[np.uint64]
) -> None:
    statement = faults.tree.shared_bit()
    assert statement is not None
    name, what = "bit", "another bit than the shared bit is set in device addresses"
    if answer.prot_ns_shared == answer.pte_form != IpaSpace(case.ipa_bits).shared_bit:
        name = "page-table encoding"
        what = "the shared bit is ORed into device addresses in page-table encoding"
    _compare(faults, name, what, lambda: statement.place, case, answer.unencrypted, wanted, build)


def _judge_order(faults: _Faults, build: Build, case: Case, answer: Answer, scheme: Scheme) -> None:
    """Is the bit cleared before the lookup in dma-ranges, and no other bit?"""
    x = case.addresses
    device = DmaDevice(scheme, case.ranges)
    inside = translate_phys_to_dma(case.ranges, x) != np.uint64(DMA_MAPPING_ERROR)
    below = x < np.uint64(scheme.attribute_mask)
    lost = inside & below & (answer.back != x)

    def place() -> str:
        return faults.tree.line_of(DMA_DIRECT, "dma_to_phys")

    if lost.any() and case.ranges:
        faults.note(
            "order",
            "dma_to_phys() clears the bit after the lookup in dma-ranges, which misses",
            place,
            _first(x[lost], answer.back[lost], x[lost]),
            build,
            case.ipa_bits,
        )
    if case.ranges:
        return
    wanted = dma_to_phys(device, x)
    wrong = answer.canonical != wanted
    if wrong.any() and not lost.any():
        name = ARM64_MEM_ENCRYPT if faults.tree.has(ARM64_MEM_ENCRYPT) else DMA_DIRECT
        faults.note(
            "clears more",
            "bits above the IPA space are cleared: such an address must fault, not wrap",
            lambda: faults.tree.line_of(name, "dma_addr_canonical"),
            _first(x[wrong], answer.canonical[wrong], wanted[wrong]),
            build,
            case.ipa_bits,
        )


def _judge_page_tables(faults: _Faults, build: Build, bits: int, answer: Answer) -> None:
    if answer.prot_ns_shared == answer.pte_form:
        return
    statement = faults.tree.shared_bit()
    assert statement is not None
    shared_bit = IpaSpace(bits).shared_bit
    faults.note(
        "page tables",
        "page-table entries get the bit as it stands in addresses: the CPU uses a wrong page",
        lambda: statement.place,
        (shared_bit, answer.prot_ns_shared, answer.pte_form),
        build,
        bits,
        "warning",
    )


def _compare(
    faults: _Faults,
    name: str,
    message: str,
    place: Callable[[], str],
    case: Case,
    got: NDArray[np.uint64],
    wanted: NDArray[np.uint64],
    build: Build,
) -> None:
    wrong = got != wanted
    if wrong.any():
        example = _first(case.addresses[wrong], got[wrong], wanted[wrong])
        faults.note(name, message, place, example, build, case.ipa_bits)


def _first(
    x: NDArray[np.uint64], got: NDArray[np.uint64], wanted: NDArray[np.uint64]
) -> tuple[int, int, int]:
    """The example: a page of RAM if there is one."""
    usual = np.flatnonzero((x >= np.uint64(0x4000_0000)) & (wanted != np.uint64(U64)))
    at = int(usual[0]) if len(usual) else 0
    return int(x[at]), int(got[at]), int(wanted[at])
