"""REC entry and exit: what the host sees, and what the vCPU goes on with."""

import struct
from typing import Any

import pytest

from rmm_host import PAGE, RUN, Host
from topbit.arch import psci
from topbit.arch.psci import Psci
from topbit.arch.rmi import ExitReason, Rmi, RmiStatus
from topbit.arch.rmi_params import RecEnter, RecExit
from topbit.arch.rsi import Rsi
from topbit.rmm import Exit, Resume, Sea, Translated

ERROR_INPUT, ERROR_REALM, ERROR_REC = 1, 2, 3
HALF = 1 << 32


@pytest.fixture
def host() -> Host:
    host = Host()
    host.create()
    host.rec(pc=0x4000)
    host.ram([0, PAGE])
    return host


def exit_fields(host: Host) -> dict[str, int]:
    names = (
        "REASON",
        "ESR",
        "FAR",
        "HPFAR",
        "GPRS",
        "RIPAS_BASE",
        "RIPAS_TOP",
        "RIPAS_VALUE",
        "IMM",
    )
    return {n: host.memory.read_u64(RUN + getattr(RecExit, n)) for n in names}


def access(host: Host, *args: Any, **kwargs: Any) -> Any:
    return host.rmm.access(host.recs[0], *args, **kwargs)


def test_first_entry_carries_entry_point_and_registers(host: Host) -> None:
    assert host.enter() == Resume({i: i for i in range(8)}, pc=0x4000)
    host.rmm.interrupt(host.recs[0])
    assert host.enter() == Resume()


def test_entry_is_refused_while_it_cannot_run(host: Host) -> None:
    rec = host.recs[0]
    host.enter()
    assert host.status(Rmi.REC_ENTER, rec, RUN) == ERROR_REC
    assert host.status(Rmi.REC_DESTROY, rec) == ERROR_REC
    exit_ = host.rmm.interrupt(rec)
    assert exit_ == Exit(ExitReason.IRQ)
    assert exit_fields(host)["REASON"] == ExitReason.IRQ
    assert host.status(Rmi.REC_ENTER, rec, host.rd) == ERROR_INPUT
    assert host.status(Rmi.REC_ENTER, rec + 1, RUN) == ERROR_INPUT
    with pytest.raises(ValueError, match="no REC is running"):
        host.rmm.rsi(rec, [Rsi.VERSION])


def test_a_new_realm_does_not_run() -> None:
    host = Host()
    host.create()
    rec = host.rec()
    assert host.status(Rmi.REC_ENTER, rec, RUN) == ERROR_REALM


def test_an_emulated_load_fills_its_register(host: Host) -> None:
    host.enter()
    # LDRSB W5: ISV, SAS byte, SSE, SRT 5, no SF
    esr = 0x93A50006 & ~(3 << 22) | 1 << 21
    got = access(host, HALF | 0x1234, "r", 1, esr=esr)
    assert isinstance(got, Exit)
    seen = exit_fields(host)
    assert (seen["FAR"], seen["HPFAR"]) == (0x234, (HALF | 0x1000) >> 8)
    assert seen["ESR"] >> 24 & 1 == 1
    assert seen["ESR"] >> 16 & 31 == 0, "the host does not learn the register"
    resume = host.enter(flags=RecEnter.EMUL_MMIO, gprs=[0x1FF])
    assert resume == Resume({5: 0xFFFF_FFFF}, advance=True)


def test_an_emulated_store_shows_its_value_cut_to_its_size(host: Host) -> None:
    host.enter()
    got = access(host, HALF | 0x10, "w", 2, value=0xDEADBEEF)
    assert got.gprs == (0xBEEF,)
    assert exit_fields(host)["GPRS"] == 0xBEEF
    assert host.enter(flags=RecEnter.EMUL_MMIO) == Resume(advance=True)


def test_the_host_may_inject_an_abort_only_after_an_unprotected_one(host: Host) -> None:
    rec = host.recs[0]
    host.enter()
    access(host, HALF | 0x10, "r", 8)
    assert host.enter(flags=RecEnter.INJECT_SEA | RecEnter.EMUL_MMIO) == Resume(sea=True)
    host.rmm.interrupt(rec)
    for flags in (RecEnter.INJECT_SEA, RecEnter.EMUL_MMIO):
        host.memory.write_u64(RUN, flags)
        assert host.status(Rmi.REC_ENTER, rec, RUN) == ERROR_REC


def test_no_syndrome_no_emulation(host: Host) -> None:
    host.enter()
    got = access(host, HALF | 0x10, "w", 16, value=1)
    assert got.gprs == ()
    host.memory.write_u64(RUN, RecEnter.EMUL_MMIO)
    assert host.status(Rmi.REC_ENTER, host.recs[0], RUN) == ERROR_REC
    assert host.enter(flags=RecEnter.INJECT_SEA).sea


