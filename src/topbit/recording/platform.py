"""What is known about the platform that a recording comes from, and how is it known?

Everything is optional: a log tells some facts, a scenario tells all. Rules ask for what they
need and say "not checked" where it is missing. Every fact carries where it came from, and a fact
that was inferred carries the readings that fit as well: it is certain only if no other fits.
"""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass, field
from typing import Any

from topbit.addressing.scheme import amd_sev, dma_addr_canonical
from topbit.arch.ipa import IpaSpace

_space = functools.cache(IpaSpace)  # a rule may ask for each event


@dataclass(slots=True)
class DeviceFacts:
    """What is known about one DMA device?

    Attributes:
        sid: StreamID.
        trusted: accepted into the Realm (T=1); its private addresses carry no shared bit.
        emulated: served by the VMM itself; no SMMU stands before it.
        dma_mask: widest address it can put on the bus.
        bus_dma_limit: highest address that its bus carries.
        behind_iommu: the guest drives an IOMMU before it, so its DMA addresses are IOVAs.
        driver: name of the guest driver that bound to it.
    """

    sid: int | None = None
    trusted: bool = False
    emulated: bool = False
    dma_mask: int | None = None
    bus_dma_limit: int | None = None
    behind_iommu: bool = False
    driver: str | None = None


@dataclass(slots=True)
class Unparsed:
    """Which lines of a source looked like ours and could not be read?

    Attributes:
        source: the file.
        count: how many.
        line: number of the first one, from 1.
        text: the first one, shortened.
    """

    source: str
    count: int
    line: int
    text: str


@dataclass(slots=True)
class FileFacts:
    """What is one of the files that a recording was read from, and how much of it was read?

    Attributes:
        name: the file, as the user wrote it.
        kind: "text", "trace.dat", "event queue", or "other": of a folder, and not read.
        role: whose it is: one of `ROLES`.
        role_from: "option", or what it was seen by.
        kernel: release of the kernel whose log it holds, if any.
        boots: how many boots it tells of.
        lines: how many lines (text) or records were read.
        encoding: of text: "utf-8", "utf-16" ...; empty for binary files.
        replaced: how many bytes were no text in that encoding.
        damage: what is wrong with it, so that not all of it could be read.
    """

    name: str
    kind: str = "text"
    role: str = "unknown"
    role_from: str = ""
    kernel: str | None = None
    boots: int = 1
    lines: int = 0
    encoding: str = ""
    replaced: int = 0
    damage: list[str] = field(default_factory=list)


ROLES = ("guest", "host", "vmm", "firmware", "smmu", "unknown")
"""Whose file can it be? "guest": the machine whose DMA addresses are checked; "smmu": a dump of
an SMMU's event queue; "unknown": it tells of nothing that needs an owner."""


@dataclass(slots=True)
class Reading:
    """Which is one of the readings that fit what was seen, where nothing decides between them?

    Attributes:
        fact: the fact that it is about ("ipa_bits", "realm", "scheme").
        value: what the fact would be.
        why: what speaks for it.
        decides: what would tell.
    """

    fact: str
    value: str
    why: str
    decides: str


