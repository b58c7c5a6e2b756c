"""What becomes of a device's access at the SMMU?

An access carries a StreamID and an address. The SMMU finds the stream's STE (cached or fetched),
translates through stage 2 (TLB or walk), checks permissions and granule protection, and lets the
access go to memory or aborts it, with or without an event record (IHI0070 3.3, 3.12, 7.2).
"""

from __future__ import annotations

from topbit.arch.gpt import PAS
from topbit.arch.ipa import Iova, Ipa, Pa
from topbit.arch.smmuv3 import CommandError, Config, EventRecord, EventType, FaultClass
from topbit.arch.smmuv3_regs import (
    CR0,
    REG_64,
    Gerror,
    GpfReason,
    RootReg,
    StrtabBase,
    StrtabBaseCfg,
)
from topbit.events import Emit, Event, ignore
from topbit.memory import BusError, PhysicalMemory
from topbit.smmu.bus import Bus, FetchAbort, Gpc
from topbit.smmu.commands import Caches, IllegalCommand, execute
from topbit.smmu.configuration import TWO_LEVEL, RealmTable, find
from topbit.smmu.outcome import Fault, Ok, Outcome, Terminated, event_of
from topbit.smmu.registers import Registers
from topbit.smmu.ste import DISABLED, Stage2, StreamConfig
from topbit.smmu.walk import Leaf, WalkFault, walk

PAGE = 4096
_U64 = (1 << 64) - 1
_U32 = (1 << 32) - 1
_IPA = EventRecord.IPA.mask
_FETCH = EventRecord.FetchAddr.mask


