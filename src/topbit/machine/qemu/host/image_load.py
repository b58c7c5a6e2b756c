"""What stands in the Realm's memory before its first instruction, and where?

The host stages each image, part by part, in the Non-secure backing of its first pages, and the RMM
copies and measures it page by page (RMI_DATA_CREATE). Everything else is RAM of unknown content.
Source: Linux Documentation/arch/arm64/booting.rst.
"""

from __future__ import annotations

from dataclasses import dataclass

from topbit.arch.ipa import Ipa
from topbit.errors import RunError
from topbit.host.pages import PAGE
from topbit.host.rme import RealmHost
from topbit.vmm.slots import MemorySlot

IMAGE_ALIGN = 2 << 20
MEASURE = 1  # RMI_DATA_CREATE flags
STAGE = 64 * PAGE


@dataclass(frozen=True, slots=True)
class Plan:
    """At which IPAs do kernel, device tree and initramfs stand?

    Attributes:
        kernel: start of the Image.
        tree: start of the device tree, 2 MiB at most.
        initrd: start and size of the initramfs; of size 0 if there is none.
    """

    kernel: Ipa
    tree: Ipa
    initrd: tuple[Ipa, int]

    @property
    def end(self) -> Ipa:
        """Behind all of them."""
        start, size = self.initrd
        return start + -(-size // PAGE) * PAGE


def plan(slot: MemorySlot, text_offset: int, image_size: int, initrd_size: int) -> Plan:
    """Where does each image go? The first 2 MiB of RAM stay free: QEMU puts its own tree there.

    Raises:
        RunError: they do not fit the guest's RAM.
    """
    kernel = slot.ipa + IMAGE_ALIGN + text_offset
    tree = kernel + image_size
    tree += -tree % IMAGE_ALIGN
    initrd = tree + IMAGE_ALIGN
    if initrd + initrd_size > slot.end:
        raise RunError(
            f"kernel and initramfs take {(initrd + initrd_size - slot.ipa) >> 20} MiB, "
            f"the guest has {slot.size >> 20}",
            hint="give the guest more RAM",
        )
    return Plan(kernel, tree, (initrd, initrd_size))


def load(realm: RealmHost, slot: MemorySlot, ipa: Ipa, data: bytes) -> None:
    """Put `data` at `ipa` of a Realm that is NEW, measured; what is left of its pages is zero."""
    if offset := ipa % PAGE:
        ipa, data = ipa - offset, bytes(offset) + data
    size = len(data) + -len(data) % PAGE
    private, stage = slot.to_private_pa(ipa), slot.to_shared_pa(ipa)
    realm.delegate(private, size)
    for part in range(0, size, STAGE):
        content = data[part : part + STAGE]
        realm.memory.write(stage, content)
        realm.memory.fill(stage + len(content), -len(content) % PAGE)
        pages = min(STAGE, size - part)
        realm.data_create(ipa + part, pages, private + part, stage, MEASURE)
    realm.memory.fill(stage, min(STAGE, size))
    slot.populated[slot.pages(ipa, size)] = True