@dataclass(slots=True)
class Platform:
    """What is the platform: scheme, address width, kernel, memory, devices, policies?

    Attributes:
        scheme: "arm-cca", "amd-sme", "amd-sev", ... or "none", as `addressing.scheme` names them.
        c_bit: number of the C bit (AMD), where known.
        realm: the guest is a Realm; None if nothing tells.
        ipa_bits: width of the IPA space; the shared bit is bit ipa_bits - 1.
        kernel: release of the guest kernel, as `uname -r` prints it.
        pools: swiotlb pools as (base, size) in guest addresses, shared bit clear.
        ram: guest RAM as (base, size).
        devices: facts by the kernel's device name.
        msi_doorbells: addresses of the registers that a device writes to for an interrupt
            (GITS_TRANSLATER), as the guest gives them to devices.
        dma_ranges: (cpu_start, dma_start, size) regions of the bus, empty for identity.
        machine: "model", "qemu" or "log".
        policies: what each agent was told to do, by key ("vmm.smmu_map": "protected").
        changed: keys of `policies` that the scenario sets to something else than is usual; None
            if nothing tells (recordings of topbit 0.1).
        notes: what a reader of the report must know about how facts were found.
        unparsed: lines that looked like events and could not be read.
        lost_events: trace events that the kernel's ring buffer overwrote or dropped.
        origins: fact -> where it comes from: "dmesg.txt:12", "option", "scenario",
            "recording", or "inferred: WHY".
        readings: for a fact that nothing decides, each reading that fits.
        files: the files that it was read from.
        one_clock: events of all agents stand in the order in which they happened; False when
            the recording was put together from files that do not share a clock.
        unfinished: why the guest of a run did not come to the end of its work, or what of it did
            not go well; empty if all did, and for logs.
        command_status: exit status of the command that the user had run in the guest; None
            without one, or if it did not end.
    """

    scheme: str = "arm-cca"
    c_bit: int | None = None
    realm: bool | None = None
    ipa_bits: int | None = None
    kernel: str | None = None
    pools: list[tuple[int, int]] = field(default_factory=list)
    ram: list[tuple[int, int]] = field(default_factory=list)
    devices: dict[str, DeviceFacts] = field(default_factory=dict)
    msi_doorbells: list[int] = field(default_factory=list)
    dma_ranges: list[tuple[int, int, int]] = field(default_factory=list)
    machine: str = "log"
    policies: dict[str, str] = field(default_factory=dict)
    changed: list[str] | None = None
    notes: list[str] = field(default_factory=list)
    unparsed: list[Unparsed] = field(default_factory=list)
    lost_events: int = 0
    origins: dict[str, str] = field(default_factory=dict)
    readings: list[Reading] = field(default_factory=list)
    files: list[FileFacts] = field(default_factory=list)
    one_clock: bool = True
    unfinished: str = ""
    command_status: int | None = None

    @property
    def space(self) -> IpaSpace | None:
        """Which IPA space has the guest, or None while its width is unknown?"""
        return None if self.ipa_bits is None else _space(self.ipa_bits)

    # What `IpaSpace` answers; while the width is unknown, no bit of an address is the shared bit.

    def has_shared_bit(self, address: int) -> bool:
        """Does an address carry the shared bit?"""
        return self.space is not None and self.space.has_shared_bit(address)

    def protected(self, address: int) -> int:
        """Which address is it with the shared bit clear?"""
        return address if self.space is None else self.space.protected(address)

    def unprotected(self, address: int) -> int:
        """Which address is it with the shared bit set?"""
        return address if self.space is None else self.space.unprotected(address)

    def alias(self, address: int) -> int:
        """Which address has the same page in the other half?"""
        return address if self.space is None else self.space.alias(address)

    # And what the scheme of AMD's C bit answers; while its place is unknown, no bit is the C bit.

    @property
    def c_bit_mask(self) -> int:
        """Which bits of an address say that it is private by the C bit? 0 while it is unknown."""
        return 0 if self.c_bit is None else amd_sev(self.c_bit).encrypted_mask

    def without_c_bit(self, address: int) -> int:
        """Which address is it with the C bit clear?"""
        return address if self.c_bit is None else dma_addr_canonical(amd_sev(self.c_bit), address)

    def has_c_bit(self, address: int) -> bool:
        """Does an address carry the C bit?"""
        return self.without_c_bit(address) != address

    def changed_policies(self) -> dict[str, str]:
        """Which policies are worth a line: the changed ones, or all if it is not known which?"""
        if self.changed is None:
            return self.policies
        return {key: self.policies[key] for key in self.changed if key in self.policies}

    def certain(self, fact: str) -> bool:
        """Is this fact known, so that a verdict may rest on it?

        It is if it comes from somewhere and no second reading of what was seen is left.
        """
        return fact in self.origins and not any(r.fact == fact for r in self.readings)

    def inferred(self, fact: str) -> bool:
        """Was the fact concluded from addresses, and told by nobody?"""
        return self.origins.get(fact, "").startswith("inferred")

    @property
    def own_run(self) -> bool:
        """Was it recorded by one of topbit's machines, which tell all that happens on them?"""
        return self.machine != "log"

    @property
    def has_guest_log(self) -> bool:
        """Was a kernel log of the guest read?"""
        return any(file.role == "guest" and file.kernel for file in self.files)

    def role_of(self, source: str | None) -> str:
        """Whose is the file that an event was read from? "unknown" for a machine's own events."""
        return next((file.role for file in self.files if file.name == source), "unknown")

    def device_of_sid(self, sid: int) -> str | None:
        """Which device has this StreamID?"""
        for name, facts in self.devices.items():
            if facts.sid == sid:
                return name
        return None

    def to_dict(self) -> dict[str, Any]:
        """What is the JSON form?"""
        return dataclasses.asdict(self)
