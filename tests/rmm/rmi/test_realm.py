"""Which Realms are created, of which geometry and parameters, and when does one go?"""

import pytest

from rmm_devices import assign, device_host
from rmm_host import PAGE, PARAMS, Host
from topbit.arch.rmi import Rmi, Rmi2
from topbit.arch.rmi_params import RealmFlags0, RealmFlags1, RealmParams
from topbit.arch.rmi_revision import Abi
from topbit.rmm import State
from topbit.rmm.realm import RealmState
from topbit.rmm.rmi.realm import geometry_is_valid


@pytest.mark.parametrize(
    ("bits", "level", "roots", "lpa2"),
    [
        (32, 1, 1, False),
        (33, 1, 1, False),
        (33, 2, 8, False),
        (34, 2, 16, False),
        (39, 1, 1, False),
        (40, 1, 2, False),
        (40, 0, 1, False),
        (43, 1, 16, False),
        (48, 0, 1, False),
        (49, -1, 1, True),
        (52, -1, 1, True),
        (52, 0, 16, True),
    ],
)
def test_right_geometry_is_taken_and_any_other_number_of_roots_is_not(
    bits: int, level: int, roots: int, lpa2: bool
) -> None:
    for count in (*range(20), 32):
        right = geometry_is_valid(bits, level, count, lpa2=lpa2, pa_bits=52)
        assert right == (count == roots)


@pytest.mark.parametrize(
    ("bits", "level", "roots"),
    [(31, 1, 1), (39, 0, 1), (35, 2, 32), (44, 1, 32), (49, 0, 2), (40, 3, 1), (40, -1, 1)],
)
def test_wrong_geometry(bits: int, level: int, roots: int) -> None:
    assert not geometry_is_valid(bits, level, roots, lpa2=False, pa_bits=48)


def test_start_level_0_needs_44_bits_of_physical_address() -> None:
    assert not geometry_is_valid(40, 0, 1, lpa2=False, pa_bits=40)


@pytest.mark.parametrize(
    ("bits", "level", "roots"), [(34, 2, 16), (43, 1, 16), (48, 0, 1), (52, -1, 1), (52, 0, 16)]
)
def test_both_halves_are_mapped_where_they_begin_and_end(bits: int, level: int, roots: int) -> None:
    host = Host()
    host.create(bits, level, roots)
    host.rec()
    half = 1 << (bits - 1)
    for ipa in (0, half - 0x1000):
        host.tables(ipa)
        host.ok(Rmi.RTT_INIT_RIPAS, host.rd, ipa, ipa + 0x1000)
        host.data(ipa)
    host.ok(Rmi.REALM_ACTIVATE, host.rd)
    for ipa in (half, 2 * half - 0x1000):
        host.tables(ipa)
        host.ok(Rmi.RTT_MAP_UNPROTECTED, host.rd, ipa, 3, 0x8000_F000 | 0xD4)
    host.enter()
    for ipa, ns in ((0, False), (half - 0x1000, False), (half, True), (2 * half - 0x1000, True)):
        place = host.rmm.access(host.recs[0], ipa + 8, "r")
        assert getattr(place, "ns", None) is ns


ERROR_INPUT, ERROR_REALM = 1, 2


class Maker:
    """A root table, an RD, and parameters that are right until a test changes one."""

    def __init__(self, abi: Abi = "1.0") -> None:
        self.host = Host(abi=abi)
        self.root, self.rd = self.host.granule(2, align=2 * PAGE), self.host.granule()
        self.host.params(33, 1, 1, self.root)

    def put(self, offset: int, value: int) -> None:
        self.host.memory.write_u64(PARAMS + offset, value)

    def create(self, rd: int | None = None, params: int = PARAMS) -> int:
        return self.host.status(Rmi.REALM_CREATE, self.rd if rd is None else rd, params)


@pytest.fixture
def maker() -> Maker:
    return Maker()


def test_a_new_realm_has_its_parameters_and_owns_its_granules(maker: Maker) -> None:
    maker.put(RealmParams.VMID, 0xABCD)
    assert maker.create() == 0
    realm = maker.host.rmm.realm(maker.rd)
    assert (realm.state, realm.vmid, realm.space.bits, realm.start_level) == (
        RealmState.NEW, 0xABCD, 33, 1,
    )  # fmt: skip
    assert (realm.rtt_base, realm.rpv[:8]) == (maker.root, b"personal")
    assert maker.host.rmm.granules.get(maker.rd) == State.RD
    assert maker.host.rmm.granules.get(maker.root) == State.RTT
    assert maker.host.rmm.granules.get(maker.root + PAGE) == State.DELEGATED
    root = maker.host.memory.table(maker.root, 512).tolist()
    assert root == [0] * 4 + [1 << 55] * 4 + [0] * 504


