"""The model's SMMU and QEMU's side by side: the same access on both, and the same outcome?

Both read one stream table and one set of tables in QEMU's RAM; each has its own queues.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from qemu_smmu import SIDS, SINKS, SOURCES, STRTAB, UNREAD, QemuSmmu
from topbit.arch.smmuv3 import (
    ADDRESS_BITS,
    EVENT_FIELDS,
    STE,
    Command,
    EventRecord,
    EventType,
    Opcode,
)
from topbit.arch.smmuv3_regs import CR0, Reg
from topbit.arch.stage2 import S2AP_READ, S2AP_WRITE
from topbit.memory import PhysicalMemory
from topbit.smmu import Fault, Ok, Outcome, Smmu, Terminated
from topbit.smmu.ste import StreamConfig

OAS_BITS = 44
DATA = 0x5000_0000
DATA_SIZE = 0x40_0000
MODEL_CMDQ = 0x4802_0000
PAGE_MASK = 0xFFF
DIFFERENT = np.uint32(0x5A5A_0000)


def configure_model(memory: PhysicalMemory) -> Smmu:
    """The model with the sizes of QEMU's SMMU, on the same stream table."""
    smmu = Smmu(memory, oas_bits=OAS_BITS)
    smmu.write_reg(Reg.STRTAB_BASE, STRTAB)
    smmu.write_reg(Reg.STRTAB_BASE_CFG, 8)
    smmu.write_reg(Reg.CMDQ_BASE, MODEL_CMDQ | 4)
    smmu.write_reg(Reg.CR2, 2)
    smmu.write_reg(Reg.CR0, CR0.SMMUEN | CR0.CMDQEN)
    return smmu


def fill_data(memory: PhysicalMemory) -> None:
    """Make every word of the data area different."""
    memory.write(DATA, _data_words().tobytes())


