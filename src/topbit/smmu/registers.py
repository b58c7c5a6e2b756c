"""What do reads and writes of the SMMU's registers do?

Source: IHI0070 H.a 6.3. Registers that are guarded by an enable bit of SMMU_CR0 (stream table and
queue bases, and the index that the SMMU itself moves) ignore writes while it is set.
"""

from __future__ import annotations

from collections.abc import Callable

from topbit.arch.smmuv3 import ADDRESS_BITS, CommandError
from topbit.arch.smmuv3_regs import (
    CMDQ_ERR_SHIFT,
    CR0,
    CR2_RECINVSID,
    GBPA_ABORT,
    GBPA_UPDATE,
    IDR0,
    IDR1,
    IDR3,
    IDR5,
    OVERFLOW,
    REG_64,
    Gerror,
    QueueBase,
    Reg,
    StrtabBase,
    StrtabBaseCfg,
)
from topbit.smmu.queues import CommandQueue, EventQueue

QUEUE_LOG2_MAX = 10
_INDEX = (1 << 20) - 1
_CR0_WRITABLE = CR0.SMMUEN | CR0.EVENTQEN | CR0.CMDQEN
_U32 = (1 << 32) - 1


class Registers:
    """What is the state that software programs?

    Args:
        oas_bits: output address size, a value of ADDRESS_BITS.
        sid_bits: SMMU_IDR1.SIDSIZE.
        run: called when commands may have become ready to be consumed.
    """

    def __init__(self, oas_bits: int, sid_bits: int, run: Callable[[], None]) -> None:
        self.oas_bits = oas_bits
        self.sid_bits = sid_bits
        self.cr0 = CR0(0)
        self.recinvsid = False
        self.gbpa_abort = False
        self.gerror = Gerror(0)
        self.gerrorn = Gerror(0)
        self.strtab_base = StrtabBase()
        self.strtab_base_cfg = StrtabBaseCfg()
        self.cmdq = CommandQueue(QUEUE_LOG2_MAX)
        self.cmdq_error = CommandError.NONE
        self.eventq = EventQueue(QUEUE_LOG2_MAX)
        self._stored: dict[int, int] = {}  # CR1, IRQ configuration: kept, without effect here
        self._run = run

    @property
    def ds(self) -> bool:
        """Are 52-bit addresses with 4K and 16K granules supported? (SMMU_IDR5.DS)"""
        return self.oas_bits == 52

    def active(self, error: Gerror) -> bool:
        """Is a global error active, that is not yet acknowledged?"""
        return bool((self.gerror ^ self.gerrorn) & error)

    def raise_error(self, error: Gerror) -> None:
        """Activate a global error unless it is active already."""
        if not self.active(error):
            self.gerror ^= error

    def read(self, offset: int, size: int) -> int:
        """What does a read give? Unknown offsets read as zero."""
        base, shift = self._locate(offset)
        value = self._value(base) >> shift
        return value & ((1 << 8 * size) - 1)

    def write(self, offset: int, value: int, size: int) -> None:
        """Write a register. Unknown, read-only and guarded ones ignore it."""
        base, shift = self._locate(offset)
        value &= (1 << 8 * size) - 1
        if base in REG_64 and size == 4:
            other = self._value(base) & ~(_U32 << shift)
            value = other | value << shift
        self._store(base, value)

    @staticmethod
    def _locate(offset: int) -> tuple[int, int]:
        """Which register does an offset fall in, and at which bit?"""
        return (offset - 4, 32) if offset - 4 in REG_64 else (offset, 0)

    def _value(self, reg: int) -> int:
        match reg:
            case Reg.IDR0:
                return self._idr0()
            case Reg.IDR1:
                return IDR1(
                    SIDSIZE=self.sid_bits, EVENTQS=QUEUE_LOG2_MAX, CMDQS=QUEUE_LOG2_MAX
                ).words[0]
            case Reg.IDR3:
                return IDR3(RIL=1).words[0]
            case Reg.IDR5:
                oas = next(code for code, bits in ADDRESS_BITS.items() if bits == self.oas_bits)
                return IDR5(OAS=oas, GRAN4K=1, GRAN16K=1, GRAN64K=1, DS=self.ds).words[0]
            case Reg.CR0 | Reg.CR0ACK:
                return int(self.cr0)
            case Reg.CR2:
                return CR2_RECINVSID if self.recinvsid else 0
            case Reg.GBPA:
                return GBPA_ABORT if self.gbpa_abort else 0
            case Reg.GERROR:
                return int(self.gerror)
            case Reg.GERRORN:
                return int(self.gerrorn)
            case Reg.STRTAB_BASE:
                return self.strtab_base.words[0]
            case Reg.STRTAB_BASE_CFG:
                return self.strtab_base_cfg.words[0]
            case Reg.CMDQ_BASE:
                return self.cmdq.base.words[0]
            case Reg.CMDQ_PROD:
                return self.cmdq.prod
            case Reg.CMDQ_CONS:
                return self.cmdq.cons | self.cmdq_error << CMDQ_ERR_SHIFT
            case Reg.EVENTQ_BASE:
                return self.eventq.base.words[0]
            case Reg.EVENTQ_PROD:
                return self.eventq.prod | self.eventq.overflow
            case Reg.EVENTQ_CONS:
                return self.eventq.cons | self.eventq.overflow_acknowledged
            case _:
                return self._stored.get(reg, 0)

    @staticmethod
    def _idr0() -> int:
        """Stage 2 only, AArch64 tables, little-endian, no stalls, two-level stream tables."""
        return IDR0(
            S2P=1,
            TTF=0b10,
            COHACC=1,
            VMID16=1,
            TTENDIAN=0b10,
            STALL_MODEL=0b01,
            TERM_MODEL=1,
            ST_LEVEL=0b01,
            RME_IMPL=1,
        ).words[0]

    def _store(self, reg: int, value: int) -> None:
        enabled = self.cr0
        match reg:
            case Reg.CR0:
                self.cr0 = CR0(value) & _CR0_WRITABLE
                self._run()
            case Reg.CR2:
                self.recinvsid = bool(value & CR2_RECINVSID)
            case Reg.GBPA:
                if value & GBPA_UPDATE:
                    self.gbpa_abort = bool(value & GBPA_ABORT)
            case Reg.GERRORN:
                self.gerrorn = Gerror(value & (Gerror.CMDQ_ERR | Gerror.EVENTQ_ABT_ERR))
                self._run()
            case Reg.STRTAB_BASE if not enabled & CR0.SMMUEN:
                self.strtab_base = StrtabBase.of(value)
            case Reg.STRTAB_BASE_CFG if not enabled & CR0.SMMUEN:
                self.strtab_base_cfg = StrtabBaseCfg.of(value)
            case Reg.CMDQ_BASE if not enabled & CR0.CMDQEN:
                self.cmdq.base = QueueBase.of(value)
            case Reg.CMDQ_PROD:
                self.cmdq.prod = value & _INDEX
                self._run()
            case Reg.CMDQ_CONS if not enabled & CR0.CMDQEN:
                self.cmdq.cons = value & _INDEX
                self.cmdq_error = CommandError.NONE
            case Reg.EVENTQ_BASE if not enabled & CR0.EVENTQEN:
                self.eventq.base = QueueBase.of(value)
            case Reg.EVENTQ_PROD if not enabled & CR0.EVENTQEN:
                self.eventq.prod = value & _INDEX
                self.eventq.overflow = value & OVERFLOW
            case Reg.EVENTQ_CONS:
                self.eventq.cons = value & _INDEX
                self.eventq.overflow_acknowledged = value & OVERFLOW
            case Reg.CR1 | Reg.IRQ_CTRL:
                self._stored[reg] = value & _U32
                if reg == Reg.IRQ_CTRL:
                    self._stored[Reg.IRQ_CTRLACK] = value & _U32
            case _:
                pass