@pytest.mark.parametrize(
    ("offset", "value", "taken"),
    [
        (RealmParams.FLAGS0, RealmFlags0(SVE=1).words[0], False),
        (RealmParams.FLAGS0, RealmFlags0(PMU=1).words[0], False),
        (RealmParams.FLAGS0, RealmFlags0(LPA2=1).words[0], True),
        (RealmParams.S2SZ, 31, False),
        (RealmParams.S2SZ, 32, True),
        (RealmParams.S2SZ, 49, False),
        (RealmParams.NUM_BPS, 0, False),
        (RealmParams.NUM_BPS, 15, True),
        (RealmParams.NUM_BPS, 16, False),
        (RealmParams.NUM_WPS, 0, False),
        (RealmParams.NUM_WPS, 15, True),
        (RealmParams.NUM_WPS, 16, False),
        (RealmParams.HASH_ALGO, 1, True),
        (RealmParams.HASH_ALGO, 2, False),
        (RealmParams.RTT_LEVEL_START, 2, False),
        (RealmParams.RTT_LEVEL_START, (1 << 64) - 1, False),
    ],
)
def test_each_parameter_has_its_range(maker: Maker, offset: int, value: int, taken: bool) -> None:
    maker.put(offset, value)
    assert maker.create() == (0 if taken else ERROR_INPUT)
    assert maker.host.rmm.granules.get(maker.rd) == (State.RD if taken else State.DELEGATED)
    assert len(maker.host.rmm.realms) == int(taken)


@pytest.mark.parametrize(
    ("offset", "value", "taken"),
    [
        (RealmParams.FLAGS0, RealmFlags0(DA=1).words[0], True),
        (RealmParams.FLAGS0, RealmFlags0(MEC_POLICY=RealmFlags0.MEC_PRIVATE).words[0], True),
        (RealmParams.FLAGS0, RealmFlags0(MEC_POLICY=2).words[0], False),
        (RealmParams.FLAGS0, 1 << 9, True),
        (RealmParams.S2SZ, 0x121, False),
        (RealmParams.NUM_BPS, 0x101, False),
        (RealmParams.NUM_WPS, 0x101, False),
        (RealmParams.HASH_ALGO, 2, True),
        (RealmParams.HASH_ALGO, 3, False),
        (RealmParams.NUM_AUX_PLANES, 1, False),
        (RealmParams.ATS_PLANE, 1, False),
        (RealmParams.FLAGS1, RealmFlags1(RTT_TREE_PP=1).words[0], True),
        (RealmParams.FLAGS1, RealmFlags1(RTT_S2AP_INDIRECT=1).words[0], False),
        (RealmParams.FLAGS1, 1 << 2, True),
        (RealmParams.VMID, 0xFFFF, True),
    ],
)
def test_each_parameter_of_2_0_has_its_range(offset: int, value: int, taken: bool) -> None:
    maker = Maker("2.0")
    maker.put(offset, value)
    assert maker.create() == (0 if taken else ERROR_INPUT)


def test_root_tables_are_delegated_aligned_and_apart_from_the_rd(maker: Maker) -> None:
    for base in (maker.root + 8, maker.rd, PARAMS, 1 << 40):
        maker.put(RealmParams.RTT_BASE, base)
        assert maker.create() == ERROR_INPUT
    maker.host.params(40, 1, 2, maker.root)
    assert maker.create(rd=maker.root + PAGE) == ERROR_INPUT
    maker.put(RealmParams.RTT_BASE, maker.root + PAGE)
    assert maker.create() == ERROR_INPUT
    maker.host.ok(Rmi.GRANULE_UNDELEGATE, maker.root + PAGE)
    maker.put(RealmParams.RTT_BASE, maker.root)
    assert maker.create() == ERROR_INPUT
    maker.host.delegate(maker.root + PAGE)
    assert maker.create() == 0


def test_the_rd_is_delegated_and_the_parameters_are_the_hosts(maker: Maker) -> None:
    fresh = maker.host.granule(delegate=False)
    assert maker.create(rd=fresh) == ERROR_INPUT
    assert maker.create(params=maker.root) == ERROR_INPUT
    assert maker.create() == 0
    assert maker.create() == ERROR_INPUT


