"""Which rows of the table of DMA addresses are disputed, or are latent faults of the kernel?"""

from __future__ import annotations

from dataclasses import dataclass

from topbit.addressing.kernel_policy import KernelPolicy
from topbit.machine.model.dma_table import COHERENT, Row, What, Who

BUFFERS = frozenset({What.BUFFER, What.SHARED, *COHERENT})
NO_GUESTS = ("amd-sme", "none")


@dataclass(frozen=True, slots=True)
class Note:
    """What is to be known of some rows?

    Attributes:
        text: what, a sentence.
        source: thread, commit, or file and function.
        disputed: it is disputed; else a latent fault or a hazard.
        scheme: of which platform; None: of all that are guests.
        who, what: of which devices and requests; empty: of all.
        kinds: of which outcomes (`Outcome.kind`); empty: of all.
        formula: what stands in the formula of the address.
        until: kernels that have this difference are spared; empty: none is.
    """

    text: str
    source: str
    disputed: bool = False
    scheme: str | None = None
    who: frozenset[Who] = frozenset()
    what: frozenset[What] = frozenset()
    kinds: frozenset[str] = frozenset()
    formula: str = ""
    until: str = ""

    def is_about(self, row: Row, policy: KernelPolicy) -> bool:
        """Is the note about this row of this kernel?"""
        return (
            (self.scheme == row.scheme or (self.scheme is None and row.scheme not in NO_GUESTS))
            and (not self.who or row.who in self.who)
            and (not self.what or row.what in self.what)
            and (not self.kinds or row.outcome.kind in self.kinds)
            and self.formula in row.outcome.formula
            and not (self.until and policy.has(self.until))
        )


THREAD = '"dma-direct: Validate DMA mask against canonical DMA addresses", Jan 2026'
NOTES = (
    Note(
        "Whether addresses of T=0 devices should carry the shared bit at all: a proposal maps them "
        "from 0 as well, and drops the bit where the host says so.",
        THREAD,
        disputed=True,
        scheme="arm-cca",
        who=frozenset({Who.UNTRUSTED}),
        what=BUFFERS,
        formula="|S",
    ),
    Note(
        "Which address an accepted (T=1) device uses for shared memory, and whether it may: the "
        "same as with T=0, or none.",
        "RME device assignment, RFC v1 04/38, Jul 2025; TDISP RFC v4, Apr 2026",
        disputed=True,
        scheme="arm-cca",
        who=frozenset({Who.TRUSTED}),
        what=BUFFERS,
        formula="|S",
    ),
    Note(
        "dma_set_mask() takes 32 bits, and then every mapping fails: the shared bit is part of the "
        "address.",
        f"kernel/dma/direct.c:dma_direct_supported; {THREAD}",
        scheme="arm-cca",
        who=frozenset({Who.NARROW}),
        what=frozenset({What.BUFFER, What.SHARED}),
        kinds=frozenset({"error"}),
    ),
    Note(
        "No line tells why the allocation failed.",
        "kernel/dma/direct.c:dma_coherent_ok",
        scheme="arm-cca",
        who=frozenset({Who.NARROW}),
        what=frozenset(COHERENT),
        kinds=frozenset({"silent error"}),
    ),
    Note(
        'The line "DMA addr ... overflow" misleads: address and mask fit, but private memory was '
        "refused.",
        "include/linux/dma-direct.h:dma_capable (7.3)",
        what=frozenset({What.MMIO, What.NO_BOUNCE}),
        kinds=frozenset({"error"}),
    ),
    Note(
        "Peer-to-peer DMA to device registers is broken in confidential guests, and is to stay so.",
        '"dma-mapping: Use DMA_ATTR_CC_SHARED ...", v7, Jul 2026',
        disputed=True,
        what=frozenset({What.MMIO_SHARED}),
        formula="P",
    ),
    Note(
        "Behind a vIOMMU a buffer is mapped where it stands: the device meets private memory.",
        "drivers/iommu/dma-iommu.c:iommu_dma_map_phys (read, not observed)",
        who=frozenset({Who.IOMMU}),
        kinds=frozenset({"silent failure"}),
    ),
    Note(
        "The pages are mapped as shared and never made shared: a Realm oopses as it zeroes them.",
        "f253a83ff94c (7.3); kernel/dma/direct.c:dma_direct_alloc; observed on 6.18.15, 7.2.12",
        who=frozenset({Who.UNTRUSTED, Who.TRUSTED, Who.NARROW}),
        what=frozenset({What.REMAPPED}),
        kinds=frozenset({"silent failure", "error"}),
        until="remap_shares",
    ),
    Note(
        "A virtio device without VIRTIO_F_ACCESS_PLATFORM is accepted, is given private memory, "
        "and hangs.",
        "drivers/virtio/virtio.c:virtio_features_ok (consequence: not observed)",
        what=frozenset({What.VIRTIO}),
        kinds=frozenset({"silent failure"}),
    ),
    Note(
        "The guest relies on a restricted DMA pool; without one the device is given private "
        "memory.",
        "arch/arm64/include/asm/mem_encrypt.h:force_dma_unencrypted (7.2)",
        scheme="arm-pkvm",
        kinds=frozenset({"silent failure"}),
        who=frozenset({Who.UNTRUSTED, Who.NARROW}),
        what=frozenset({What.BUFFER, What.COHERENT, What.ATOMIC, What.NO_BOUNCE}),
        until="pkvm_force_unencrypted",
    ),
    Note(
        "PROT_NS_SHARED is a page-table value, and is ORed into device addresses.",
        "8c6e9b60f5c7; arch/arm64/kernel/rsi.c:arm64_rsi_init",
        scheme="arm-cca",
        formula="|0x",
    ),
    Note(
        '"swiotlb buffer is full" with 0 slots used: the wrong bit leaves no slot aligned.',
        "kernel/dma/swiotlb.c:swiotlb_search_pool_area; observed on 7.3.4",
        scheme="arm-cca",
        what=frozenset({What.BUFFER, What.SHARED}),
        kinds=frozenset({"error"}),
        who=frozenset({Who.UNTRUSTED, Who.TRUSTED}),
    ),
)
"""In the order of their numbers."""


def notes_of(row: Row, policy: KernelPolicy) -> list[int]:
    """Which notes are about this row? Their numbers, from 1."""
    return [number for number, note in enumerate(NOTES, 1) if note.is_about(row, policy)]
