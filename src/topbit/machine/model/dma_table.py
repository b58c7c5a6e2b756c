"""Which address is a device given, for each platform, device and kind of memory?

Nothing here is written by hand: each row is one run of the modelled kernel's DMA layer (`linux/`)
on flat RAM, with a device of its own, and what came of it: the address, the formula that it
follows, what the kernel printed, and whether the device reaches the memory there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from topbit.addressing.cc_platform import CcPlatform, cc_platform
from topbit.addressing.dma_direct import DMA_BIT_MASK, DMA_MAPPING_ERROR, DmaDevice
from topbit.addressing.kernel_policy import KernelPolicy, policy_for
from topbit.addressing.scheme import SCHEMES
from topbit.arch.ipa import DmaAddr, Ipa
from topbit.arch.virtio import VIRTIO_F_VERSION_1
from topbit.events import Event, ignore
from topbit.linux.coherent import CoherentMemory
from topbit.linux.cpu import SynchronousExternalAbort
from topbit.linux.device import Device
from topbit.linux.direct import DmaDirect
from topbit.linux.dma_attrs import NO_ATTRS, TO_DEVICE, DmaAttr
from topbit.linux.dma_iommu import IommuDma
from topbit.linux.dma_messages import OOPS, in_short
from topbit.linux.pageattr import PAGE_SHIFT, PAGE_SIZE, LinearMap
from topbit.linux.swiotlb import IoTlbMem
from topbit.linux.virtio import virtio_features_ok
from topbit.machine.model.flat_cpu import FlatCpu

RAM, RAM_SIZE = Ipa(0x8000_0000), 2 << 20
POOL_SIZE = 1 << 20
POOL = Ipa(RAM + RAM_SIZE - POOL_SIZE)
BUFFER = Ipa(RAM + 0x1_0000)
PAGES = Ipa(RAM + 0x2_0000)
REGISTERS = Ipa(0x5000_0000)
SIZE = 512


class Who(StrEnum):
    """Which device is it?"""

    UNTRUSTED = "T=0"
    TRUSTED = "T=1"
    NARROW = "32-bit"
    IOMMU = "vIOMMU"


class What(StrEnum):
    """Which memory is it, and how is it asked for? In capitals: attributes of a mapping."""

    BUFFER = "buffer"
    SHARED = "CC_SHARED"
    NO_BOUNCE = "REQUIRE_COHERENT"
    MMIO = "MMIO"
    MMIO_SHARED = "MMIO|CC_SHARED"
    COHERENT = "coherent"
    ATOMIC = "coherent, atomic"
    REMAPPED = "coherent, remapped"
    VIRTIO = "virtio, bypassing"


ATTRS = {
    What.SHARED: DmaAttr.CC_SHARED,
    What.NO_BOUNCE: DmaAttr.REQUIRE_COHERENT,
    What.MMIO: DmaAttr.MMIO,
    What.MMIO_SHARED: DmaAttr.MMIO | DmaAttr.CC_SHARED,
}
COHERENT = (What.COHERENT, What.ATOMIC, What.REMAPPED)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one request?

    Attributes:
        formula: how the address comes about; P the buffer, B its bounce buffer, M coherent memory,
            IOVA; S the shared bit, C the C bit. Empty: no address.
        address: the example; None: the request failed.
        said: what the kernel printed, in short; empty: nothing.
        reaches: the device reaches the memory at that address. None: it failed, or nobody can say
            (device registers).
    """

    formula: str
    address: int | None
    said: str
    reaches: bool | None

    @property
    def kind(self) -> str:
        """address, bounced, error, silent error, or silent failure: a wrong address."""
        if self.address is None:
            return "error" if self.said else "silent error"
        if self.reaches is False:
            return "silent failure"
        return "bounced" if self.formula.startswith("B") else "address"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table."""

    scheme: str
    who: Who
    what: What
    outcome: Outcome


class _Pages(LinearMap):
    """RAM of which each page is shared or private, as on any of the platforms.

    Attributes:
        realm: it is a Realm's.
    """

    realm = False

    def set_memory_decrypted(self, phys: Ipa, pages: int) -> int:
        return self._mark(phys, pages, shared=True)

    def set_memory_encrypted(self, phys: Ipa, pages: int) -> int:
        return self._mark(phys, pages, shared=False)

    def _mark(self, phys: Ipa, pages: int, *, shared: bool) -> int:
        first = (phys - self.base) >> PAGE_SHIFT
        self.shared[first : first + pages] = shared
        return 0

    def zero_remapped(self, phys: Ipa, pages: int, *, decrypted: bool) -> None:
        """In a Realm alone is there nothing at the alias of what is private."""
        if self.realm and decrypted and not self.is_shared(phys):
            raise SynchronousExternalAbort(phys)
        self.write(phys, bytes(pages << PAGE_SHIFT))

    def is_shared(self, phys: Ipa) -> bool:
        return bool(self.shared[(phys - self.base) >> PAGE_SHIFT])


class Bench:
    """One kernel on one platform, asked by one device.

    Args:
        policy: the kernel.
        platform: what it runs on.
        true_bit: the bit that says shared in addresses of an Arm CCA Realm.
    """

    def __init__(self, policy: KernelPolicy, platform: CcPlatform, true_bit: int) -> None:
        self.policy = policy
        self.platform = platform
        self.true_bit = true_bit
        self.events: list[Event] = []
        emit = self.events.append
        self.memory = _Pages(FlatCpu(RAM, RAM_SIZE), RAM, RAM_SIZE, None, ignore)
        self.memory.realm = platform.name == "arm-cca"
        forced = platform.forces(policy) and not policy.capable_by_attrs
        self.pool = IoTlbMem(self.memory, POOL, POOL_SIZE, emit, force_bounce=forced)
        if platform.mem_encrypt:
            self.pool.update_mem_attributes(disables=policy.pool_failure_disables)
        self.direct = DmaDirect(policy, platform, self.memory, self.pool, emit, lambda *told: None)
        self.coherent = CoherentMemory(self.direct, lambda count: PAGES, lambda *page: None)

    def device(self, who: Who, mask_bits: int | None = None) -> Device:
        """Which struct device has the kernel for it? `mask_bits`: None for those of `who`."""
        trusted = who is Who.TRUSTED
        mask = DMA_BIT_MASK(mask_bits or (32 if who is Who.NARROW else 64))
        dma = DmaDevice(
            self.platform.device_scheme(self.policy, trusted=trusted),
            dma_mask=mask,
            alias_for_shared=self.policy.alias_for_shared,
            canonical_before_lookup=self.policy.canonical_before_lookup,
        )
        forced = self.platform.force_dma_unencrypted(
            self.policy,
            trusted=trusted,
            coherent_dma_mask=mask,
            behind_iommu=who is Who.IOMMU,
        )
        return Device("dev", dma, mask, force_unencrypted=forced)

    def ask(self, who: Who, what: What, mask_bits: int | None = None) -> Outcome:
        """What comes of one request? `mask_bits`: None for those of `who`."""
        self.events.clear()
        dev = self.device(who, mask_bits)
        if what is What.VIRTIO:
            return self._virtio(who)
        if what is What.SHARED:
            self.memory.set_memory_decrypted(BUFFER, 1)
        if who is Who.IOMMU:
            return self._behind_iommu(dev, what)
        if what in COHERENT:
            dev.coherent = what is not What.REMAPPED
            try:
                got = self.coherent.alloc(dev, PAGE_SIZE, atomic=what is What.ATOMIC)
            except SynchronousExternalAbort:
                return Outcome("", None, OOPS, None)
            return self._outcome(dev, who, "M", *got) if got else self._failed()
        phys = _where(what)
        dma_addr = self.direct.map_phys(dev, phys, SIZE, TO_DEVICE, ATTRS.get(what, NO_ATTRS))
        if dma_addr == DMA_MAPPING_ERROR:
            return self._failed()
        if self.pool.slots_used():
            return self._outcome(dev, who, "B", POOL, dma_addr)
        return self._outcome(dev, who, "P", phys, dma_addr)

    def _behind_iommu(self, dev: Device, what: What) -> Outcome:
        iommu = IommuDma(self.policy)
        got: DmaAddr | None
        if what in COHERENT:
            phys = PAGES
            got = iommu.alloc(dev, phys, PAGE_SIZE)
        else:
            phys = _where(what)
            got = iommu.map_phys(dev, phys, SIZE, ATTRS.get(what, NO_ATTRS))
        if got in (None, DMA_MAPPING_ERROR):
            return self._failed()
        private = self.platform.guest and self.platform.mem_encrypt
        known = phys != REGISTERS
        reaches = not private or self.memory.is_shared(phys) if known else None
        return Outcome("IOVA", got, "", reaches)

    def _virtio(self, who: Who) -> Outcome:
        refused, line = virtio_features_ok(self.platform, 1 << VIRTIO_F_VERSION_1)
        if refused:
            return Outcome("", None, line, None)
        return Outcome("P", BUFFER, "", not (self.platform.guest and self.platform.mem_encrypt))

    def _failed(self) -> Outcome:
        lines = [event.detail for event in self.events if event.detail]
        said = in_short(lines[-1]) or lines[-1] if lines else ""
        return Outcome("", None, said, None)

    def _outcome(self, dev: Device, who: Who, letter: str, phys: Ipa, dma_addr: DmaAddr) -> Outcome:
        formula = self._formula(dev, letter, phys, dma_addr)
        reaches = None if phys == REGISTERS else self._reaches(who, phys, dma_addr)
        return Outcome(formula, dma_addr, "", reaches)

    def _formula(self, dev: Device, letter: str, phys: Ipa, dma_addr: DmaAddr) -> str:
        added = dma_addr ^ phys
        if not added:
            return letter
        if added == self.true_bit and not dev.dma.scheme.shared_offset:
            return f"{letter}|S"
        if added == self.platform.scheme.encrypted_mask:
            return f"{letter}|C"
        if dev.dma.scheme.shared_offset:
            return f"{letter}+offset"
        return f"{letter}|0x{added:x}"

    def _reaches(self, who: Who, phys: Ipa, dma_addr: DmaAddr) -> bool:
        """Does a device reach RAM at `phys` by this address, if its host keeps the convention?"""
        used, shared = int(dma_addr), self.memory.is_shared(phys)
        trusted = who is Who.TRUSTED
        match self.platform.name:
            case "none":
                right = used == phys
            case "amd-sme":
                right = used == (phys if shared else phys | self.platform.scheme.encrypted_mask)
            case "arm-cca":
                plain = not shared or (self.policy.zero_based_iova and not trusted)
                right = used == (phys if plain else phys | self.true_bit)
            case "sev-tio" if trusted:
                offset = self.platform.scheme.shared_offset
                right = used == (phys + offset if shared else phys)
            case _:
                right = used == phys
        visible = shared or trusted or not self.platform.guest
        return right and visible


def rows(kernel: str, *, ipa_bits: int = 41, schemes: Iterable[str] = tuple(SCHEMES)) -> list[Row]:
    """Which rows has the table of one kernel? One run of the model for each.

    Args:
        kernel: a release or a proposal, see `policy_for`.
        ipa_bits: width of a Realm's IPA space; the kernel is built for 52-bit addresses.
        schemes: which platforms, of `SCHEMES`.

    Raises:
        UsageError: no such kernel, width or scheme.
    """
    policy = policy_for(kernel)
    found = []
    for name in schemes:
        platform = cc_platform(name, policy, ipa_bits=ipa_bits, pa_bits_52=True)
        true_bit = 1 << platform.bit if name == "arm-cca" and platform.bit is not None else 0
        if name == "arm-cca" and not policy.realm_guest:
            continue
        for what in _askable(policy):
            for who in _devices(platform, what):
                outcome = Bench(policy, platform, true_bit).ask(who, what)
                found.append(Row(name, who, what, outcome))
    return found


def _where(what: What) -> Ipa:
    """Which memory is mapped?"""
    return REGISTERS if what in (What.MMIO, What.MMIO_SHARED) else BUFFER


def _askable(policy: KernelPolicy) -> list[What]:
    """Which requests can a driver of this kernel make?"""
    newer = (What.SHARED, What.NO_BOUNCE, What.MMIO_SHARED)
    return [what for what in What if policy.cc_shared_attr or what not in newer]


def _devices(platform: CcPlatform, what: What) -> list[Who]:
    """Which devices differ on this platform? Only guests have devices that they may trust."""
    if what is What.VIRTIO:
        return [Who.UNTRUSTED]
    trusted = platform.guest and platform.mem_encrypt
    return [who for who in Who if trusted or who is not Who.TRUSTED]