def test_protected_faults_show_the_page_and_nothing_else(host: Host) -> None:
    host.enter()
    assert access(host, 0x2008, "r") == Sea(7)
    host.rmm.interrupt(host.recs[0])
    host.ok(Rmi.DATA_DESTROY, host.rd, PAGE)
    host.enter()
    got = access(host, PAGE + 0x123, "w", value=99)
    assert (got.esr, got.far, got.hpfar, got.gprs) == (0x90000007, 0, PAGE >> 8, ())


def test_an_access_beyond_the_ipa_space_is_the_realms_own_fault(host: Host) -> None:
    host.enter()
    for ipa in (1 << 33, 1 << 60, (1 << 64) - 8):
        assert isinstance(access(host, ipa, "r"), Sea)


def test_a_shared_page_is_reached_at_its_alias_only(host: Host) -> None:
    host.enter()
    pa = host.share(PAGE)
    assert access(host, PAGE | HALF, "w") == Translated(pa, ns=True)
    assert access(host, PAGE, "w") == Sea(7)
    assert access(host, PAGE | HALF, "x") == Sea(15)


def test_the_run_page_is_not_written_once_it_is_no_longer_the_hosts(host: Host) -> None:
    host.enter()
    host.delegate(RUN)
    host.memory.fill(RUN, PAGE, 0xAA)
    host.rmm.interrupt(host.recs[0])
    assert host.memory.read(RUN, PAGE) == b"\xaa" * PAGE


def test_host_call_and_its_answer(host: Host) -> None:
    host.enter()
    pa = host.rmm.access(host.recs[0], 0x100, "r").pa  # type: ignore[union-attr]
    host.memory.write(pa, struct.pack("<32Q", 0x77, *range(100, 131)))
    got = host.rsi(Rsi.HOST_CALL, 0x100)
    assert isinstance(got, Exit)
    assert (got.reason, got.imm, got.gprs) == (ExitReason.HOST_CALL, 0x77, tuple(range(100, 131)))
    assert exit_fields(host)["IMM"] == 0x77
    assert host.enter(gprs=range(31)) == Resume({0: 0}, advance=True)
    assert struct.unpack("<32Q", host.memory.read(pa, 256)) == (0x77, *range(31))
    for wrong in (0x101, HALF, 0x2000):
        assert host.returns(Rsi.HOST_CALL, wrong) == (1,)


def test_a_host_call_whose_page_went_away_goes_straight_back(host: Host) -> None:
    host.enter()
    assert isinstance(host.rsi(Rsi.HOST_CALL, PAGE), Exit)
    host.ok(Rmi.DATA_DESTROY, host.rd, PAGE)
    host.memory.write_u64(RUN, 0)
    host.ok(Rmi.REC_ENTER, host.recs[0], RUN)
    rec = host.rmm.rec(host.recs[0])
    assert isinstance(rec.resume, Exit)
    assert rec.resume.reason == ExitReason.SYNC
    assert not rec.running


class TestGicState:
    """RMI_REC_ENTER, condition rec_gicv3 (1.0)."""

    HW_INTERRUPT = 1 << 62 | 1 << 61 | 27

    def set(self, host: Host, hcr: int, *list_registers: int) -> None:
        words = struct.pack("<17Q", hcr, *list_registers, *[0] * (16 - len(list_registers)))
        host.memory.write(RUN + RecEnter.GICV3_HCR, words)

    @pytest.mark.parametrize("state", [(1,), (0, HW_INTERRUPT), (0, *[0] * 15, HW_INTERRUPT)])
    def test_a_bad_one_is_refused(self, host: Host, state: tuple[int, ...]) -> None:
        self.set(host, *state)
        assert host.status(Rmi.REC_ENTER, host.recs[0], RUN) == ERROR_REC
        self.set(host, 0x40FE, 1 << 62 | 27)
        assert host.enter().pc == 0x4000

    def test_what_cannot_run_is_found_first(self) -> None:
        host = Host()
        host.create()
        host.rec()
        self.set(host, 1)
        assert host.status(Rmi.REC_ENTER, host.recs[0], RUN) == ERROR_REALM

    def test_there_is_none_in_2_0(self) -> None:
        host = Host(abi="2.0")
        host.create()
        host.rec()
        host.ok(Rmi.REALM_ACTIVATE, host.rd)
        self.set(host, 1)
        assert host.enter().pc == 0


