"""What does the VMM do with each exit of its Realm?"""

import pytest

from realm_bench import MIB, PAGE, PRIVATE_PA, RAM, RAM_SIZE, RealmBench, S
from topbit.arch import psci
from topbit.arch.rmi import ExitReason, Ripas, Rmi, Rmi2
from topbit.arch.rmi_params import RecEnter, RecExit
from topbit.arch.rsi import Rsi
from topbit.rmm import Exit, Resume, Sea, State, Translated
from topbit.vmm.injection import HostInjection

AT = RAM + 2 * PAGE
DEVICE = 0x0A00_0000
LOAD_X3 = 0x93C3_8007  # ESR_EL2 of a 64-bit load to X3
LOAD_PAIR = 0x9200_0007  # without a syndrome that names the register
STORE_X3 = 0x93C3_8047


@pytest.fixture(params=["1.0", "2.0"])
def bench(request: pytest.FixtureRequest) -> RealmBench:
    return RealmBench(abi=request.param)


class Register:
    """A device with one register."""

    def __init__(self) -> None:
        self.value = 0x1122_3344
        self.read: list[int] = []

    def read_register(self, offset: int) -> int:
        self.read.append(offset)
        return self.value

    def write_register(self, offset: int, value: int) -> None:
        self.value = offset << 64 | value


def test_a_created_realm_has_all_its_ram_and_runs(bench: RealmBench) -> None:
    assert bench.rmm.rec(bench.rec).running
    rtt = bench.rmm.realm(bench.vmm.realm.rd).rtt
    for ipa, ripas in ((RAM, Ripas.RAM), (RAM + RAM_SIZE - PAGE, Ripas.RAM),
                       (RAM - PAGE, Ripas.EMPTY), (RAM + RAM_SIZE, Ripas.EMPTY)):  # fmt: skip
        level, _, entry = rtt.walk(ipa, 3)
        assert rtt.decode(entry, level).ripas == ripas


def test_memory_is_given_when_it_is_touched(bench: RealmBench) -> None:
    found = bench.touch(AT + 8)
    assert found == Translated(PRIVATE_PA + 2 * PAGE + 8, ns=False)
    assert bench.slot.populated.nonzero()[0].tolist() == [2]
    assert bench.vmm.stopped is None


def test_a_page_that_is_there_already_is_not_given_twice() -> None:
    bench = RealmBench()
    assert isinstance(bench.reaches(AT), Exit)
    bench.slot.populated[2] = True  # by another vCPU, which faulted at the same time
    calls = len(bench.port.calls)
    bench.vmm.handle_exit(bench.rec)
    assert [call[0] for call in bench.port.calls[calls:]] == [Rmi.REC_ENTER]


def test_a_realm_whose_page_was_destroyed_cannot_go_on() -> None:
    bench = RealmBench()
    bench.touch(AT)
    bench.rmm.interrupt(bench.rec)
    HostInjection(bench.vmm, bench.events.append).destroy_private(AT)
    bench.vmm.enter(bench.rec)
    assert isinstance(bench.reaches(AT), Exit)
    bench.vmm.handle_exit(bench.rec)
    assert bench.vmm.stopped == (
        f"the host destroyed the page 0x{AT:016x}, which the Realm still uses"
    )
    assert not bench.rmm.rec(bench.rec).running


@pytest.mark.parametrize("ripas", [Ripas.EMPTY, Ripas.RAM])
def test_destroyed_pages_that_the_realm_gives_up_are_forgotten(ripas: Ripas) -> None:
    bench = RealmBench()
    bench.vmm.lost = {AT, AT + PAGE, AT + 2 * PAGE}
    bench.ask(AT, AT + 2 * PAGE, ripas)
    assert bench.vmm.lost == {AT + 2 * PAGE}


def test_destroyed_pages_are_not_forgotten_when_the_change_is_refused() -> None:
    bench = RealmBench()
    bench.vmm.lost = {AT}
    bench.port.refused = {Rmi.RTT_SET_RIPAS}
    bench.ask(AT, AT + PAGE, Ripas.RAM)
    assert bench.vmm.lost == {AT}


def test_a_host_that_cannot_give_memory_stops_the_realm() -> None:
    bench = RealmBench()
    assert isinstance(bench.reaches(AT), Exit)
    bench.port.refused = {Rmi2.RTT_DATA_MAP}
    bench.vmm.handle_exit(bench.rec)
    assert bench.vmm.stopped == (
        f"the host could not give the Realm page 0x{AT:016x}: "
        "RMI_RTT_DATA_MAP: ERROR_INPUT, index 0"
    )
    assert not bench.slot.populated.any()


def test_an_rmm_that_does_not_run_the_vcpu_any_more_stops_the_realm() -> None:
    bench = RealmBench()
    bench.rmm.interrupt(bench.rec)
    bench.port.refused = {Rmi.REC_ENTER}
    bench.vmm.handle_exit(bench.rec)
    assert bench.vmm.stopped == (
        "the RMM does not run the vCPU any more: RMI_REC_ENTER: ERROR_INPUT, index 0"
    )


