"""Which facts make a scenario, and which of them contradict each other?

One dataclass per table of the TOML form; that of the VMM is its own `VmmPolicy`. `Scenario.check`
holds everything that a machine relies on, so that machines never meet a contradiction.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from typing import Any

from topbit.addressing.kernel_policy import KernelPolicy, policy_for
from topbit.arch.ipa import Ipa, IpaSpace, check_ipa_bits
from topbit.errors import ScenarioError, nearest
from topbit.vmm.policy import VmmPolicy

MIB = 1 << 20
RAM_BASE = Ipa(0x4000_0000)
MOST_DEVICES = 31  # slots of a PCI bus besides the host bridge's
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
        name: its name in every event and finding; letters, digits, - and _.
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


def check_number_of_devices(number: int, where: str) -> None:
    """Are so many devices too many?

    Raises:
        ScenarioError: they are.
    """
    if number > MOST_DEVICES:
        raise ScenarioError(f"{number} devices", where=where, hint=f"give at most {MOST_DEVICES}")


@dataclass(frozen=True, slots=True)
class Scenario:
    """What runs? See the field types; `summary` is one line for people."""

    name: str
    summary: str = ""
    realm: RealmSpec = RealmSpec()
    guest: GuestSpec = GuestSpec()
    vmm: VmmPolicy = field(default_factory=VmmPolicy)
    host: HostSpec = HostSpec()
    device: tuple[DeviceSpec, ...] = field(default_factory=tuple)
    workload: WorkloadSpec = WorkloadSpec()

    def __post_init__(self) -> None:
        self.check()

    def check(self) -> None:
        """Does the scenario contradict itself?

        Raises:
            ScenarioError: it does; names the key and what to do.
        """
        realm, guest = self.realm, self.guest
        check_ipa_bits(realm.ipa_bits, "realm.ipa_bits")
        if realm.told_ipa_bits is not None:
            check_ipa_bits(realm.told_ipa_bits, "realm.told_ipa_bits")
        policy_for(guest.kernel)
        for key, choices in CHOICES.items():
            table, name = key.split(".")
            specs = self.device if table == "device" else (getattr(self, table),)
            for spec in specs:
                value = getattr(spec, name)
                if value not in choices and not (key in OPEN and value.startswith(OPEN[key])):
                    others = f" and {OPEN[key]}..." if key in OPEN else ""
                    raise ScenarioError(
                        f"{value!r} is not one of {', '.join(choices)}{others}", where=key
                    )
        self._check_sizes()
        check_number_of_devices(len(self.device), "device")
        names = [d.name for d in self.device]
        for device in self.device:
            self._check_device(device)
        if len(set(names)) != len(names):
            raise ScenarioError("two devices have the same name", where="device.name")
        self._check_host()

    def _check_host(self) -> None:
        entries, victim = self.host.event_queue, self.host.disable_stream
        if not 1 <= entries <= 1024 or entries & (entries - 1):
            raise ScenarioError(
                f"an event queue of {entries} entries",
                where="host.event_queue",
                hint="give a power of two from 1 to 1024",
            )
        assigned = [d.name for d in self.device if d.kind == "assigned"]
        if victim and victim not in assigned:
            raise ScenarioError(
                f"{victim!r} is no assigned device",
                where="host.disable_stream",
                hint=nearest(victim, assigned) if assigned else "give the scenario one",
            )

    def _check_sizes(self) -> None:
        realm, guest, work = self.realm, self.guest, self.workload
        if not 4 <= realm.ram_mib <= 65536:
            raise ScenarioError(
                f"{realm.ram_mib} MiB of RAM", where="realm.ram_mib", hint="give 4 to 65536"
            )
        if not IpaSpace(realm.ipa_bits).in_par(RAM_BASE, realm.ram_mib * MIB):
            raise ScenarioError(
                f"RAM of {realm.ram_mib} MiB at 0x{RAM_BASE:x} does not fit the protected half of "
                f"a {realm.ipa_bits}-bit IPA space",
                where="realm.ipa_bits",
                hint="give more bits or less RAM",
            )
        if not 0 <= guest.swiotlb_mib <= realm.ram_mib - 2:
            raise ScenarioError(
                f"a pool of {guest.swiotlb_mib} MiB in {realm.ram_mib} MiB of RAM",
                where="guest.swiotlb_mib",
                hint=f"give 1 to {realm.ram_mib - 2}, or 0 for what the kernel makes of it",
            )
        if not 512 <= work.size <= 1 * MIB or work.size % 512:
            raise ScenarioError(
                f"transfers of {work.size} bytes",
                where="workload.size",
                hint="give a multiple of 512 from 512 to 1048576",
            )
        for name, most in MOST_WORK.items():
            if not 0 <= getattr(work, name) <= most:
                raise ScenarioError(
                    f"{getattr(work, name)} {name}",
                    where=f"workload.{name}",
                    hint=f"give 0 to {most}",
                )

    def _check_device(self, device: DeviceSpec) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", device.name):
            raise ScenarioError(
                f"a device cannot be called {device.name!r}",
                where="device.name",
                hint="give it a name of letters, digits, - and _",
            )
        if device.name in {f.name for f in dataclasses.fields(self)}:
            raise ScenarioError(
                f"{device.name!r} is a table of the scenario",
                where="device.name",
                hint=f"call it {device.name}0",
            )
        where = f"device {device.name}"
        for name in ("dma_mask_bits", "address_bits"):
            if not 20 <= getattr(device, name) <= 64:
                raise ScenarioError(
                    f"{name} is {getattr(device, name)}", where=where, hint="give 20 to 64"
                )
        if device.kind == "emulated" and (device.trusted or device.dma_offset):
            raise ScenarioError(
                "an emulated device is part of the VMM: it cannot be trusted or have dma-ranges",
                where=where,
                hint='use kind = "assigned"',
            )
        if device.kind == "emulated" and device.behaviour != "good":
            raise ScenarioError(
                "an emulated device is part of the VMM: it behaves, and its errors are keys of vmm",
                where=where,
                hint='give it behaviour = "good", or kind = "assigned"',
            )
        if device.behaviour in TRUSTED_BEHAVIOURS and not device.trusted:
            raise ScenarioError(
                f"behaviour = {device.behaviour!r} is of a device that asks to be trusted",
                where=where,
                hint="give it trusted = true",
            )
        if device.kind == "emulated" and device.model not in EMULATED_MODELS:
            raise ScenarioError(
                f"the VMM does not emulate {device.model!r}",
                where=f"{where}: model",
                hint=f"give one of {', '.join(EMULATED_MODELS)}",
            )
        if device.dma_offset % 4096 or not 0 <= device.dma_offset <= RAM_BASE:
            raise ScenarioError(
                f"dma_offset 0x{device.dma_offset:x}",
                where=where,
                hint=f"give a multiple of 4096 up to 0x{RAM_BASE:x}, where RAM begins",
            )
