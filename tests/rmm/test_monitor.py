"""Which doors has the RMM, who is let through, and what does it say of what happened?"""

import pytest

from rmm_devices import SID, assign, device_host
from rmm_host import BASE, PAGE, RUN, Host
from topbit.arch.rmi import ExitReason, Ripas, Rmi
from topbit.arch.rmi_params import RecExit
from topbit.arch.rsi import Rsi
from topbit.arch.smmuv3 import STE
from topbit.events import Event
from topbit.memory import PhysicalMemory
from topbit.rmm import Exit, Granules, Resume, Rmm, Sea
from topbit.rmm.realm import Realm
from topbit.rmm.rec_run import exit_event

HALF = 1 << 32
NOT_SUPPORTED = (1 << 64) - 1


@pytest.fixture
def host() -> Host:
    host = Host()
    host.create()
    host.rec()
    host.ram([0])
    return host


def heard(host: Host) -> list[Event]:
    events: list[Event] = []
    host.rmm.emit, host.rmm.listening = events.append, True
    return events


def test_an_rmm_makes_its_granules_or_takes_them() -> None:
    memory = PhysicalMemory(BASE, 4 * PAGE)
    granules = Granules(memory)
    assert Rmm(memory, granules).granules is granules
    assert Rmm(memory).granules.memory is memory
    assert (Rmm(memory).active, Rmm(memory, abi="2.0").active) == (True, False)


@pytest.mark.parametrize("abi", ["1.0", "2.0"])
def test_the_realms_version_follows_the_hosts(abi: str) -> None:
    host = Host(abi=abi)  # type: ignore[arg-type]
    host.create()
    host.rec()
    host.ok(Rmi.REALM_ACTIVATE, host.rd)
    host.enter()
    own = 0x1_0000 if abi == "1.0" else 0x1_0001
    assert host.returns(Rsi.VERSION, own) == (0, own, own)


def test_only_a_running_rec_calls_and_touches_memory(host: Host) -> None:
    rec = host.recs[0]
    for use in (
        lambda: host.rmm.rsi(rec, [Rsi.VERSION]),
        lambda: host.rmm.access(rec, 0, "r"),
        lambda: host.rmm.interrupt(rec),
        lambda: host.rmm.running(rec + PAGE),
    ):
        with pytest.raises(ValueError, match="no REC is running at 0x"):
            use()
    host.enter()
    assert host.rmm.running(rec) is host.rmm.rec(rec)


def test_names_of_realms_and_recs_that_are_not_there(host: Host) -> None:
    with pytest.raises(KeyError):
        host.rmm.realm(host.rd + PAGE)
    with pytest.raises(KeyError):
        host.rmm.rec(host.rd)


@pytest.mark.parametrize(
    ("function", "value"),
    [
        (0x8000_0000, 0x1_0002),
        (0x8000_0001, NOT_SUPPORTED),
        (0xC400_0150, NOT_SUPPORTED),  # RMI is not the Realm's
        (0, NOT_SUPPORTED),
        (1 << 32 | 0x8000_0000, 0x1_0002),  # a function identifier has 32 bits
    ],
)
def test_other_calls_of_the_realm(host: Host, function: int, value: int) -> None:
    host.enter()
    assert host.rsi(function) == Resume({0: value}, advance=True)


@pytest.mark.parametrize("reason", [ExitReason.IRQ, ExitReason.FIQ, ExitReason.SERROR])
def test_an_interrupt_takes_the_rec_back(host: Host, reason: ExitReason) -> None:
    host.enter()
    assert host.rmm.interrupt(host.recs[0], reason) == Exit(reason)
    assert host.memory.read_u64(RUN + RecExit.REASON) == reason
    assert not host.rmm.rec(host.recs[0]).running


