"""Which questions to a real kernel stand for which rows of the table, and which rows for none?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from topbit.addressing.cc_platform import cc_platform
from topbit.addressing.kernel_policy import policy_for
from topbit.arch.ipa import IpaSpace
from topbit.linux.dma_attrs import NO_ATTRS
from topbit.machine.model.dma_table import ATTRS, Bench, Row, What, Who, rows
from topbit.machine.qemu.guest.ask_module import Op
from topbit.machine.qemu.guest.asking import Ask
from topbit.machine.qemu.observe import BRIDGE, INCOHERENT, TRUSTED, UNTRUSTED, has_pci

MASKS = range(33, 64)
"""Widths of a device's mask besides the table's own, 32 and 64."""
MASKED = (What.BUFFER, What.COHERENT)
OPS = {
    What.BUFFER: Op.MAP_PAGE,
    What.SHARED: Op.MAP_SHARED,
    What.NO_BOUNCE: Op.MAP_PAGE,
    What.MMIO: Op.MAP_REGISTERS,
    What.MMIO_SHARED: Op.MAP_REGISTERS,
    What.COHERENT: Op.ALLOC,
    What.ATOMIC: Op.ALLOC,
    What.REMAPPED: Op.ALLOC,
}
NO_IOMMU = "the guest has no IOMMU of its own"
NO_BYPASS = "every virtio device of this machine offers VIRTIO_F_ACCESS_PLATFORM"
NARROW_SMMU = "QEMU's SMMU takes 44 bits: no device behind it that could be trusted"
NO_INCOHERENT = "a device that is not coherent is one of the kernel's own, and cannot be trusted"


@dataclass(frozen=True, slots=True)
class Asked:
    """A row of the table, and how a real kernel is asked for it.

    Attributes:
        row: what the model says.
        ask: the question; None: it cannot be asked.
        why_not: the reason then.
        mask_bits: width of the device's masks.
        table: a scatter-gather list of two entries, which the table counts as a buffer.
    """

    row: Row
    ask: Ask | None
    why_not: str = ""
    mask_bits: int = 64
    table: bool = False

    @property
    def is_mask(self) -> bool:
        """Is it no row of the table, but one of the masks between its two?"""
        return self.mask_bits in MASKS


def asked(release: str, ipa_bits: int) -> list[Asked]:
    """What is there to be asked of this kernel in a Realm of this width? In the table's order.

    Raises:
        UsageError: no such width.
    """
    found = []
    for row in rows(release, ipa_bits=ipa_bits, schemes=["arm-cca"]):
        reason = _why_not(row, ipa_bits)
        mask = 32 if row.who is Who.NARROW else 64
        ask = None if reason else _ask(row.who, row.what, mask, ipa_bits)
        found.append(Asked(row, ask, reason, mask))
        if ask is not None and row.what is What.BUFFER:
            ask = _ask(row.who, row.what, mask, ipa_bits, Op.MAP_SG)
            found.append(Asked(row, ask, "", mask, table=True))
    policy = policy_for(release)
    platform = cc_platform("arm-cca", policy, ipa_bits=ipa_bits, pa_bits_52=True)
    bit = IpaSpace(ipa_bits).shared_bit
    for what in MASKED:
        for mask in MASKS:
            outcome = Bench(policy, platform, bit).ask(Who.UNTRUSTED, what, mask)
            row = Row("arm-cca", Who.NARROW, what, outcome)
            found.append(Asked(row, _ask(row.who, what, mask, ipa_bits), "", mask))
    return found


def questions(rows: Iterable[Asked]) -> list[Ask]:
    """What is asked in one boot? Last what may be the kernel's end (note 8 of the table)."""
    asks = dict.fromkeys(row.ask for row in rows if row.ask is not None)
    return sorted(asks, key=lambda ask: ask.device == INCOHERENT and ask.mask_bits == 64)


def _why_not(row: Row, ipa_bits: int) -> str:
    if row.what is What.VIRTIO:
        return NO_BYPASS
    if row.who is Who.IOMMU:
        return NO_IOMMU
    if row.who is Who.TRUSTED and row.what is What.REMAPPED:
        return NO_INCOHERENT
    if row.who is Who.TRUSTED and not has_pci(ipa_bits):
        return NARROW_SMMU
    return ""


def _ask(who: Who, what: What, mask: int, ipa_bits: int, op: Op | None = None) -> Ask:
    device = UNTRUSTED if has_pci(ipa_bits) else BRIDGE
    if who is Who.TRUSTED:
        device = TRUSTED
    moved_by = device if has_pci(ipa_bits) and who is not Who.NARROW else ""
    if what in (What.MMIO, What.MMIO_SHARED):
        moved_by = ""
    if what is What.REMAPPED:
        device = INCOHERENT
    return Ask(
        device,
        OPS[what] if op is None else op,
        mask,
        ATTRS.get(what, NO_ATTRS),
        atomic=what is What.ATOMIC,
        moved_by=moved_by,
    )
