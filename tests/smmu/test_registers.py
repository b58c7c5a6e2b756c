"""What do the SMMU's registers read as, and which writes do they take?"""

import pytest

from topbit.arch.smmuv3 import ADDRESS_BITS, CommandError
from topbit.arch.smmuv3_regs import CR0, IDR0, IDR1, IDR3, IDR5, OVERFLOW, Gerror, Reg
from topbit.smmu.registers import Registers

ON = CR0.SMMUEN | CR0.CMDQEN | CR0.EVENTQEN


class Bench(Registers):
    def __init__(self, oas_bits: int = 48, sid_bits: int = 16) -> None:
        self.runs = 0
        super().__init__(oas_bits, sid_bits, self._ran)

    def _ran(self) -> None:
        self.runs += 1


def test_what_the_smmu_can_do() -> None:
    regs = Bench(sid_bits=9)
    idr0 = IDR0.of(regs.read(Reg.IDR0, 4))
    assert idr0 == IDR0(
        S2P=1, TTF=2, COHACC=1, VMID16=1, TTENDIAN=2, STALL_MODEL=1, TERM_MODEL=1, ST_LEVEL=1,
        RME_IMPL=1,
    )  # fmt: skip
    assert IDR1.of(regs.read(Reg.IDR1, 4)) == IDR1(SIDSIZE=9, EVENTQS=10, CMDQS=10)
    assert IDR3.of(regs.read(Reg.IDR3, 4)) == IDR3(RIL=1)
    assert regs.read(Reg.IDR2, 4) == regs.read(0x1234, 4) == 0


@pytest.mark.parametrize(("code", "bits"), ADDRESS_BITS.items())
def test_the_output_size_is_told_and_52_bits_bring_ds(code: int, bits: int) -> None:
    regs = Bench(bits)
    assert regs.ds is (bits == 52)
    assert IDR5.of(regs.read(Reg.IDR5, 4)) == IDR5(
        OAS=code, GRAN4K=1, GRAN16K=1, GRAN64K=1, DS=int(bits == 52)
    )


def test_cr0_takes_the_bits_that_this_smmu_has_and_acknowledges() -> None:
    regs = Bench()
    regs.write(Reg.CR0, 0xFFFF_FFFF, 4)
    assert regs.read(Reg.CR0, 4) == regs.read(Reg.CR0ACK, 4) == ON
    assert regs.runs == 1
    regs.write(Reg.CR0ACK, 0, 4)
    regs.write(Reg.IDR0, 0, 4)
    assert regs.read(Reg.CR0, 4) == ON


@pytest.mark.parametrize(
    ("reg", "size", "guard", "value", "kept"),
    [
        (Reg.STRTAB_BASE, 8, CR0.SMMUEN, 0x8000_0040, 0x8000_0040),
        (Reg.STRTAB_BASE_CFG, 4, CR0.SMMUEN, 0x1_0188, 0x1_0188),
        (Reg.CMDQ_BASE, 8, CR0.CMDQEN, 0x8000_0028, 0x8000_0028),
        (Reg.CMDQ_CONS, 4, CR0.CMDQEN, 0x12_3456, 0x2_3456),
        (Reg.EVENTQ_BASE, 8, CR0.EVENTQEN, 0x8000_0029, 0x8000_0029),
        (Reg.EVENTQ_PROD, 4, CR0.EVENTQEN, 0x8012_3456, 0x8002_3456),
    ],
)
def test_a_guarded_register_ignores_writes_while_its_enable_bit_is_set(
    reg: Reg, size: int, guard: CR0, value: int, kept: int
) -> None:
    regs = Bench()
    regs.cr0 = ON & ~guard
    regs.write(reg, value, size)
    assert regs.read(reg, size) == kept
    regs.cr0 = guard
    regs.write(reg, 0, size)
    assert regs.read(reg, size) == kept


