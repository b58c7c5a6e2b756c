"""What does the VMM do when its Realm returns to the host?

The VMM of one Realm: it creates the Realm, gives it memory when it faults, converts pages when it
asks, and emulates devices. One REC exit at a time goes through `handle_exit`, on the model machine
and for a real kernel alike.
"""

from __future__ import annotations

from typing import Protocol

from topbit.arch import psci, rhi
from topbit.arch.esr import EC_WFX, ESR_EC, ESR_ISV, ESR_WNR
from topbit.arch.ipa import Ipa, IpaSpace, Pa
from topbit.arch.rmi import ExitReason, Ripas, Rmi
from topbit.arch.rmi_params import RecEnter, RecExit
from topbit.events import Emit
from topbit.host.pages import PAGE, PagePool
from topbit.host.rme import RealmHost, RmiError, RmiPort
from topbit.host.rmi_da import RealmDevices
from topbit.memory import PhysicalMemory
from topbit.vmm.convert import PageConverter
from topbit.vmm.policy import VmmPolicy
from topbit.vmm.power import ASKED, Power, PowerRequest
from topbit.vmm.slots import MemorySlot
from topbit.vmm.vfio import VfioContainer


class MmioDevice(Protocol):
    """The registers of an emulated device."""

    def read_register(self, offset: int) -> int:
        """Which 32-bit value stands at `offset`?"""
        ...

    def write_register(self, offset: int, value: int) -> None:
        """Store a 32-bit value at `offset`."""
        ...


