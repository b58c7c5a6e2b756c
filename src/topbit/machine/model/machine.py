"""The model machine: a whole platform in Python, its guest a model of Linux.

    ModelMachine(scenario).run() -> Recording

Physical memory is one NumPy array. The host's first part backs the guest's shared pages, the
second (or the same, with backing "in-place") its private pages, the rest is for the RMM, tables
and queues. What the guest's CPU does goes through `rmm/`, what devices do through `smmu/`, both on
the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

from topbit.addressing.dma_direct import DMA_BIT_MASK, BusDmaRegion
from topbit.arch.ipa import DmaAddr, Ipa, IpaSpace, Pa
from topbit.arch.stage2 import Granule
from topbit.devices.bus import BusPort
from topbit.devices.dma_engine import DmaEngine
from topbit.errors import UsageError
from topbit.events import Event
from topbit.host.arm_smmu_v3 import ArmSmmuV3
from topbit.host.io_pgtable import Stage2Table
from topbit.host.pages import PAGE, PagePool, PageRange
from topbit.host.rme import start_level
from topbit.host.rme_ranges import RangeRealmHost
from topbit.linux.block import BlockDriver, Transport
from topbit.linux.cpu import SynchronousExternalAbort
from topbit.linux.dma_engine import POLLS, EngineRing
from topbit.linux.kernel import GuestConfig, Kernel
from topbit.linux.rsi import RsiError
from topbit.linux.virtio_ring import VirtioBlkRing
from topbit.machine.injection import not_injected
from topbit.machine.model.injection import WatchedRing
from topbit.machine.model.realm_streams import RealmStreams
from topbit.machine.model.trusted import TrustedDevices
from topbit.machine.model.vcpu import ModelCpu, StoppedError
from topbit.machine.model.workload import Disk, exercise, refuse_other_work
from topbit.memory import PhysicalMemory
from topbit.recording import DeviceFacts, Platform, Recording
from topbit.rmm import Granules, Rmm
from topbit.scenario.scenario import MIB, RAM_BASE, Scenario
from topbit.scenario.settings import settings, unusual
from topbit.scenario.tables import DeviceSpec
from topbit.smmu.smmu import Smmu
from topbit.vmm.dma import EmulatedDma
from topbit.vmm.injection import HostInjection
from topbit.vmm.policy import Backing
from topbit.vmm.slots import MemorySlot
from topbit.vmm.vfio import VfioContainer
from topbit.vmm.virtio.blk import VirtioBlk
from topbit.vmm.virtio.mmio import VirtioMmio
from topbit.vmm.vmm import Vmm

FIRST_SID = 0x8
ITS_DOORBELL = Pa(0x0809_0040)  # no memory stands there
SID_STEP = 0x8
TABLES = 8 * MIB
HOST_PAGES = 8 * MIB
DISK = 4 * MIB


class ModelMachine:
    """One platform for one scenario.

    - made from a scenario: memory, RMM, SMMU, VMM, Realm, devices;
    - `run()` boots the guest, exercises the disks, and returns the recording.
    """

    def __init__(self, scenario: Scenario) -> None:
        refuse_other_work(scenario.workload)
        self.scenario = scenario
        self.events: list[Event] = []
        self.died = ""
        self._injects = True
        self._victim = scenario.host.disable_stream
        emit = self.events.append
        ram = scenario.realm.ram_mib * MIB
        policy = scenario.vmm
        shared = Pa(RAM_BASE)
        private = shared if policy.backing is Backing.IN_PLACE else shared + ram
        host = private + ram
        self.space = IpaSpace(scenario.realm.ipa_bits)

        self.memory = PhysicalMemory(shared, host - shared + TABLES + HOST_PAGES)
        self.granules = Granules(self.memory)
        wide = self.space.bits > 48
        self.smmu = Smmu(
            self.memory,
            gpc=lambda pa, size, write, pas: self.granules.check(
                "smmu", pa, size, pas, write=write
            ),
            emit=emit,
            oas_bits=52 if wide else 48,
        )
        self.rmm = Rmm(
            self.memory,
            self.granules,
            abi="2.0",
            emit=emit,
            smmu=RealmStreams(self.smmu),
            told_ipa_bits=scenario.realm.told_ipa_bits,
        )
        allocate = PageRange(self.memory, host, TABLES)
        table = Stage2Table(
            self.memory,
            allocate,
            self.space.bits,
            start_level=start_level(self.space.bits),
            granule=Granule(12, ds=wide),
            output_bits=52 if wide else 48,
            blocks=False,
        )
        log2 = scenario.host.event_queue.bit_length() - 1
        self.driver = ArmSmmuV3(self.smmu, self.memory, allocate, eventq_log2=log2)
        self.driver.enable()
        self.vfio = VfioContainer(self.driver, table, self.space, policy, emit)
        self.vfio.map_doorbell(ITS_DOORBELL)
        self.slots = [MemorySlot(RAM_BASE, ram, shared_pa=shared, private_pa=private)]
        pages = PagePool(host + TABLES, HOST_PAGES)
        self.vmm = Vmm(
            self.rmm, self.memory, pages, self.slots, self.vfio, self.space, policy, emit,
            RangeRealmHost,
        )  # fmt: skip
        assert isinstance(self.vmm.realm, RangeRealmHost)
        self.vmm.realm.activate_rmm()
        self.vmm.realm.da = any(spec.trusted for spec in scenario.device)
        self.injection = HostInjection(self.vmm, emit)
        rec = self.vmm.create(pc=RAM_BASE)
        self.vmm.enter(rec)
        self.cpu = ModelCpu(self.rmm, self.vmm, rec, self.memory, self.granules)
        self.kernel = Kernel(
            self.cpu,
            GuestConfig(
                scenario.guest.policy(),
                RAM_BASE,
                ram,
                scenario.guest.swiotlb_mib * MIB,
                scenario.guest.pa_bits_52,
                scenario.guest.private_dma_for_trusted,
                enable_dma=scenario.guest.accept != "no-dma",
            ),
            emit,
        )
        self.trusted = TrustedDevices(scenario, self.vmm, self.granules, self.kernel, emit)

    def run(self) -> Recording:
        """Boot the guest, let its drivers work, and return what everyone did.

        A guest that dies leaves a `state` event, the reason in `died`, and the recording so far.
        """
        emit = self.events.append
        try:
            self.kernel.boot()
            disks = [
                self._disk(spec, FIRST_SID + SID_STEP * i)
                for i, spec in enumerate(self.scenario.device)
            ]
            exercise(disks, self.scenario.workload, emit)
        except (SynchronousExternalAbort, RsiError, StoppedError) as died:
            self.died = str(died)
            emit(Event("guest", "state", status="died", detail=self.died))
        return Recording.of_events(self.platform(), self.events)

    def platform(self) -> Platform:
        """What is the platform, for the recording?"""
        scenario = self.scenario
        ranges: list[tuple[int, int, int]] = [
            (RAM_BASE, RAM_BASE - spec.dma_offset, scenario.realm.ram_mib * MIB)
            for spec in scenario.device
            if spec.dma_offset
        ]
        pool = getattr(self.kernel, "pool", None)
        told = settings(scenario)
        return Platform(
            scheme="arm-cca",
            realm=True,
            ipa_bits=scenario.realm.ipa_bits,
            origins=dict.fromkeys(
                ("scheme", "realm", "ipa_bits", "kernel", "ram", "pools"), "scenario"
            ),
            kernel=str(scenario.guest.policy()),
            pools=[(pool.start, pool.size)] if pool else [],
            ram=[(RAM_BASE, scenario.realm.ram_mib * MIB)],
            devices={
                spec.name: DeviceFacts(
                    sid=FIRST_SID + SID_STEP * i if spec.kind == "assigned" else None,
                    trusted=spec.trusted,
                    emulated=spec.kind == "emulated",
                    dma_mask=DMA_BIT_MASK(spec.dma_mask_bits),
                )
                for i, spec in enumerate(scenario.device)
            },
            msi_doorbells=[ITS_DOORBELL],
            dma_ranges=ranges,
            machine="model",
            policies=told,
            changed=unusual(told),
            notes=not_injected(scenario.host, self.events),
            unfinished=self.died and f"the modelled guest ended before its workload: {self.died}",
        )

    def _disk(self, spec: DeviceSpec, sid: int) -> Disk:
        medium = bytearray(DISK)
        ranges: Sequence[BusDmaRegion] = ()
        if spec.dma_offset:
            size = self.scenario.realm.ram_mib * MIB
            start = DmaAddr(RAM_BASE - spec.dma_offset)
            ranges = (BusDmaRegion(RAM_BASE, start, size),)
        device = self.kernel.device(
            spec.name,
            dma_mask=DMA_BIT_MASK(spec.dma_mask_bits),
            trusted=spec.trusted,
            dma_ranges=ranges,
        )
        if spec.kind == "emulated":
            if spec.model != "virtio-blk":
                raise UsageError(
                    f"the modelled guest has no driver for {spec.model}, only for virtio-blk",
                    where=f"device {spec.name}: model",
                    hint="run it with --machine qemu",
                )
            backend = VirtioBlk(medium)
            dma = EmulatedDma(
                spec.name,
                self.memory,
                self.slots,
                self.space,
                self.scenario.vmm,
                self.granules.check,
                self.events.append,
            )
            port = VirtioMmio(backend, dma, lambda level: None)
            virtio = self._watched(spec, sid, VirtioBlkRing(self.kernel, device, port))
            return Disk(BlockDriver(self.kernel, device, virtio), medium)
        bus = BusPort(
            spec.name,
            sid,
            self.smmu,
            self.granules,
            self.events.append,
            address_bits=spec.address_bits,
            bus_offset=spec.dma_offset,
            wild_bits=self.space.size if spec.behaviour == "wild" else 0,
            trusted=spec.trusted,
        )
        engine = DmaEngine(bus, medium)
        given_up = False
        if spec.trusted:
            given_up = not self.trusted.attach(spec, sid, device)
        else:
            self.vfio.attach(sid)
        # Which interrupts a trusted device sends with T = 1 is not modelled: its driver polls.
        msi = POLLS if spec.trusted else DmaAddr(ITS_DOORBELL)
        ring = EngineRing(self.kernel, device, engine, msi)
        engine.interrupt = lambda pa: ring.interrupt() if pa == ITS_DOORBELL else None
        driver = BlockDriver(self.kernel, device, self._watched(spec, sid, ring))
        misbehave = engine.misbehave if spec.behaviour == "stale" else None
        return Disk(driver, medium, misbehave, given_up)

    def _watched(self, spec: DeviceSpec, sid: int, ring: Transport) -> WatchedRing:
        """Let the host act while the device's requests are under way."""

        def before(dma_addr: DmaAddr) -> None:
            injects, self._injects = self._injects, False
            if injects and self.scenario.host.destroy_page != "none":
                self._destroy_page(spec, dma_addr)
            if spec.name == self._victim:
                self._victim = ""
                self.injection.disable_stream(spec.name, sid, lambda: self._disable(sid))

        def after() -> None:
            self.trusted.accept_late()
            if self.scenario.host.reads_events:
                self.driver.events()

        return WatchedRing(ring, before, after)

    def _destroy_page(self, spec: DeviceSpec, dma_addr: DmaAddr) -> None:
        """Take a page of the transfer away: the driver's buffer, or where it was bounced to."""
        if self.scenario.host.destroy_page == "shared":
            ipa = self.space.protected(dma_addr + spec.dma_offset)
            self.injection.destroy_shared(ipa & -PAGE)
            return
        maps = (e for e in reversed(self.events) if (e.event, e.device) == ("dma_map", spec.name))
        self.injection.destroy_private(Ipa((next(maps).phys or 0) & -PAGE))

    def _disable(self, sid: int) -> None:
        if self.vmm.devices is not None and sid in self.vmm.devices.assigned:
            self.trusted.take_back(sid)
        else:
            self.driver.detach(sid)