def test_aborts_and_exits_are_told(host: Host) -> None:
    host.enter()
    events = heard(host)
    assert host.rmm.access(host.recs[0], PAGE, "w", 4) == Sea(7)
    host.rmm.access(host.recs[0], HALF | 0x1238, "r")
    assert events == [
        Event(
            "rmm", "sea", address=PAGE, direction="w", size=4,
            detail="stage 2 fault, fsc 0x07",
        ),
        Event("rmm", "rmm_exit", address=HALF | 0x1238, status="SYNC", detail="ESR 0x91c08005"),
    ]  # fmt: skip


def test_a_range_that_the_realm_asks_for_is_told() -> None:
    asked = Exit(ExitReason.RIPAS_CHANGE, range_base=PAGE, range_top=4 * PAGE, ripas=1)
    assert exit_event(asked) == Event(
        "rmm", "rmm_exit", phys=PAGE, size=3 * PAGE, status="RIPAS_CHANGE", attrs="RAM"
    )
    mapped = exit_event(Exit(ExitReason.DEV_MEM_MAP, range_base=0, range_top=PAGE))
    assert (mapped.status, mapped.attrs, mapped.size) == ("DEV_MEM_MAP", "DEV", PAGE)
    assert exit_event(Exit(ExitReason.IRQ)) == Event("rmm", "rmm_exit", status="IRQ")


def test_the_width_that_the_realm_was_told_is_told(host: Host) -> None:
    host.enter()
    events = heard(host)
    host.returns(Rsi.REALM_CONFIG, 0)
    host.rmm.told_ipa_bits = 41
    host.returns(Rsi.REALM_CONFIG, 0)
    assert events == [
        Event("rmm", "realm_config", address=1 << bits - 1, phys=0, detail=f"{bits} bits")
        for bits in (33, 41)
    ]


def test_a_table_that_goes_takes_its_range_with_it(host: Host) -> None:
    host.tables(2 << 20)
    host.tables(HALF)
    host.tables(HALF | 2 << 20)
    host.ok(Rmi.RTT_MAP_UNPROTECTED, host.rd, HALF, 3, 0x8000_00D8)
    events = heard(host)
    for ipa in (2 << 20, HALF, HALF | 2 << 20):
        host.ok(Rmi.RTT_DESTROY, host.rd, ipa, 3)
    assert events == [
        Event("rmm", "ripas", phys=2 << 20, size=2 << 20, status="ok", attrs="DESTROYED"),
        Event("rmm", "rtt_unmap", address=HALF, phys=0, size=2 << 20, attrs="unprotected"),
    ]


class Told:
    """The SMMU's Realm side, which notes what it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def activate(self, strtab: int, log2size: int) -> None:
        self.calls.append(("activate", log2size))

    def deactivate(self) -> None:
        self.calls.append(("deactivate",))

    def changed(self, sid: int, ste: STE, realm: Realm | None) -> None:
        self.calls.append(("changed", sid, ste.V, realm and realm.rd))

    def invalidate(self, vmid: int, ipa: int, size: int) -> None:
        self.calls.append(("invalidate", vmid, ipa, size))


def test_the_smmu_is_told_of_what_goes_and_of_trusted_streams() -> None:
    host, told = device_host(), Told()
    host.rmm.smmu = told
    device = assign(host)
    assert told.calls == [
        ("activate", 16),
        ("changed", SID & -64, 0, None),
        ("changed", SID, 0, None),
    ]
    device.lock()
    device.start()
    host.enter()
    told.calls.clear()
    device.enable()
    host.rmm.interrupt(host.recs[0])
    device.unlock()
    host.ok(Rmi.RTT_DESTROY, host.rd, 0, 3)
    assert told.calls == [
        ("changed", SID, 1, host.rd),
        ("changed", SID, 0, None),
        ("invalidate", 1, 0, 2 << 20),
    ]


def test_ripas_is_what_the_events_name(host: Host) -> None:
    host.enter()
    events = heard(host)
    host.rsi(Rsi.IPA_STATE_SET, 0, PAGE, Ripas.EMPTY, 0)
    host.ok(Rmi.RTT_SET_RIPAS, host.rd, host.recs[0], 0, PAGE)
    assert events[-1] == Event("rmm", "ripas", phys=0, size=PAGE, status="ok", attrs="EMPTY")
