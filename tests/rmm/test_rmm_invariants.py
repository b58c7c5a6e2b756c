"""What holds in any sequence of calls: who owns memory, who reaches it, how RIPAS changes."""

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fuzz_rmm import Fuzz
from rmm_host import BASE, PAGE, PARAMS, RUN, Host
from rmm_invariants import check
from topbit.arch.gpt import PAS
from topbit.arch.rmi import Ripas, Rmi
from topbit.arch.rsi import Rsi
from topbit.rmm import Exit, State, Translated
from topbit.rmm.s2tt import LAST

PAGES = [*range(6), 511, 512, 513]
FIRST, COUNT = BASE + 0x40_0000, 12
pages = st.sampled_from(PAGES)
granules = st.integers(0, COUNT - 1).map(lambda i: FIRST + i * PAGE)
which = st.integers(0, 1)
SECRET = b"a Realm's secret"


class TwoRealms(RuleBasedStateMachine):
    """Two Realms whose host does anything in any order with few pages and granules."""

    @initialize()
    def start(self) -> None:
        self.host = Host()
        self.rmm = self.host.rmm
        self.realms: list[tuple[int, int]] = []
        for vmid in (1, 2):
            root, rd = self.host.granule(), self.host.granule()
            params = self.host.params(33, 1, 1, root, vmid=vmid)
            self.host.ok(Rmi.REALM_CREATE, rd, params)
            self.host.rd = rd
            rec = self.host.rec()
            for ipa in (0, 0x20_0000, 1 << 32):
                self.host.tables(ipa)
            self.realms.append((rd, rec))
        self.secrets: set[int] = set()
        self.seen = self.ripas()

    def ripas(self) -> dict[tuple[int, int], Ripas]:
        found = {}
        for rd, _ in self.realms:
            rtt = self.rmm.realm(rd).rtt
            for page in PAGES:
                walk = rtt.walk(page * PAGE, LAST)
                found[rd, page] = rtt.decode(walk.entry, walk.level).ripas
        return found

    def rmi(self, fid: int, *args: int, changes: tuple[tuple[Ripas, Ripas], ...] = ()) -> int:
        """A call, and the only changes of RIPAS that it may make, in its own Realm."""
        out = self.rmm.rmi(fid, args)
        now = self.ripas()
        for place, before in self.seen.items():
            if now[place] != before:
                assert out[0] == 0
                assert place[0] == args[0]
                assert (before, now[place]) in changes, (Rmi(fid).name, before, now[place])
        self.seen = now
        return out[0]

    @rule(pa=granules)
    def delegate(self, pa: int) -> None:
        self.rmi(Rmi.GRANULE_DELEGATE, pa)

    @rule(pa=granules)
    def undelegate(self, pa: int) -> None:
        if self.rmi(Rmi.GRANULE_UNDELEGATE, pa) == 0:
            assert not any(self.rmm.memory.read(pa, PAGE)), "the host can read what was there"
            self.secrets.discard(pa)

    @rule(i=which, page=pages)
    def init_ripas(self, i: int, page: int) -> None:
        rd, base = self.realms[i][0], page * PAGE
        allowed = ((Ripas.EMPTY, Ripas.RAM),)
        self.rmi(Rmi.RTT_INIT_RIPAS, rd, base, base + 2 * PAGE, changes=allowed)

    @rule(i=which, page=pages, pa=granules)
    def data_create(self, i: int, page: int, pa: int) -> None:
        allowed = tuple((before, Ripas.RAM) for before in Ripas)
        rd = self.realms[i][0]
        self.rmi(Rmi.DATA_CREATE, rd, pa, page * PAGE, PARAMS, 1, changes=allowed)

    @rule(i=which, page=pages, pa=granules)
    def data_create_unknown(self, i: int, page: int, pa: int) -> None:
        if self.rmi(Rmi.DATA_CREATE_UNKNOWN, self.realms[i][0], pa, page * PAGE) == 0:
            assert not any(self.rmm.memory.read(pa, PAGE)), "another Realm's contents"
            self.secrets.discard(pa)

    @rule(i=which, page=pages)
    def data_destroy(self, i: int, page: int) -> None:
        allowed = ((Ripas.RAM, Ripas.DESTROYED),)
        self.rmi(Rmi.DATA_DESTROY, self.realms[i][0], page * PAGE, changes=allowed)

    @rule(i=which, page=st.sampled_from([0, 512]), fold=st.booleans())
    def table(self, i: int, page: int, fold: bool) -> None:
        rd, ipa = self.realms[i][0], page * PAGE
        if fold:
            self.rmi(Rmi.RTT_FOLD, rd, ipa, 3)
        else:
            allowed = tuple((before, Ripas.DESTROYED) for before in Ripas)
            self.rmi(Rmi.RTT_DESTROY, rd, ipa, 3, changes=allowed)

    @rule(i=which, page=st.sampled_from([0, 512]), pa=granules)
    def rtt_create(self, i: int, page: int, pa: int) -> None:
        self.rmi(Rmi.RTT_CREATE, self.realms[i][0], pa, page * PAGE, 3)

    @rule(i=which, page=pages, pa=granules, unmap=st.booleans())
    def unprotected(self, i: int, page: int, pa: int, unmap: bool) -> None:
        rd, ipa = self.realms[i][0], 1 << 32 | page * PAGE
        if unmap:
            self.rmi(Rmi.RTT_UNMAP_UNPROTECTED, rd, ipa, 3)
        else:
            self.rmi(Rmi.RTT_MAP_UNPROTECTED, rd, ipa, 3, pa | 0xD4)

    @rule(i=which)
    def activate(self, i: int) -> None:
        self.rmi(Rmi.REALM_ACTIVATE, self.realms[i][0])

    def enter(self, i: int) -> bool:
        self.rmm.memory.write_u64(RUN, 0)
        return self.rmm.rmi(Rmi.REC_ENTER, [self.realms[i][1], RUN])[0] == 0

    @rule(i=which, page=pages, alias=st.booleans())
    def write_secret(self, i: int, page: int, alias: bool) -> None:
        if not self.enter(i):
            return
        rec = self.realms[i][1]
        got = self.rmm.access(rec, page * PAGE | alias << 32, "w")
        if isinstance(got, Translated):
            assert got.ns == alias
            world = PAS.NS if got.ns else PAS.REALM
            fault = self.rmm.granules.check("realm", got.pa, 8, world, write=True)
            assert alias or fault is None
            if not alias:
                self.rmm.memory.write(got.pa, SECRET)
                self.secrets.add(got.pa)
        if self.rmm.rec(rec).running:
            self.rmm.interrupt(rec)

    @rule(
        i=which,
        page=pages,
        length=st.integers(1, 3),
        ripas=st.sampled_from([0, 1]),
        destroyed=st.booleans(),
        answer=st.integers(0, 3),
        other=pages,
    )
    def change(
        self, i: int, page: int, length: int, ripas: int, destroyed: bool, answer: int, other: int
    ) -> None:
        """The Realm asks, the host does part of it, and tries elsewhere too."""
        rd, rec = self.realms[i]
        if not self.enter(i):
            return
        base, top = page * PAGE, (page + length) * PAGE
        got = self.rmm.rsi(rec, [Rsi.IPA_STATE_SET, base, top, ripas, int(destroyed)])
        assert isinstance(got, Exit)
        to_ram = ((Ripas.EMPTY, Ripas.RAM), *[(Ripas.DESTROYED, Ripas.RAM)] * destroyed)
        to_empty = ((Ripas.RAM, Ripas.EMPTY), (Ripas.DESTROYED, Ripas.EMPTY))
        allowed = to_ram if ripas else to_empty
        first, changes = other * PAGE, allowed if other == page else ()
        outside = self.rmi(Rmi.RTT_SET_RIPAS, rd, rec, first, first + PAGE, changes=changes)
        assert outside != 0 or other == page
        end = base + min(answer, length) * PAGE
        self.rmi(Rmi.RTT_SET_RIPAS, rd, rec, base, end, changes=allowed)
        assert self.enter(i)
        self.rmm.interrupt(rec)

    @invariant()
    def owned_once(self) -> None:
        check(self.rmm)

    @invariant()
    def no_secret_is_within_reach_of_host_or_untrusted_device(self) -> None:
        for pa in self.secrets:
            assert self.rmm.granules.check("host", pa, 8, PAS.NS) is not None
            assert self.rmm.granules.check("smmu", pa, 8, PAS.NS) is not None

    def teardown(self) -> None:
        """Destroying everything gives every granule back."""
        if not hasattr(self, "rmm"):
            return
        for rd, rec in self.realms:
            self.rmm.rmi(Rmi.REC_DESTROY, [rec])
            for page in PAGES:
                self.rmm.rmi(Rmi.DATA_DESTROY, [rd, page * PAGE])
            for level in (3, 2):
                for ipa in (0, 0x20_0000, 1 << 32):
                    step = 1 << (39 - 9 * (level - 1))
                    self.rmm.rmi(Rmi.RTT_DESTROY, [rd, ipa & ~(step - 1), level])
            assert self.rmm.rmi(Rmi.REALM_DESTROY, [rd]) == (0,)
        states = {State(int(s)) for s in self.rmm.granules.state}
        assert states <= {State.NS, State.DELEGATED}


TwoRealms.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
TestTwoRealms = TwoRealms.TestCase


def test_any_value_in_any_argument_has_a_defined_answer() -> None:
    fuzz = Fuzz(2026)
    fuzz.run(30_000)
    assert {"SUCCESS", "ERROR_INPUT", "ERROR_RTT", "ERROR_REC", "Resume", "Exit", "Sea"} <= set(
        fuzz.answers
    )