@pytest.mark.parametrize("reg", [Reg.STRTAB_BASE, Reg.CMDQ_BASE, Reg.EVENTQ_BASE])
def test_a_64_bit_register_is_reached_in_halves(reg: Reg) -> None:
    regs = Bench()
    regs.write(reg, 0x0012_3456_8765_4340, 8)
    assert regs.read(reg, 4) == 0x8765_4340
    assert regs.read(reg + 4, 4) == 0x0012_3456
    regs.write(reg, 0x1_4000_0000, 4)
    assert regs.read(reg, 8) == 0x0012_3456_4000_0000
    regs.write(reg + 4, 0x0065_4321, 4)
    assert regs.read(reg, 8) == 0x0065_4321_4000_0000


def test_indices_of_the_queues_have_20_bits_and_prod_starts_the_commands() -> None:
    regs = Bench()
    regs.cr0 = ON
    regs.write(Reg.CMDQ_PROD, 0xFFFF_FFFF, 4)
    assert regs.read(Reg.CMDQ_PROD, 4) == 0xF_FFFF
    assert regs.runs == 1
    regs.write(Reg.EVENTQ_CONS, 0xFFFF_FFFF, 4)
    assert regs.read(Reg.EVENTQ_CONS, 4) == 0x800F_FFFF
    assert regs.eventq.overflow_acknowledged == OVERFLOW
    assert regs.eventq.cons == 0xF_FFFF


def test_a_command_error_is_told_in_cons_and_cleared_with_it() -> None:
    regs = Bench()
    regs.cmdq_error = CommandError.ABT
    regs.cmdq.cons = 5
    assert regs.read(Reg.CMDQ_CONS, 4) == 2 << 24 | 5
    regs.write(Reg.CMDQ_CONS, 1 << 24 | 7, 4)
    assert regs.read(Reg.CMDQ_CONS, 4) == 7


def test_global_errors_are_active_until_they_are_acknowledged() -> None:
    regs = Bench()
    for error in (Gerror.CMDQ_ERR, Gerror.EVENTQ_ABT_ERR):
        assert not regs.active(error)
        regs.raise_error(error)
        regs.raise_error(error)  # it is active already
        assert regs.active(error)
    assert regs.read(Reg.GERROR, 4) == 0b101
    regs.write(Reg.GERROR, 0, 4)
    regs.write(Reg.GERRORN, 0b001, 4)
    assert (regs.active(Gerror.CMDQ_ERR), regs.active(Gerror.EVENTQ_ABT_ERR)) == (False, True)
    assert regs.runs == 1
    regs.write(Reg.GERRORN, 0xFFFF_FFFF, 4)
    assert regs.read(Reg.GERRORN, 4) == 0b101


def test_the_behaviour_of_a_disabled_smmu_changes_with_update_only() -> None:
    regs = Bench()
    abort, update = 1 << 20, 1 << 31
    for value, now in ((abort, 0), (abort | update, abort), (0, abort), (update, 0)):
        regs.write(Reg.GBPA, value, 4)
        assert regs.read(Reg.GBPA, 4) == now


def test_recording_of_bad_stream_ids_is_switched() -> None:
    regs = Bench()
    regs.write(Reg.CR2, 0b101, 4)
    assert (regs.recinvsid, regs.read(Reg.CR2, 4)) == (False, 0)
    regs.write(Reg.CR2, 0b111, 4)
    assert (regs.recinvsid, regs.read(Reg.CR2, 4)) == (True, 0b010)


def test_registers_without_effect_are_kept() -> None:
    regs = Bench()
    regs.write(Reg.CR1, 0xD75, 4)
    assert regs.read(Reg.CR1, 4) == 0xD75
    assert regs.read(Reg.IRQ_CTRLACK, 4) == 0
    regs.write(Reg.IRQ_CTRL, 5, 4)
    assert regs.read(Reg.IRQ_CTRL, 4) == regs.read(Reg.IRQ_CTRLACK, 4) == 5
    assert regs.read(Reg.CR1, 2) == 0xD75
    assert regs.read(Reg.CR1, 1) == 0x75