@pytest.mark.parametrize(("vmid", "taken"), [(1, False), (2, True), (0x1_0001, False)])
def test_a_vmid_belongs_to_one_realm(maker: Maker, vmid: int, taken: bool) -> None:
    assert maker.create() == 0
    root, rd = maker.host.granule(), maker.host.granule()
    maker.host.params(33, 1, 1, root)
    maker.put(RealmParams.VMID, vmid)
    assert maker.create(rd) == (0 if taken else ERROR_INPUT)
    maker.host.ok(Rmi.REALM_DESTROY, maker.rd)
    if not taken:
        assert maker.create(rd) == 0


def test_the_rmm_of_2_0_chooses_vmids_itself() -> None:
    host = Host(abi="2.0")
    rds = []
    for _ in range(3):
        host.create()
        rds.append(host.rd)
    assert [host.rmm.realm(rd).vmid for rd in rds] == [1, 2, 3]
    host.ok(Rmi2.REALM_TERMINATE, rds[1])
    host.ok(Rmi.REALM_DESTROY, rds[1])
    host.create()
    assert host.rmm.realm(host.rd).vmid == 2


def test_a_realm_with_nothing_but_its_root_goes(maker: Maker) -> None:
    assert maker.create() == 0
    maker.host.ok(Rmi.REALM_DESTROY, maker.rd)
    assert maker.host.rmm.granules.get(maker.rd) == State.DELEGATED
    assert maker.host.rmm.granules.get(maker.root) == State.DELEGATED
    assert maker.host.rmm.realms == {}
    assert maker.host.status(Rmi.REALM_DESTROY, maker.rd) == ERROR_INPUT


def test_a_realm_with_only_recs_left_stays() -> None:
    host = Host()
    host.create()
    first, second = host.rec(), host.rec(mpidr=1)
    for rec in (second, first):
        assert host.status(Rmi.REALM_DESTROY, host.rd) == ERROR_REALM
        host.ok(Rmi.REC_DESTROY, rec)
    host.ok(Rmi.REALM_DESTROY, host.rd)


def test_a_realm_with_only_a_device_left_stays() -> None:
    host = device_host()
    device = assign(host)
    host.operate(Rmi.REC_DESTROY, host.recs[0])
    host.ok(Rmi.RTT_DESTROY, host.rd, 0, 3)
    host.ok(Rmi.RTT_DESTROY, host.rd, 0, 2)
    host.ok(Rmi2.REALM_TERMINATE, host.rd)
    assert host.status(Rmi.REALM_DESTROY, host.rd) == ERROR_REALM
    host.ok(Rmi2.VDEV_DESTROY, *device.names)
    host.ok(Rmi.REALM_DESTROY, host.rd)


@pytest.mark.parametrize("ipa", [0, (1 << 32) - (1 << 30), 1 << 32])
def test_a_realm_with_only_a_table_left_stays(ipa: int) -> None:
    host = Host()
    host.create()
    host.tables(ipa, 2)
    assert host.status(Rmi.REALM_DESTROY, host.rd) == ERROR_REALM
    host.ok(Rmi.RTT_DESTROY, host.rd, ipa, 2)
    host.ok(Rmi.REALM_DESTROY, host.rd)


def test_a_realm_is_activated_once() -> None:
    host = Host()
    host.create()
    host.ok(Rmi.REALM_ACTIVATE, host.rd)
    assert host.realm.state == RealmState.ACTIVE
    assert host.status(Rmi.REALM_ACTIVATE, host.rd) == ERROR_REALM
    assert host.status(Rmi.REALM_ACTIVATE, host.rd + PAGE) == ERROR_INPUT


def test_a_terminated_realm_never_runs_again() -> None:
    host = Host(abi="2.0")
    host.create()
    rec = host.rec()
    host.ok(Rmi.REALM_ACTIVATE, host.rd)
    host.ok(Rmi2.REALM_TERMINATE, host.rd)
    assert host.realm.state == RealmState.TERMINATED
    assert host.status(Rmi.REC_ENTER, rec, PARAMS) == ERROR_REALM, "the index is 0 in 2.0"
    assert host.status(Rmi2.REALM_TERMINATE, host.rd + PAGE) == ERROR_INPUT


def test_the_measured_parameters_are_the_pages(maker: Maker) -> None:
    seen = set()
    for algorithm in (0, 1):
        made = Maker()
        made.put(RealmParams.HASH_ALGO, algorithm)
        assert made.create() == 0
        seen.add(made.host.rmm.realm(made.rd).measurements.size)
    assert seen == {32, 64}