def test_a_realm_that_powers_off_is_entered_no_more(bench: RealmBench) -> None:
    assert isinstance(bench.rmm.rsi(bench.rec, (psci.Psci.SYSTEM_OFF,)), Exit)
    bench.vmm.handle_exit(bench.rec)
    assert bench.vmm.stopped == f"PSCI call 0x{psci.Psci.SYSTEM_OFF:x}"
    assert not bench.rmm.rec(bench.rec).running


def test_an_interrupt_only_enters_again(bench: RealmBench) -> None:
    bench.rmm.interrupt(bench.rec)
    bench.vmm.handle_exit(bench.rec)
    assert bench.resumed() == Resume()
    assert bench.rmm.rec(bench.rec).running


def test_a_host_call_is_not_supported_and_keeps_the_other_registers() -> None:
    bench = RealmBench()
    where = bench.touch(AT)
    assert isinstance(where, Translated)
    bench.memory.table(where.pa, 32)[:] = [0x99, *range(100, 131)]
    exit_ = bench.rmm.rsi(bench.rec, (Rsi.HOST_CALL, AT))
    assert isinstance(exit_, Exit)
    bench.vmm.handle_exit(bench.rec)
    answer = bench.memory.table(where.pa, 32).tolist()
    assert answer == [0x99, psci.NOT_SUPPORTED, *range(101, 131)]


def test_a_device_register_is_read_for_the_realm(bench: RealmBench) -> None:
    bench.vmm.mmio[DEVICE] = device = Register()
    exit_ = bench.rmm.access(bench.rec, DEVICE + 0x24 | S, "r", esr=LOAD_X3)
    assert isinstance(exit_, Exit)
    bench.vmm.handle_exit(bench.rec)
    assert bench.resumed() == Resume({3: 0x1122_3344}, advance=True)
    assert device.read == [0x24]


def test_a_device_register_is_written_for_the_realm(bench: RealmBench) -> None:
    bench.vmm.mmio[DEVICE] = device = Register()
    exit_ = bench.rmm.access(bench.rec, DEVICE + 8 | S, "w", value=0x77, esr=STORE_X3)
    assert isinstance(exit_, Exit)
    bench.vmm.handle_exit(bench.rec)
    assert bench.resumed() == Resume(advance=True)
    assert device.value == 8 << 64 | 0x77
    assert device.read == []


@pytest.mark.parametrize(
    ("ipa", "esr"),
    [
        (DEVICE | S, LOAD_PAIR),  # a device, but no register is named
        (DEVICE + PAGE | S, LOAD_X3),  # no device
        (AT | S, LOAD_X3),  # RAM that is not shared
    ],
)
def test_what_cannot_be_emulated_is_an_abort_in_the_realm(ipa: int, esr: int) -> None:
    bench = RealmBench()
    bench.vmm.mmio[DEVICE] = device = Register()
    assert isinstance(bench.rmm.access(bench.rec, ipa, "r", esr=esr), Exit)
    bench.vmm.handle_exit(bench.rec)
    assert bench.resumed() == Resume(sea=True)
    assert device.read == []
    assert not bench.slot.populated.any()


def test_a_fault_at_an_address_behind_the_last_slot_gets_no_memory() -> None:
    bench = RealmBench()
    assert isinstance(bench.touch(RAM + RAM_SIZE), Sea)
    assert not bench.slot.populated.any()


def test_a_fault_just_behind_a_slot_is_no_fault_of_the_slot() -> None:
    bench = RealmBench()
    bench.rmm.interrupt(bench.rec)
    run = bench.vmm.realm.run_pages[bench.rec]
    bench.memory.write_u64(run + RecExit.REASON, ExitReason.SYNC)
    bench.memory.write_u64(run + RecExit.HPFAR, RAM + RAM_SIZE >> 12 << 4)
    bench.vmm.handle_exit(bench.rec)
    assert bench.memory.read_u64(run + RecEnter.FLAGS) == RecEnter.INJECT_SEA
    assert not bench.slot.populated.any()


def test_each_slot_has_its_own_memory() -> None:
    bench = RealmBench(ram_size=MIB // 2)
    other = type(bench.slot)(RAM + MIB, PAGE, PRIVATE_PA + MIB, PRIVATE_PA + MIB)
    bench.vmm.slots.append(other)
    assert bench.ask(RAM + MIB, RAM + MIB + PAGE, Ripas.RAM) == (RAM + MIB + PAGE, 0)
    assert bench.touch(RAM + MIB) == Translated(PRIVATE_PA + MIB, ns=False)
    assert bench.rmm.granules.get(PRIVATE_PA + MIB) == State.DATA


@pytest.mark.parametrize("wanted", [Ripas.EMPTY, Ripas.RAM])
def test_a_range_that_only_begins_in_a_slot_is_refused(wanted: Ripas) -> None:
    bench = RealmBench()
    last = RAM + RAM_SIZE - PAGE
    assert bench.ask(last, last + 2 * PAGE, wanted) == (last, int(wanted == Ripas.RAM))
    assert bench.memory.read_u64(bench.vmm.realm.run_pages[bench.rec] + RecEnter.FLAGS) == 1 << 4