class Pair:
    """The model and QEMU, side by side."""

    def __init__(self, qemu: QemuSmmu, memory: PhysicalMemory) -> None:
        self.qemu = qemu
        self.memory = memory
        self.model = configure_model(memory)
        self.accesses = 0
        self.kinds: Counter[str] = Counter()
        self.reads: list[tuple[int, int, int | None, str]] = []

    def command(self, *commands: Command) -> None:
        self.qemu.command(*commands)
        for command in commands:
            prod = self.model.read_reg(Reg.CMDQ_PROD)
            self.memory.write(MODEL_CMDQ + 16 * (prod & 15), command.pack())
            self.model.write_reg(Reg.CMDQ_PROD, (prod + 1) & 31)

    def invalidate_all(self) -> None:
        self.command(
            Command(Opcode=Opcode.CFGI_STE_RANGE, Range=31), Command(Opcode=Opcode.TLBI_NSNH_ALL)
        )

    def write_ste(self, sid: int, ste: STE) -> None:
        self.memory.write(STRTAB + 64 * sid, ste.pack())

    def begin(self) -> None:
        """Empty caches, empty stream table, nothing read."""
        self.memory.fill(STRTAB, 64 * 256)
        self.invalidate_all()
        self.qemu.reset_sinks()
        self.reads.clear()

    def access(self, sid: int, address: int, write: bool) -> None:
        """Make the same access on both and compare."""
        where = f"sid {sid} {'write' if write else 'read'} 0x{address:x}"
        descriptor = self._cached(sid, address)
        need = S2AP_WRITE if write else S2AP_READ
        refused_on_hit = descriptor is not None and not descriptor & need
        outcome = self.model.access(sid, address, 4, write)
        self.accesses += 1
        if refused_on_hit:
            self.kinds["deviation: permission on a TLB hit"] += 1
            self._compare(sid, address, write, None, where)
            self.command(*self._forget(sid, address))
            return
        self.kinds[_kind(outcome)] += 1
        self._compare(sid, address, write, outcome, where)

    def _cached(self, sid: int, address: int) -> int | None:
        """Which descriptor does the TLB hold for the next access to an address?"""
        config = self.model.configuration(sid)
        if not isinstance(config, StreamConfig) or config.stage2 is None:
            return None
        if address >> config.stage2.input_bits:
            return None
        leaf = self.model.caches.tlb.lookup(False, config.stage2.vmid, address)
        return None if leaf is None else leaf.descriptor

    def _forget(self, sid: int, address: int) -> list[Command]:
        config = self.model.caches.stes[sid]
        assert config.stage2 is not None
        return [
            Command(
                Opcode=Opcode.TLBI_S2_IPA,
                VMID=config.stage2.vmid,
                Address=address & ~PAGE_MASK,
            )
        ]

    def _compare(
        self, sid: int, address: int, write: bool, outcome: Outcome | None, where: str
    ) -> None:
        pa = outcome.pa if isinstance(outcome, Ok) else None
        if write:
            self._write(sid, address, pa, where)
        else:
            self._read(sid, address, pa, where)
        events = self.qemu.events()
        if _table_beyond_the_output_size(outcome, events):
            self.kinds["deviation: table address beyond the output size"] += 1
            return
        if not isinstance(outcome, Fault):
            assert not events, f"{where}: model {outcome}, QEMU {events}"
            return
        assert len(events) == 1, f"{where}: model {outcome}, QEMU {events}"
        for name in EVENT_FIELDS[EventType(outcome.event.Type)]:
            model, qemu = getattr(outcome.event, name), getattr(events[0], name)
            assert model == qemu, f"{where}: {name}: model {outcome.event}, QEMU {events[0]}"
        assert outcome.event.Type == events[0].Type, f"{where}: {outcome.event} {events[0]}"

    def _read(self, sid: int, address: int, pa: int | None, where: str) -> None:
        slot = SINKS[len(self.reads) % len(SINKS)]
        self.qemu.device_read(sid, address, slot)
        expected = None
        if pa is not None and self.memory.contains(pa, 4):
            expected = self.memory.read_u32(pa)
        elif pa is None:
            expected = UNREAD
        self.reads.append((sid, slot, expected, where))

    def _write(self, sid: int, address: int, pa: int | None, where: str) -> None:
        slot = SOURCES[self.accesses % len(SOURCES)]
        before = None if pa is None else self.memory.read_u32(pa)
        value = self.qemu.device_write(sid, address, slot)
        if pa is None or before is None:
            return  # nothing was written anywhere: `end` looks at the whole data area
        assert self.memory.read_u32(pa) == value, f"{where}: nothing written at 0x{pa:x}"
        self.memory.write_u32(pa, before)

    def end(self) -> None:
        """Compare what the devices read, and that no write went astray."""
        for sid in SIDS:
            sinks = self.qemu.sinks(sid)
            for reader, slot, expected, where in self.reads:
                if reader != sid or expected is None:
                    continue
                got = sinks[slot]
                if expected == UNREAD:  # an aborted read leaves zeros
                    assert got in (0, UNREAD), f"{where}: QEMU read 0x{got:x}"
                else:
                    assert got == expected, f"{where}: QEMU 0x{got:x}, model 0x{expected:x}"
        words = self.memory.bytes[DATA - self.memory.base :][:DATA_SIZE].view("<u4")
        assert (words == _data_words()).all(), "a device wrote to a place the model does not know"


def _table_beyond_the_output_size(outcome: Outcome | None, events: Sequence[EventRecord]) -> bool:
    """QEMU fetches from a table address that is too large, and reports that the fetch failed."""
    event = outcome.event if isinstance(outcome, Fault | Terminated) else None
    return (
        event is not None
        and event.Type == EventType.F_ADDR_SIZE
        and [record.Type for record in events] == [EventType.F_WALK_EABT]
        and events[0].FetchAddr >= 1 << min(ADDRESS_BITS.values())
    )


def _data_words() -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    return np.arange(DATA, DATA + DATA_SIZE, 4, dtype="<u4") ^ DIFFERENT


def _kind(outcome: Outcome) -> str:
    if isinstance(outcome, Fault):
        return outcome.event.name
    return "ok" if isinstance(outcome, Ok) else f"terminated: {outcome.reason}"
