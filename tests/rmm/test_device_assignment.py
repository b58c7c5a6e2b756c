"""No sequence of calls gives a device a Realm's memory that the Realm has not given it."""

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rmm_devices import BAR, BAR_SIZE, COMM, REQUEST, RESPONSE, SID, Device, assign
from rmm_host import PAGE, RUN, Host
from rmm_invariants import check
from topbit.arch.rmi import Rmi, Rmi2
from topbit.arch.rmi_da import CommStatus, DevCommData, VdevState
from topbit.arch.rmi_range import AddrRange, MapFlags
from topbit.arch.rsi import Rsi
from topbit.devices.tdi import TdiBehaviour
from topbit.machine.model.realm_streams import RealmStreams
from topbit.rmm import Exit
from topbit.smmu import Smmu
from topbit.smmu.outcome import Ok

which = st.integers(0, 1)
SINGLE = MapFlags(OADDR_TYPE=MapFlags.SINGLE).words[0]
SYSTEM_OFF = 0x8400_0008
VDEV_CALLS = (
    *(Rmi2.VDEV_LOCK, Rmi2.VDEV_START, Rmi2.VDEV_UNLOCK),
    *(Rmi2.VDEV_GET_MEASUREMENTS, Rmi2.VDEV_GET_INTERFACE_REPORT),
)
ENDS = (
    *(Rmi2.VDEV_UNLOCK, Rmi2.VDEV_ABORT, Rmi2.VDEV_DESTROY),
    *(Rmi2.PDEV_STOP, Rmi2.PDEV_ABORT, Rmi2.REALM_TERMINATE),
)


