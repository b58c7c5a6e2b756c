"""Which facts make a scenario? One dataclass for each table of the TOML form.

That of the VMM is its own `VmmPolicy`. What contradicts what is told by `Scenario.check`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from topbit.addressing.kernel_policy import KernelPolicy, policy_for

EMULATED_MODELS = ("virtio-blk", "virtio-net", "virtio-rng")
USUAL_MODEL = {"assigned": "nvme", "emulated": "virtio-blk"}


@dataclass(frozen=True, slots=True)
class RealmSpec:
    """How wide is the Realm's IPA space, and how much RAM has it?

    Attributes:
        ipa_bits: 32 to 52; the shared bit is bit ipa_bits-1.
        ram_mib: RAM from IPA 0x40000000, MiB.
        told_ipa_bits: the width that the RMM answers in RSI_REALM_CONFIG, 32 to 52 (None: the
            true one).
    """

    ipa_bits: int = 41
    ram_mib: int = 32
    told_ipa_bits: int | None = None


@dataclass(frozen=True, slots=True)
class GuestSpec:
    """Which kernel runs in the Realm?

    Attributes:
        kernel: release; its dated conventions are used ("6.15", "6.14.0", "7.3"). Also a proposal
            ("proposed:zero-based-iova") or "edk2", the firmware before Linux.
        swiotlb_mib: size of the swiotlb pool, MiB; 0: as the release makes it.
        pa_bits_52: built with CONFIG_ARM64_PA_BITS_52 (matters from 51 IPA bits on).
        alias_for_shared, canonical_before_lookup: override one convention of the release (None:
            as released).
        private_dma_for_trusted: devices accepted into the Realm get private addresses.
        accept: how it accepts a trusted device: "whole"; "no-dma" (without enabling its DMA);
            "late" (when its driver has used it already).
    """

    kernel: str = "6.15"
    swiotlb_mib: int = 4
    pa_bits_52: bool = True
    alias_for_shared: bool | None = None
    canonical_before_lookup: bool | None = None
    private_dma_for_trusted: bool = False
    accept: str = "whole"

    def policy(self) -> KernelPolicy:
        """Which conventions does this guest keep?"""
        policy = policy_for(self.kernel)
        changes = {
            name: getattr(self, name)
            for name in ("alias_for_shared", "canonical_before_lookup")
            if getattr(self, name) is not None
        }
        return dataclasses.replace(policy, **changes)


@dataclass(frozen=True, slots=True)
class HostSpec:
    """What does the host do to the guest while it works?

    Attributes:
        destroy_page: takes a "private" or a "shared" page of the guest away; or "none".
        disable_stream: name of an assigned device whose stream it makes invalid; "" for none.
        unlocks_mapped: it takes a trusted device back without unmapping the device's registers.
        event_queue: entries of the SMMU's event queue, a power of two, 1 to 1024.
        reads_events: takes events out of that queue (else it fills, and the SMMU loses events).
    """

    destroy_page: str = "none"
    disable_stream: str = ""
    unlocks_mapped: bool = False
    event_queue: int = 512
    reads_events: bool = True

    @property
    def injects(self) -> bool:
        """Does it do anything in the middle of the workload?"""
        return self.destroy_page != "none" or bool(self.disable_stream)


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """Which device is it?

    Attributes:
        name: its name in every event and finding; up to 64 letters, digits, - and _.
        kind: "assigned" (behind the SMMU) or "emulated" (in the VMM).
        trusted: accepted into the Realm (T=1): its stream walks the Realm's own table.
        dma_mask_bits: what its driver tells dma_set_mask().
        address_bits: address lines that it really has.
        dma_offset: its bus shows RAM at CPU address minus this (dma-ranges), bytes.
        behaviour: "good"; "stale" (writes to the last buffer again after it was unmapped);
            "wild" (sets bits above the IPA space). Of a trusted device also what it does wrong when
            it is asked what it is (`devices/tdi.py`): "wrong-nonce", "wrong-key",
            "changes-measurement", "unlocks-itself".
        model: which device it is: of QEMU's an assigned one, on the QEMU machine; on the model
            machine every assigned device is one kind of DMA engine. "qemu:NAME,prop=value,..." is
            any of QEMU's (`machine/qemu/process/pci_model.py`). One of `EMULATED_MODELS` an
            emulated one. Empty: the `USUAL_MODEL` of its kind.
    """

    name: str
    kind: str = "assigned"
    trusted: bool = False
    dma_mask_bits: int = 64
    address_bits: int = 64
    dma_offset: int = 0
    behaviour: str = "good"
    model: str = ""

    def __post_init__(self) -> None:
        if not self.model:
            object.__setattr__(self, "model", USUAL_MODEL.get(self.kind, ""))


@dataclass(frozen=True, slots=True)
class WorkloadSpec:
    """What do the drivers do?

    Attributes:
        transfers: writes to, and as many reads from, each disk.
        size: bytes of each.
        rebinds: at the end each driver is unbound, and bound again, this many times: coherent
            memory turns private, and shared again. (On the model machine it ends unbound.)
        readers: QEMU only: processes that read each disk at the same time.
        network_mib: QEMU only: MiB that are sent over each wire and come back; 0 for 64 KiB.
        reloads: QEMU only: how often each driver's module is unloaded and loaded.
        unplug: QEMU only: each PCI device is removed and found again by a rescan of its bus.
        hotplug: QEMU only: each PCI device stands behind a root port of its own, and the host takes
            it out of there and puts it in again.
        attest: QEMU only: the guest gets an attestation token (configfs-tsm).
    """

    transfers: int = 4
    size: int = 16384
    rebinds: int = 1
    readers: int = 0
    network_mib: int = 0
    reloads: int = 0
    unplug: bool = False
    hotplug: bool = False
    attest: bool = False


MOST_WORK = {
    "transfers": 10000,
    "rebinds": 1000,
    "readers": 64,
    "network_mib": 256,
    "reloads": 100,
}
"""Up to where may each number of the workload go? From 0 on."""

TRUSTED_BEHAVIOURS = ("wrong-nonce", "wrong-key", "changes-measurement", "unlocks-itself")
CHOICES = {
    "guest.accept": ["whole", "no-dma", "late"],
    "host.destroy_page": ["none", "private", "shared"],
    "device.kind": ["assigned", "emulated"],
    "device.behaviour": ["good", "stale", "wild", *TRUSTED_BEHAVIOURS],
    "device.model": ["nvme", "virtio-blk", "virtio-net", "virtio-rng", "e1000e", "edu"],
}

OPEN = {"device.model": "qemu:"}
"""Which choice begins a value that another program knows?"""


def fields_of(table: type[Any]) -> dict[str, dataclasses.Field[Any]]:
    """Which keys has a table of the TOML form, and which field does each set?

    A key is the field's name, where the field does not name another one.
    """
    return {f.metadata.get("key", f.name): f for f in dataclasses.fields(table)}


def values(table: Any) -> dict[str, Any]:
    """What does a table say, by key?"""
    return {key: getattr(table, f.name) for key, f in fields_of(type(table)).items()}