class Smmu:
    """Where do the accesses of the devices behind this SMMU end up?

    - Software programs it through `write_reg` and memory bytes, as hardware.
    - Devices use `access` (one outcome), or `read` and `write` (data, page by page).
    - The RMM tells it where the Realm stream table is, and when an entry of it has changed.

    Args:
        memory: physical memory: stream tables, stage-2 tables, queues and data.
        gpc: granule protection check of every access; None: no granule protection.
        emit: gets one "smmu_event" for every event raised, whether the queue took it or not.
        oas_bits: output address size: 32, 36, 40, 42, 44, 48, or 52 (with SMMU_IDR5.DS).
        sid_bits: SMMU_IDR1.SIDSIZE.
    """

    def __init__(
        self,
        memory: PhysicalMemory,
        *,
        gpc: Gpc | None = None,
        emit: Emit = ignore,
        oas_bits: int = 48,
        sid_bits: int = 16,
    ) -> None:
        self.memory = memory
        self.bus = Bus(memory, gpc)
        self.caches = Caches()
        self.registers = Registers(oas_bits, sid_bits, self._consume_commands)
        self._emit = emit
        self.realm = RealmTable()

    # What software does.

    def read_reg(self, offset: int, size: int | None = None) -> int:
        """What does a register of pages 0 and 1 read as? `size`: 4 or 8, default its width."""
        return self.registers.read(offset, size or (8 if offset in REG_64 else 4))

    def write_reg(self, offset: int, value: int, size: int | None = None) -> None:
        """Write a register of pages 0 and 1; a CMDQ_PROD write consumes commands at once."""
        self.registers.write(offset, value, size or (8 if offset in REG_64 else 4))

    def read_root_reg(self, offset: int) -> int:
        """What does a register of SMMU_ROOT read as (for Root software)?"""
        return self.bus.gpf_far.words[0] if offset == RootReg.GPF_FAR else 0

    def clear_gpf(self) -> None:
        """Clear SMMU_ROOT_GPF_FAR, so that the next granule protection fault is latched."""
        self.bus.gpf_far = type(self.bus.gpf_far)()

    def enable_realm(self, strtab: Pa, log2size: int, split: int) -> None:
        """Let accesses with T = 1 use the two-level Realm stream table at `strtab` (by the RMM).

        Its entries give them a Realm's own translation table: both are fetched from Realm memory,
        and a leaf's NS bit chooses the output address space. The Non-secure stream table plays no
        part.
        """
        cfg = StrtabBaseCfg(LOG2SIZE=log2size, SPLIT=split, FMT=TWO_LEVEL)
        self.realm = RealmTable(True, StrtabBase(ADDR=strtab), cfg)
        self.caches.tlb.generation += 1

    def disable_realm(self) -> None:
        """Let all accesses with T = 1 abort (SMMU_R_CR0.SMMUEN = 0)."""
        self.realm = RealmTable()
        self.caches.tlb.generation += 1

    def forget_realm_ste(self, sid: int) -> None:
        """Forget what is remembered of an entry of the Realm stream table (CMD_CFGI_STE)."""
        self.realm.stes.pop(sid, None)
        self.caches.tlb.generation += 1

    def invalidate_realm(self, vmid: int, ipa: Ipa | None = None, size: int = PAGE) -> None:
        """Forget Realm translations of a VMID (all, or those of a range), as the RMM must."""
        if ipa is None:
            self.caches.tlb.invalidate_vmid(True, vmid)
        else:
            self.caches.tlb.invalidate_range(True, vmid, ipa, size)

    # What devices do.

    def access(
        self, sid: int, address: Iova, size: int = 1, write: bool = False, *, realm: bool = False
    ) -> Outcome:
        """What becomes of an access to `size` bytes at `address`?

        Args:
            sid: StreamID.
            address: 64-bit input address. Stage 1 is bypassed: for stage 2 it is the IPA.
            size: bytes; those beyond the page of `address` are another access (`Ok.size`).
            realm: the device makes it with T = 1 (a trusted device, SEC_SID = Realm).
        """
        sid &= _U32
        address &= _U64
        size = max(1, min(size, PAGE - address % PAGE))
        config = self.configuration(sid, realm=realm)
        if isinstance(config, EventRecord):
            return self._raise(config, realm)
        if isinstance(config, Terminated):
            return config
        if config.stage2 is None:
            return self._bypass(config, sid, address, size, write, realm)
        stage2 = config.stage2
        if address >> self.registers.oas_bits:  # stage 1 is bypassed: its size check (3.4)
            return self._raise(self._fault(EventType.F_ADDR_SIZE, sid, address, write), realm)
        leaf = self._translate(stage2, Ipa(address), write)
        if isinstance(leaf, WalkFault):
            return self._stage2_fault(stage2, leaf, sid, address, write)
        pa = leaf.oa + (address & ((1 << leaf.shift) - 1))
        return self._output(pa, size, write, realm and not leaf.non_secure)

    def read(
        self, sid: int, address: Iova, size: int, *, realm: bool = False
    ) -> tuple[bytes, Outcome]:
        """Which bytes does a device read? Stops at the first page that does not give them.

        Returns:
            the bytes read, and the last page's outcome (Ok exactly if all were read).
        """
        data = bytearray()
        while True:
            outcome = self.access(sid, address + len(data), size - len(data), realm=realm)
            if not isinstance(outcome, Ok):
                return bytes(data), outcome
            try:
                data += self.memory.read(outcome.pa, min(outcome.size, size - len(data)))
            except BusError:
                return bytes(data), Terminated("bus", pa=outcome.pa)
            if len(data) >= size:
                return bytes(data), outcome

    def write(
        self, sid: int, address: Iova, data: bytes, *, realm: bool = False
    ) -> tuple[int, Outcome]:
        """How many bytes does a device get written? Stops at the first page that refuses.

        Returns:
            the bytes written, and the last page's outcome (Ok exactly if all were written).
        """
        done = 0
        while True:
            left = len(data) - done
            outcome = self.access(sid, address + done, left, True, realm=realm)
            if not isinstance(outcome, Ok):
                return done, outcome
            part = data[done : done + outcome.size]
            try:
                self.memory.write(outcome.pa, part)
            except BusError:
                return done, Terminated("bus", pa=outcome.pa)
            done += len(part)
            if done >= len(data):
                return done, outcome

    def configuration(
        self, sid: int, *, realm: bool = False
    ) -> StreamConfig | Terminated | EventRecord:
        """What is configured for a stream, or how does its next access fail? Records nothing."""
        regs = self.registers
        bits = regs.oas_bits, regs.sid_bits
        if realm:
            table = self.realm
            if not table.enabled:
                return Terminated("gbpa")
            where = table.base, table.cfg
            return find(
                sid, where, bits, self._fetch_realm_ste, table.stes, record_bad_sid=True, realm=True
            )
        if not regs.cr0 & CR0.SMMUEN:
            return Terminated("gbpa") if regs.gbpa_abort else DISABLED
        return find(
            sid,
            (regs.strtab_base, regs.strtab_base_cfg),
            bits,
            self._fetch_config,
            self.caches.stes,
            record_bad_sid=regs.recinvsid,
        )

    # Inside.

    def _translate(self, stage2: Stage2, ipa: Ipa, write: bool) -> Leaf | WalkFault:
        """TLB or walk, then permissions.

        A leaf is remembered once an access went through it, until it is invalidated. One that
        does not permit an access is not trusted: the tables decide, so that a permission fault
        is never a spurious one.
        """
        if ipa >> stage2.input_bits:
            return _TRANSLATION
        tlb = self.caches.tlb
        leaf = tlb.lookup(stage2.realm, stage2.vmid, ipa)
        if leaf is not None and leaf.permits(write):
            return leaf
        found = walk(stage2, ipa, self._fetch_realm if stage2.realm else self._fetch_ns)
        if isinstance(found, WalkFault):
            return found
        if not found.permits(write):
            return _PERMISSION
        if leaf is None:
            tlb.insert(stage2.realm, stage2.vmid, ipa, found)
        return found

    def _bypass(
        self, config: StreamConfig, sid: int, address: Iova, size: int, write: bool, realm: bool
    ) -> Outcome:
        if config.config == Config.ABORT:
            return Terminated("abort")
        if address >> self.registers.oas_bits:
            if config is DISABLED:
                return Terminated("oas")
            return self._raise(self._fault(EventType.F_ADDR_SIZE, sid, address, write), realm)
        return self._output(Pa(address), size, write, realm)

    def _output(self, pa: Pa, size: int, write: bool, realm: bool) -> Outcome:
        """The translated access meets granule protection; a refusal is no event (3.25)."""
        pas = PAS.REALM if realm else PAS.NS
        if self.bus.granted(pa, size, write, pas, GpfReason.TRANSACTION):
            return Ok(pa, size, realm)
        return Terminated("gpf", pa=pa)

    def _stage2_fault(
        self, stage2: Stage2, fault: WalkFault, sid: int, address: Iova, write: bool
    ) -> Outcome:
        event = self._fault(fault.type, sid, address, write)
        event.S2 = 1
        if fault.type == EventType.F_WALK_EABT:
            event.FetchAddr = fault.fetch & _FETCH
            event.GPCF = int(fault.gpf)
            return self._raise(event, stage2.realm)
        event.IPA = address & _IPA
        if not stage2.record:
            return Terminated("unrecorded", event)
        return self._raise(event, stage2.realm)

    @staticmethod
    def _fault(kind: EventType, sid: int, address: Iova, write: bool) -> EventRecord:
        return EventRecord(
            Type=kind,
            StreamID=sid,
            RnW=not write,
            CLASS=FaultClass.IN,
            InputAddr=address,
        )

    def _raise(self, event: EventRecord, realm: bool) -> Fault:
        """Record an event; those of Realm streams go to the RMM, not to the host's queue."""
        lost = "" if realm else self._record(event)
        if self._emit is not ignore:
            said = event_of(event)
            said.detail = ("Realm event queue" if realm else lost) or None
            self._emit(said)
            if lost:
                lack = Event("smmu", "smmu_lost", sid=event.StreamID, status="lost", detail=lost)
                self._emit(lack)
        return Fault(event)

    def _record(self, event: EventRecord) -> str:
        """Write an event to the Non-secure queue. Returns why it was lost, "" if it was not."""
        regs = self.registers
        if not regs.cr0 & CR0.EVENTQEN:
            return "lost: the event queue is disabled"
        if regs.active(Gerror.EVENTQ_ABT_ERR):
            return "lost: GERROR.EVENTQ_ABT_ERR is active"
        try:
            return "" if regs.eventq.record(event, self.bus) else "lost: the event queue is full"
        except FetchAbort:
            regs.raise_error(Gerror.EVENTQ_ABT_ERR)
            return "lost: the event queue's memory aborts"

    def _consume_commands(self) -> None:
        regs = self.registers
        queue = regs.cmdq
        while regs.cr0 & CR0.CMDQEN and not regs.active(Gerror.CMDQ_ERR) and not queue.empty:
            try:
                execute(queue.peek(self.bus), self.caches, ds=regs.ds)
            except FetchAbort:
                regs.cmdq_error = CommandError.ABT
                regs.raise_error(Gerror.CMDQ_ERR)
            except IllegalCommand:
                regs.cmdq_error = CommandError.ILL
                regs.raise_error(Gerror.CMDQ_ERR)
            else:
                queue.cons = queue.next(queue.cons)

    def _fetch_config(self, pa: Pa) -> int:
        return self.bus.fetch_u64(pa, PAS.NS, EventType.F_STE_FETCH)

    def _fetch_realm_ste(self, pa: Pa) -> int:
        return self.bus.fetch_u64(pa, PAS.REALM, EventType.F_STE_FETCH)

    def _fetch_ns(self, pa: Pa) -> int:
        return self.bus.fetch_u64(pa, PAS.NS, EventType.F_WALK_EABT)

    def _fetch_realm(self, pa: Pa) -> int:
        return self.bus.fetch_u64(pa, PAS.REALM, EventType.F_WALK_EABT)


_TRANSLATION = WalkFault(EventType.F_TRANSLATION)
_PERMISSION = WalkFault(EventType.F_PERMISSION)