class Vmm:
    """The VMM and host kernel of one Realm.

    - `create()` makes the Realm with one REC;
    - `enter(rec)` lets it run; `handle_exit(rec, ...)` does what an exit asks for, then enters.

    Args:
        port: the RMM.
        memory: physical memory.
        pages: free host pages.
        slots: the guest's RAM.
        vfio: its assigned devices' mappings.
        space: the Realm's IPA space.
        policy: how this VMM behaves.
        emit: takes its events.
        realm_host: how it calls the RMM: `RealmHost` (RMI 1.0) or `RangeRealmHost` (2.0).

    Attributes:
        mmio: emulated registers, by the IPA of their page.
        devices: the devices that the Realm may trust; None: it has none.
        lost: IPAs of private pages that this host destroyed, and that the Realm has not given up.
        stopped: why the Realm can run no longer; None while it can.
    """

    def __init__(
        self,
        port: RmiPort,
        memory: PhysicalMemory,
        pages: PagePool,
        slots: list[MemorySlot],
        vfio: VfioContainer,
        space: IpaSpace,
        policy: VmmPolicy,
        emit: Emit,
        realm_host: type[RealmHost] = RealmHost,
    ) -> None:
        self.memory = memory
        self.slots = slots
        self.space = space
        self.realm = realm_host(port, memory, pages, space.bits)
        self.converter = PageConverter(self.realm, vfio, space, policy, emit)
        self.mmio: dict[Ipa, MmioDevice] = {}
        self.devices: RealmDevices | None = None
        self.lost: set[Ipa] = set()
        self.stopped: str | None = None

    def create(self, pc: Ipa) -> Pa:
        """Create and activate the Realm. Returns its first REC."""
        self.realm.create()
        for slot in self.slots:
            self.realm.init_ripas(slot.ipa, slot.size)
        rec = self.realm.rec_create(mpidr=0, pc=pc)
        self.realm.activate()
        return rec

    def enter(self, rec: Pa, flags: int = 0) -> None:
        """Enter the REC."""
        run = self.realm.run_pages[rec]
        self.memory.write_u64(run + RecEnter.FLAGS, flags)
        self.realm.call(Rmi.REC_ENTER, rec, run)

    def handle_exit(self, rec: Pa) -> None:
        """Do what the exit in the REC's run page asks for, and enter the REC again.

        Sets `stopped` instead when the Realm powered off or cannot go on: it needs a page that
        was destroyed, or the RMM refuses what keeps it running. What the RMM refuses of a page
        conversion is the Realm's to deal with (`PageConverter`).
        """
        run = self.realm.run_pages[rec]
        reason = self.memory.read_u64(run + RecExit.REASON)
        flags = 0
        if reason == ExitReason.RIPAS_CHANGE:
            flags = self._ripas_change(rec, run)
        elif reason == ExitReason.SYNC and not self._waits(run):
            flags = self._abort(run)
        elif reason == ExitReason.HOST_CALL:
            self._host_call(run)
        elif reason == ExitReason.VDEV_REQUEST and self.devices is not None:
            self.devices.named(rec, self.memory.read_u64(run + RecExit.VDEV_ID_1))
        elif reason == ExitReason.DEV_MEM_MAP:
            flags = self._validate_registers(rec, run)
        elif reason == ExitReason.PSCI:
            self.stopped = f"PSCI call 0x{self.memory.read_u64(run + RecExit.GPRS):x}"
        if self.stopped is None:
            try:
                self.enter(rec, flags)
            except RmiError as refused:
                self.stopped = f"the RMM does not run the vCPU any more: {refused}"

    def power_request(self, rec: Pa) -> PowerRequest:
        """What does the PSCI call of the exit in the REC's run page ask of the machine?

        A call that names another vCPU is completed here (RMI_PSCI_COMPLETE, DEN0137). The machine
        enters the REC again, unless it ended or is off.
        """
        gprs = self.realm.run_pages[rec] + RecExit.GPRS
        call = psci.Psci(self.memory.read_u64(gprs))
        power = ASKED[call]
        if power is Power.OFF:
            self.realm.off.add(rec)
        if power not in (Power.LOOK_UP, Power.START):
            return PowerRequest(call, power)
        mpidr = self.memory.read_u64(gprs + 8)
        target = self.realm.recs[mpidr]
        self.realm.call(Rmi.PSCI_COMPLETE, rec, target, psci.SUCCESS)
        if power is Power.LOOK_UP or target not in self.realm.off:
            return PowerRequest(call, power)
        self.realm.off.remove(target)
        return PowerRequest(call, power, mpidr)

    def _host_call(self, run: Pa) -> None:
        """Answer that the host has no such service (KVM: rec_exit_host_call, SMCCC), but for one:
        the states of a device's interface."""
        gprs = self.memory.read(run + RecExit.GPRS, RecExit.NUM_GPRS * 8)
        self.memory.write(run + RecEnter.GPRS, gprs)
        function, device, state = (
            self.memory.read_u64(run + RecExit.GPRS + 8 * n) for n in range(3)
        )
        result = psci.NOT_SUPPORTED
        if function == rhi.DA_VDEV_SET_TDI_STATE and self.devices is not None:
            result = self.devices.set_state(device, state)
        self.memory.write_u64(run + RecEnter.GPRS, result)

    def _validate_registers(self, rec: Pa, run: Pa) -> int:
        device, base, top, pa = (
            self.memory.read_u64(run + at)
            for at in (
                RecExit.VDEV_ID_1,
                RecExit.DEV_MEM_BASE,
                RecExit.DEV_MEM_TOP,
                RecExit.DEV_MEM_PA,
            )
        )
        done = self.devices is not None and self.devices.validate(
            rec, device, Ipa(base), top - base, Pa(pa)
        )
        return 0 if done else RecEnter.DEV_MEM_RESPONSE

    def _slot(self, ipa: Ipa, size: int) -> MemorySlot | None:
        return next((s for s in self.slots if s.contains(ipa, size)), None)

    def _ripas_change(self, rec: Pa, run: Pa) -> int:
        ipa = Ipa(self.memory.read_u64(run + RecExit.RIPAS_BASE))
        size = self.memory.read_u64(run + RecExit.RIPAS_TOP) - ipa
        wanted = self.memory.read_u64(run + RecExit.RIPAS_VALUE) & 0xFF
        slot = self._slot(ipa, size)
        if slot is None:
            return RecEnter.RIPAS_RESPONSE
        if wanted == Ripas.EMPTY:
            done = self.converter.share(slot, rec, ipa, size)
        elif slot.shared[slot.pages(ipa, size)].any():
            done = self.converter.unshare(slot, rec, ipa, size)
        else:
            done = self.converter.keep_private(slot, rec, ipa, size)
        if done and self.lost:
            self.lost.difference_update(ipa + offset for offset in range(0, size, PAGE))
        return 0 if done else RecEnter.RIPAS_RESPONSE

    def _waits(self, run: Pa) -> bool:
        """Did the Realm only wait (WFI, WFE)? It goes on with the next entry."""
        return self.memory.read_u64(run + RecExit.ESR) & ESR_EC == EC_WFX

    def _abort(self, run: Pa) -> int:
        """Give memory, emulate a device register, or let the RMM inject an abort.

        The host masks the shared bit off the faulting address, as KVM does
        (kvm_gpa_from_fault).
        """
        fault = self.memory.read_u64(run + RecExit.HPFAR) >> 4 << 12
        ipa = self.space.protected(fault)
        slot = self._slot(ipa, PAGE)
        if slot is not None and not self.space.has_shared_bit(fault):
            self._populate(slot, ipa)
            return 0
        return self._emulate(run, ipa)

    def _populate(self, slot: MemorySlot, ipa: Ipa) -> None:
        page = slot.page(ipa)
        if ipa in self.lost:
            self.stopped = f"the host destroyed the page 0x{ipa:016x}, which the Realm still uses"
        elif not slot.populated[page]:
            try:
                self.realm.populate(ipa, slot.to_private_pa(ipa))
                slot.populated[page] = True
            except (RmiError, MemoryError) as failed:
                self.stopped = f"the host could not give the Realm page 0x{ipa:016x}: {failed}"

    def _emulate(self, run: Pa, page: Ipa) -> int:
        esr = self.memory.read_u64(run + RecExit.ESR)
        device = self.mmio.get(page)
        if device is None or not esr & ESR_ISV:
            return RecEnter.INJECT_SEA
        offset = self.memory.read_u64(run + RecExit.FAR) & 0xFFF
        if esr & ESR_WNR:
            device.write_register(offset, self.memory.read_u64(run + RecExit.GPRS))
        else:
            self.memory.write_u64(run + RecEnter.GPRS, device.read_register(offset))
        return RecEnter.EMUL_MMIO