class Assignment(RuleBasedStateMachine):
    """Two Realms, each with a page of its own at IPA 0, and two interfaces of one device.

    `accepted` is what the Realms themselves have said and heard: StreamID -> the Realm that enabled
    its DMA, until anything that must end that.
    """

    @initialize(behaviour=st.sampled_from([TdiBehaviour.GOOD] * 7 + [TdiBehaviour.UNLOCKS_ITSELF]))
    def start(self, behaviour: TdiBehaviour) -> None:
        self.host = host = Host(abi="2.0")
        self.smmu = host.rmm.smmu = RealmStreams(Smmu(host.memory))
        host.rmm.granules.add_device_memory(BAR, 2 * BAR_SIZE)
        host.ok(Rmi2.GRANULE_RANGE_DELEGATE, BAR, BAR + 2 * BAR_SIZE)
        self.realms: list[int] = []
        self.pages: list[int] = []
        for _ in range(2):
            host.create(da=True)
            host.rec()
            host.tables(0)
            host.ok(Rmi.RTT_INIT_RIPAS, host.rd, 0, PAGE)
            page = host.granule()
            one = AddrRange(COUNT=1, ADDR=page).words[0]
            host.ok(Rmi2.RTT_DATA_MAP, host.rd, 0, PAGE, SINGLE, one)
            host.ok(Rmi.REALM_ACTIVATE, host.rd)
            self.realms.append(host.rd)
            self.pages.append(page)
        first = assign(host, behaviour)
        second = Device(host, ranges=[(BAR + BAR_SIZE, BAR + 2 * BAR_SIZE)])
        second.model, second.pdev, second.port = first.model, first.pdev, first.port
        second.stream, second.vdev = first.stream, host.granule()
        self.devices = [first, second]
        self.of = {0: 1, 1: 0}  # interface -> the Realm that it is, or will be, assigned to
        self.accepted: dict[int, int] = {}

    def names(self, i: int) -> tuple[int, int, int]:
        device = self.devices[i]
        return self.realms[self.of[i]], device.pdev, device.vdev

    def ended(self, *interfaces: int) -> None:
        for i in interfaces:
            self.accepted.pop(SID + i, None)

    def talk(self, call: int, *names: int) -> None:
        """A conversation; an interface that is in ERROR afterwards is trusted no more."""
        self.devices[0].talk(call, *names)
        self.look_for_errors()

    def look_for_errors(self) -> None:
        for i, device in enumerate(self.devices):
            if self.host.rmm.rmi(Rmi2.VDEV_GET_STATE, [device.vdev]) == (0, VdevState.ERROR):
                self.ended(i)

    @rule(i=which, realm=which)
    def assign(self, i: int, realm: int) -> None:
        self.create(i, realm)

    def create(self, i: int, realm: int) -> None:
        device = self.devices[i]
        params = device.vdev_params(SID + i, 7 + i)
        args = (self.realms[realm], device.pdev, device.vdev, params)
        if self.host.status(Rmi2.VDEV_CREATE, *args) == 0:
            self.of[i] = realm

    @rule(i=which, call=st.sampled_from(VDEV_CALLS))
    def begin(self, i: int, call: int) -> None:
        if self.host.status(call, *self.names(i), RUN) == 0 and call in ENDS:
            self.ended(i)

    @rule(i=which)
    def carry(self, i: int) -> None:
        self.communicate(i)

    def communicate(self, i: int) -> None:
        self.talk(Rmi2.VDEV_COMMUNICATE, *self.names(i))

    @rule(i=which)
    def carry_nothing(self, i: int) -> None:
        """The host has no response; a request that waits for one has failed then."""
        device = self.devices[i]
        device.page({DevCommData.REQ_ADDR: REQUEST, DevCommData.RESP_ADDR: RESPONSE}, COMM)
        for status in (CommStatus.NONE, CommStatus.ERROR):
            self.host.memory.write_u64(COMM + DevCommData.ENTER_STATUS, status)
            self.host.status(Rmi2.VDEV_COMMUNICATE, *self.names(i), COMM)
        self.look_for_errors()

    @rule(i=which, call=st.sampled_from([Rmi2.VDEV_ABORT, Rmi2.VDEV_DESTROY]))
    def give_up(self, i: int, call: int) -> None:
        if self.host.status(call, *self.names(i)) == 0:
            self.ended(i)

    @rule(i=which)
    def whole_way(self, i: int) -> None:
        """What host and Realm do that mean well; else few sequences would come that far."""
        self.create(i, self.of[i])
        self.communicate(i)
        for call in (Rmi2.VDEV_LOCK, Rmi2.VDEV_START):
            self.host.status(call, *self.names(i))
            self.communicate(i)
        self.enable(self.of[i], i, i, None)

    @rule(call=st.sampled_from([Rmi2.PDEV_STOP, Rmi2.PDEV_ABORT]), port=st.booleans())
    @precondition(lambda self: self.accepted)
    def end_device(self, call: int, port: bool) -> None:
        device = self.devices[0]
        self.end_device_by(call, device.port if port else device.pdev)

    def end_device_by(self, call: int, pdev: int) -> None:
        if self.host.status(call, pdev) == 0:
            self.ended(0, 1)

    @rule(refresh=st.booleans(), then=st.sampled_from(["whole", "aborted", "left"]))
    @precondition(lambda self: self.accepted)
    def change_stream(self, refresh: bool, then: str) -> None:
        device = self.devices[0]
        call = Rmi2.PDEV_STREAM_KEY_REFRESH if refresh else Rmi2.PDEV_STREAM_DISCONNECT
        names = (device.pdev, device.port, device.stream)
        if self.host.status(call, *names) == 0 and then == "whole":
            for end in (device.port, device.pdev, device.port, device.pdev):
                self.talk(Rmi2.PDEV_COMMUNICATE, end)
            self.host.status(Rmi2.PDEV_STREAM_COMPLETE, *names)
        elif then == "aborted":
            self.end_device_by(Rmi2.PDEV_ABORT, device.port)

    @rule(realm=which)
    @precondition(lambda self: self.accepted)
    def terminate(self, realm: int) -> None:
        if self.host.status(Rmi2.REALM_TERMINATE, self.realms[realm]) == 0:
            self.ended(*(i for i, owner in self.of.items() if owner == realm))

    # What a Realm does: it asks about any device, with nonces that are right or not.

    def asks(self, realm: int, named: int, *regs: int) -> int:
        """X0 of an RSI call; the host names a device of its own choice."""
        rec = self.host.recs[realm]
        if self.host.status(Rmi.REC_ENTER, rec, RUN):
            return -1
        got = self.host.rmm.rsi(rec, regs)
        if isinstance(got, Exit):
            self.host.status(Rmi2.VDEV_COMPLETE, rec, self.devices[named].vdev)
            self.host.ok(Rmi.REC_ENTER, rec, RUN)
            got = self.host.rmm.rec(rec).resume
        assert not isinstance(got, Exit)
        self.host.rmm.interrupt(rec)
        return got.regs[0]

    @rule(realm=which, i=which, named=which, wrong=st.sampled_from([None, 0, 1, 2]))
    def accept(self, realm: int, i: int, named: int, wrong: int | None) -> None:
        self.enable(realm, i, named, wrong)

    def enable(self, realm: int, i: int, named: int, wrong: int | None) -> None:
        vdev = self.host.rmm.vdevs.get(self.devices[i].vdev)
        nonces = [0, 0, 0] if vdev is None else list(self.devices[i].nonces())
        if wrong is not None:
            nonces[wrong] += 1
        if self.asks(realm, named, Rsi.VDEV_DMA_ENABLE, 7 + i, 0, 0, *nonces) == 0:
            assert (wrong, named, self.of[i]) == (None, i, realm)
            self.accepted[SID + i] = realm

    @rule(realm=which, i=which, named=which)
    def disable(self, realm: int, i: int, named: int) -> None:
        if self.asks(realm, named, Rsi.VDEV_DMA_DISABLE, 7 + i) == 0:
            assert self.of[i] == realm
            self.ended(i)

    @rule(realm=which)
    @precondition(lambda self: self.accepted)
    def power_off(self, realm: int) -> None:
        rec = self.host.recs[realm]
        if self.host.status(Rmi.REC_ENTER, rec, RUN) == 0:
            self.host.rmm.rsi(rec, [SYSTEM_OFF])
            self.ended(*(i for i, owner in self.of.items() if owner == realm))

    # What must hold.

    @invariant()
    def streams_reach_the_realm_that_accepted_them(self) -> None:
        for i in range(2):
            outcome = self.smmu.smmu.access(SID + i, 0, 8, True, realm=True)
            realm = self.accepted.get(SID + i)
            if realm is None:
                assert not isinstance(outcome, Ok), f"stream {i} is valid, and nobody accepted it"
            else:
                assert outcome == Ok(self.pages[realm], 8, True), (i, realm, outcome)

    @invariant()
    def the_rmms_own_tables_say_the_same(self) -> None:
        check(self.host.rmm)


TestAssignment = Assignment.TestCase
TestAssignment.settings = settings(
    deadline=None,
    max_examples=100,
    stateful_step_count=25,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