class TestTraps:
    """WFI and WFE leave where the host asked for it; anything else is undefined in a Realm."""

    WFI, WFE = 1 << 26 | 1 << 25, 1 << 26 | 1 << 25 | 1

    @pytest.mark.parametrize(
        ("flags", "leaving"),
        [
            (0, []),
            (RecEnter.TRAP_WFI, [WFI]),
            (RecEnter.TRAP_WFE, [WFE]),
            (RecEnter.TRAP_WFI | RecEnter.TRAP_WFE, [WFI, WFE]),
        ],
    )
    def test_who_leaves(self, host: Host, flags: int, leaving: list[int]) -> None:
        rec = host.recs[0]
        for esr in (self.WFI, self.WFE):
            host.enter(flags=flags)
            got = host.rmm.trap(rec, esr)
            if esr in leaving:
                assert got == Exit(ExitReason.SYNC, esr & ~(1 << 25))
                assert exit_fields(host)["ESR"] == esr & ~(1 << 25)
                assert host.enter() == Resume(advance=True)
            else:
                assert got == Resume(advance=True)
            host.rmm.interrupt(rec)

    def test_the_host_cannot_answer_it(self, host: Host) -> None:
        host.enter(flags=RecEnter.TRAP_WFI)
        host.rmm.trap(host.recs[0], self.WFI)
        for flag in (RecEnter.EMUL_MMIO, RecEnter.INJECT_SEA):
            host.memory.write_u64(RUN + RecEnter.FLAGS, flag)
            assert host.status(Rmi.REC_ENTER, host.recs[0], RUN) == ERROR_REC

    @pytest.mark.parametrize("exception_class", [0x00, 0x16, 0x18, 0x3F])
    def test_anything_else_is_undefined(self, host: Host, exception_class: int) -> None:
        host.enter(flags=RecEnter.TRAP_WFI | RecEnter.TRAP_WFE)
        assert host.rmm.trap(host.recs[0], exception_class << 26) == Resume(undefined=True)
        assert host.rmm.rec(host.recs[0]).running


class TestPsci:
    """Power management of a Realm with two RECs."""

    @pytest.fixture
    def host(self) -> Host:
        host = Host()
        host.create()
        host.rec()
        host.rec(mpidr=1, runnable=False)
        host.ram([0])
        host.enter()
        return host

    def test_cpu_on_starts_the_other_rec_where_it_says(self, host: Host) -> None:
        first, second = host.recs
        assert host.status(Rmi.REC_ENTER, second, RUN) == ERROR_REC
        got = host.rsi(Psci.CPU_ON_64, 1, 0x1000, 0x42)
        assert isinstance(got, Exit)
        assert (got.reason, got.gprs) == (ExitReason.PSCI, (Psci.CPU_ON_64, 1))
        assert host.status(Rmi.REC_ENTER, first, RUN) == ERROR_REC
        assert host.status(Rmi.PSCI_COMPLETE, first, second, 7) == ERROR_INPUT
        assert host.status(Rmi.PSCI_COMPLETE, first, first, 0) == ERROR_INPUT
        host.ok(Rmi.PSCI_COMPLETE, first, second, 0)
        assert host.enter(first).regs == {0: 0}
        assert host.enter(second) == Resume({0: 0x42}, pc=0x1000)

    def test_a_denied_cpu_on_stays_off(self, host: Host) -> None:
        first, second = host.recs
        host.rsi(Psci.CPU_ON_64, 1, 0x1000, 0)
        host.ok(Rmi.PSCI_COMPLETE, first, second, psci.DENIED)
        assert host.enter(first).regs == {0: psci.DENIED}
        assert host.status(Rmi.REC_ENTER, second, RUN) == ERROR_REC

    @pytest.mark.parametrize(
        ("regs", "value"),
        [
            ((Psci.VERSION,), psci.VERSION_1_1),
            ((Psci.FEATURES, Psci.CPU_ON_64), 0),
            ((Psci.FEATURES, 0x8400_00FF), psci.NOT_SUPPORTED),
            ((Psci.CPU_ON_64, 0, 0x1000), psci.ALREADY_ON),
            ((Psci.CPU_ON_64, 9, 0x1000), psci.INVALID_PARAMETERS),
            ((Psci.CPU_ON_64, 1, HALF), psci.INVALID_ADDRESS),
            ((Psci.AFFINITY_INFO_64, 1, 1), psci.INVALID_PARAMETERS),
            ((psci.SMCCC_VERSION,), psci.SMCCC_1_2),
            ((0x1234,), psci.NOT_SUPPORTED),
        ],
    )
    def test_answered_at_once(self, host: Host, regs: tuple[int, ...], value: int) -> None:
        assert host.returns(*regs) == (value,)

    def test_affinity_info(self, host: Host) -> None:
        first, second = host.recs
        assert isinstance(host.rsi(Psci.AFFINITY_INFO_64, 1, 0), Exit)
        host.ok(Rmi.PSCI_COMPLETE, first, second, 0)
        assert host.enter(first).regs == {0: psci.AFFINITY_OFF}

    def test_off_and_the_end(self, host: Host) -> None:
        first = host.recs[0]
        assert isinstance(host.rsi(Psci.CPU_SUSPEND_64, 0, 0, 0), Exit)
        assert host.enter(first) == Resume({0: 0}, advance=True)
        assert isinstance(host.rsi(Psci.SYSTEM_OFF), Exit)
        out = host.status(Rmi.REC_ENTER, first, RUN)
        assert (RmiStatus(out & 0xFF), out >> 8) == (RmiStatus.ERROR_REALM, 1)

    def test_cpu_off(self, host: Host) -> None:
        assert isinstance(host.rsi(Psci.CPU_OFF), Exit)
        assert host.status(Rmi.REC_ENTER, host.recs[0], RUN) == ERROR_REC
