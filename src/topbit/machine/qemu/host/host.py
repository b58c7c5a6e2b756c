"""Which host runs the Realm: its RMM, its VMM and its SMMU, all on QEMU's memory.

The same `rmm/`, `vmm/` and page-table code as on the model machine; only the SMMU is QEMU's, and
reads the tables that this code writes. Nearly all of it is made before QEMU runs, whose vCPU would
only wait for it; it is completed at the first trap, when QEMU's own device tree stands in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from topbit.arch.ipa import Ipa, IpaSpace, Pa
from topbit.arch.stage2 import LAST_LEVEL
from topbit.devices.tdi import TrustedDevice
from topbit.events import Emit, Event
from topbit.host.arm_smmu_v3 import ArmSmmuV3
from topbit.host.io_pgtable import Stage2Table
from topbit.host.pages import PAGE, PagePool, PageRange
from topbit.host.rme_ranges import RangeRealmHost
from topbit.host.rmi_da import RealmDevices
from topbit.machine.qemu.el2.mailbox import TLBI_ALL, Mailbox
from topbit.machine.qemu.el2.vcpus import RealmCpus
from topbit.machine.qemu.host import image_load, injection_port, outbox, realm_streams
from topbit.machine.qemu.host.devicetree import realm_tree
from topbit.machine.qemu.host.injection_port import InjectionPort
from topbit.machine.qemu.host.its import ItsFrame, RedistributorFrame
from topbit.machine.qemu.host.memory_map import (
    DEVICE_MEMORY,
    GICR,
    GICR_BYTES,
    ITS,
    ITS_DOORBELL,
    MIB,
    PROGRAM_BYTES,
    Layout,
)
from topbit.machine.qemu.host.realm_streams import FirstCpu, RealmStreams
from topbit.machine.qemu.host.shape import SMMU_BITS, GuestImage, RealmShape, tables_bytes
from topbit.machine.qemu.host.smmu_events import SmmuEvents
from topbit.machine.qemu.host.smmu_port import QemuSmmuPort
from topbit.machine.qemu.host.uart_irq import UartIrq
from topbit.machine.qemu.host.virtio_mmio import EmulatedDevice, Wire
from topbit.machine.qemu.process.pci import PciDevice
from topbit.machine.qemu.process.process import DOORBELL_UART, RAM_BASE
from topbit.memory import PhysicalMemory
from topbit.rmm import Granules, Rmm
from topbit.rmm.s2tt import ENTRIES
from topbit.rmm.state import PSMMU
from topbit.vmm.convert import runs
from topbit.vmm.dma import EmulatedDma
from topbit.vmm.injection import HostInjection
from topbit.vmm.policy import SmmuMap, VmmPolicy
from topbit.vmm.slots import MemorySlot
from topbit.vmm.vfio import VfioContainer
from topbit.vmm.virtio.mmio import VirtioMmio
from topbit.vmm.virtio.net import VirtioNet
from topbit.vmm.vmm import Vmm

TREE_ROOM = 1 * MIB
PAGES_AT_ONCE = 8 * ENTRIES  # of so many tables: a millisecond
VECTORS = 0x1_0000  # Linux's exception entry code begins behind its first 64 KiB


class QemuHost:
    """The host of one Realm on QEMU's memory.

    - `__init__`: memory, RMM, SMMU tables, and a Realm that is NEW with kernel and initramfs in
      it.
    - `furnish`: what else is known before QEMU runs; done while it starts.
    - `populating`: gives the Realm what it has not got of its RAM, a part in each step; done while
      the guest runs, which gets a page that it touches before (`Vmm`, as KVM does).
    - `cpus` takes the traps; at the first one the device tree is added, the Realm activated.
    - `wires`: by file descriptor, what is to be done when it becomes readable.

    Args:
        shape: the Realm.
        layout: where everything stands.
        memory: QEMU's memory.
        guest: what boots.
        emit: takes the events of RMM, VMM and SMMU tables.
    """

    def __init__(
        self,
        shape: RealmShape,
        layout: Layout,
        memory: PhysicalMemory,
        guest: GuestImage,
        emit: Emit,
    ) -> None:
        self.shape = shape
        self.layout = layout
        self.memory = memory
        self._command_line, self._has_initrd = guest.command_line, bool(guest.initrd)
        self.emit = emit
        self.granules = Granules(memory)
        self.granules.carve_out(layout.program, PROGRAM_BYTES)
        self.slot = MemorySlot(layout.ipa, layout.guest_ram, layout.shared, layout.private)
        used = tables_bytes(shape)
        tables = PageRange(memory, layout.pool_start, used)
        bits = min(shape.ipa_bits, SMMU_BITS)
        self.port = QemuSmmuPort(memory, self._mailbox)
        self.smmu = ArmSmmuV3(
            self.port,
            memory,
            tables,
            16 if any(device.bus for device in shape.pci) else 8,
            shape.host.event_queue.bit_length() - 1,
        )
        self.rmm = Rmm(
            memory,
            self.granules,
            abi="2.0",
            emit=emit,
            smmu=RealmStreams(self.smmu, memory, tables, shape.policy.msi_doorbell),
            told_ipa_bits=shape.told_ipa_bits,
        )
        # One root table, where Linux would concatenate several: QEMU's SMMU takes those for one
        # (docs/qemu-deviations.md, Q7).
        self.table = Stage2Table(memory, tables, bits, output_bits=SMMU_BITS)
        self.space = IpaSpace(shape.ipa_bits)
        behind = shape.policy
        if not shape.smmu:  # nothing is assigned, so nothing is mapped for devices
            behind = VmmPolicy(smmu_map=SmmuMap.NONE)
        self.vfio = VfioContainer(self.smmu, self.table, self.space, behind, emit)
        pages = PagePool(layout.pool_start + used, layout.pool - used)
        self.vmm = Vmm(
            self.rmm, memory, pages, [self.slot], self.vfio, self.space, shape.policy, emit,
            RangeRealmHost,
        )  # fmt: skip
        assert isinstance(self.vmm.realm, RangeRealmHost)
        self.realm = self.vmm.realm
        self.realm.da = any(device.trusted for device in shape.pci)
        self.cpus = RealmCpus(self.rmm, self.vmm, [], layout.program, self._at_el2, self._started)
        self._plan = image_load.plan(
            self.slot, guest.kernel.text_offset, guest.kernel.image_size, len(guest.initrd)
        )
        # The index of the first page of the RAM that is populated while the guest runs.
        self._first = -(-self.slot.page(self._plan.end) // ENTRIES) * ENTRIES
        self.its = ItsFrame(memory, self.slot, tables, self._mailbox)
        self.vmm.mmio[Ipa(ITS)] = self.its
        for index in range(shape.cpus):
            frame = RedistributorFrame(index, self.slot, tables, self._mailbox)
            self.vmm.mmio[Ipa(GICR + index * GICR_BYTES)] = frame
        self.injection = HostInjection(self.vmm, emit)
        watched = next(((d.name, d.sid) for d in shape.pci if d.name == shape.watched), None)
        if shape.host.injects or watched:
            self.vmm.mmio[injection_port.ADDRESS] = InjectionPort(
                self._inject, memory, self.slot, self.space, watched, emit
            )
        self._accepted = False
        names = {device.sid: device.name for device in shape.pci}
        self._events = SmmuEvents(self.port, self.smmu, names, shape.host.reads_events, emit)
        self.line = UartIrq(self.cpus.at_resume, self._mailbox)
        self.wires: dict[int, Wire] = {}
        self._create(guest)

    def _mailbox(self) -> Mailbox | None:
        return self.cpus.current

    def _create(self, guest: GuestImage) -> None:
        """Make the Realm and put its measured content into it."""
        self.realm.activate_rmm()
        self.realm.create()
        self.realm.init_ripas(self.slot.ipa, self.slot.size)
        plan = self._plan
        self._load(plan.kernel, guest.kernel.data)
        self._load(plan.initrd[0], guest.initrd)

    def furnish(self) -> None:
        """Give the Realm the rest of its RAM, device registers and devices."""
        self._show(ITS, self.its.page)
        for window in self.layout.windows():
            alias = self.space.unprotected(window.pa)
            self.realm.map_unprotected_blocks(
                alias, window.size, window.pa, window.level, DEVICE_MEMORY
            )
        self.realm.map_unprotected_blocks(
            self.space.unprotected(outbox.ADDRESS),
            outbox.BYTES,
            self.layout.outbox,
            LAST_LEVEL - 1,
            DEVICE_MEMORY,
        )
        tree = self.slot.pages(self._plan.tree, TREE_ROOM)
        self._populate(0, tree.start)
        self._populate(tree.stop, self._first)
        for device in self.shape.emulated:
            self._attach(device)
        self._assign(self.shape.pci)

    def _show(self, registers: int, page: Pa) -> None:
        """Let the guest read `page` where its `registers` are; its stores stay traps."""
        alias = self.space.unprotected(registers)
        self.realm.map_unprotected_blocks(
            alias, PAGE, page, LAST_LEVEL, DEVICE_MEMORY, writable=False
        )

    def _attach(self, device: EmulatedDevice) -> None:
        """Put a device of the VMM on its bus; its page of registers is mapped read-only."""
        page = self.realm.pages.page()
        self.memory.fill(page, PAGE)
        self._show(device.address, page)
        dma = EmulatedDma(
            device.name,
            self.memory,
            [self.slot],
            self.space,
            self.shape.policy,
            self.granules.check,
            self.emit,
        )
        registers = VirtioMmio(
            device.backend, dma, self._interrupt(device), self.memory.view(page, PAGE)
        )
        self.vmm.mmio[device.address] = registers
        if isinstance(device.backend, VirtioNet):
            self.wires[device.backend.wire.fileno()] = Wire(device.backend, registers)

    def _interrupt(self, device: EmulatedDevice) -> Callable[[bool], None]:
        """What does a device call with the level of its interrupt?"""
        if device.wired:
            return self.line.of(device.index)

        def edge(level: bool) -> None:
            if level:
                self.cpus.at_resume.append(device.edge())

        return edge

    def _load(self, ipa: Ipa, data: bytes) -> None:
        """Put an image into the Realm, with one event instead of one for each page."""
        self.rmm.listening = False
        image_load.load(self.realm, self.slot, ipa, data)
        self.rmm.listening = True
        pa = self.slot.to_private_pa(ipa)
        self.emit(
            Event("rmm", "rtt_map", address=ipa, phys=ipa, pa=pa, size=len(data), attrs="protected")
        )

    def populating(self) -> Iterator[None]:
        """Give the Realm the rest of its RAM, a part in each step, those first that Linux takes
        first: from the top down (mm/memblock.c)."""
        end = self.slot.page(self.slot.end)
        while end > self._first:
            start = max(self._first, end - PAGES_AT_ONCE)
            self._populate(start, end)
            end = start
            yield

    def _populate(self, start: int, end: int) -> None:
        """Give the Realm those pages, by their indices, that are neither there nor shared."""
        some = slice(start, end)
        missing = ~(self.slot.populated[some] | self.slot.shared[some])
        for ipa, size in runs(missing, self.slot.ipa + start * PAGE):
            self.realm.populate_range(ipa, size, self.slot.to_private_pa(ipa))
        self.slot.populated[some] |= missing

    def _assign(self, devices: Sequence[PciDevice]) -> None:
        """Put each device's stream behind its table, and let it reach the MSI doorbell."""
        if not self.shape.smmu:
            return
        self.smmu.enable()
        self.vfio.map_doorbell(ITS_DOORBELL)
        for device in devices:
            if device.port_sid is not None:
                self.vfio.attach(device.port_sid)
            if device.trusted:
                self._trusted().assign(device.sid, TrustedDevice(device.name, [device.sid]))
            else:
                self.vfio.attach(device.sid)

    def _trusted(self) -> RealmDevices:
        """Which devices may the Realm trust? Their registers stay shared: no release of the kernel
        can map them otherwise yet."""
        if self.vmm.devices is None:
            self.vmm.devices = RealmDevices(self.realm, PSMMU)
        return self.vmm.devices

    def _started(self, rec: Pa) -> None:
        """Accept trusted devices before the kernel starts, on the first vCPU."""
        if self._accepted:
            return
        self._accepted = True
        cpu = FirstCpu(self.rmm, self.vmm, rec, self.memory, self.slot)
        for sid in self.vmm.devices.assigned if self.vmm.devices else ():
            page = self.slot.ipa  # RAM below the kernel is free
            realm_streams.accept(cpu, sid, page, enable_dma=self.shape.enable_dma)

    def _inject(self) -> None:
        """Do to the guest what this host does in the middle of the guest's work."""
        spec = self.shape.host
        if spec.destroy_page == "private":
            self.injection.destroy_private(self._plan.kernel + VECTORS)
        elif spec.destroy_page == "shared":
            self.injection.destroy_shared(self.vmm.converter.latest)
        for device in self.shape.pci:
            if device.name == spec.disable_stream:
                self.injection.disable_stream(
                    device.name, device.sid, partial(self._disable, device)
                )
        self.cpus.at_resume.append(TLBI_ALL)

    def _disable(self, device: PciDevice) -> None:
        if device.trusted:
            self._trusted().unlock(device.sid)
        else:
            self.smmu.detach(device.sid)

    def _at_el2(self) -> None:
        """Do at a trap what needs a vCPU at EL2 or QEMU's device tree."""
        if not self.cpus.recs:
            self._finish()
        self.port.flush()
        self._events.at_el2()

    def collect(self) -> None:
        """Emit what the SMMU recorded since the last time."""
        if self.shape.smmu:
            self._events.collect()

    @property
    def perhaps_lost(self) -> bool:
        """May the SMMU have lost records of events, unknown to anybody?"""
        return self._events.perhaps_lost

    def _finish(self) -> None:
        """Add the device tree and the vCPUs, and let the Realm run."""
        dump = self.memory.read(RAM_BASE, int.from_bytes(self.memory.read(RAM_BASE + 4, 4), "big"))
        tree = realm_tree(
            dump,
            memory=[(self.slot.ipa, self.slot.size)],
            command_line=self._command_line,
            initrd=self._plan.initrd if self._has_initrd else None,
            virtio_mmio=[device.described() for device in self.shape.emulated],
            hidden=[DOORBELL_UART],
        )
        self._load(self._plan.tree, tree)
        self._populate(0, self._first)
        for index in range(self.shape.cpus):
            mpidr = index & 15 | index >> 4 << 8
            rec = self.realm.rec_create(
                mpidr, self._plan.kernel, [self._plan.tree], runnable=index == 0
            )
            self.cpus.recs.append(rec)
        self.realm.activate()
        self.its.start()
