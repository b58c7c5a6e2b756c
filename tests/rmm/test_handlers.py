"""Which calls are answered by which revision, and when?"""

import pytest

from rmm_host import BASE, PAGE, RUN, Host
from topbit.arch.rmi import UNKNOWN_FUNCTION, Rmi, Rmi2
from topbit.arch.rmi_params import RmmConfig
from topbit.arch.rsi import Rsi
from topbit.memory import PhysicalMemory
from topbit.rmm import Rmm

SUCCESS, ERROR_INPUT, ERROR_GLOBAL, ERROR_STATE = 0, 1, 11, 2
ONLY_1_0 = {
    Rmi.GRANULE_DELEGATE,
    Rmi.GRANULE_UNDELEGATE,
    Rmi.REC_AUX_COUNT,
    Rmi.DATA_CREATE_UNKNOWN,
    Rmi.DATA_DESTROY,
    Rmi.RTT_MAP_UNPROTECTED,
    Rmi.RTT_UNMAP_UNPROTECTED,
}
EARLY = {
    Rmi.VERSION,
    Rmi.FEATURES,
    Rmi2.RMM_CONFIG_GET,
    Rmi2.RMM_CONFIG_SET,
    Rmi2.RMM_ACTIVATE,
    Rmi2.RMM_STATE_GET,
    Rmi2.GRANULE_TRACKING_GET,
}
NOWHERE = {Rmi2.RTT_SET_S2AP, Rmi2.GPT_L1_CREATE}
NEW = set(Rmi2) - {Rmi2.RTT_DATA_MAP_INIT} - NOWHERE
ABSENT = {
    "2.0-beta0": ONLY_1_0 | {Rmi2.RMM_STATE_GET},
    "2.0-bet3": ONLY_1_0 | {Rmi2.VDEV_COMPLETE},
}
REGISTERS = 0x1000_0000


def rmm(abi: str = "2.0", *, lpa2: bool = True) -> Rmm:
    return Rmm(PhysicalMemory(BASE, 64 * PAGE), abi=abi, lpa2=lpa2)  # type: ignore[arg-type]


@pytest.mark.parametrize("abi", list(ABSENT))
@pytest.mark.parametrize("fid", [*Rmi, *sorted(NEW)], ids=lambda fid: fid.name)
def test_each_revision_answers_its_own_calls(abi: str, fid: int) -> None:
    old, early, late = rmm("1.0"), rmm(abi), rmm(abi)
    late.rmi(Rmi2.RMM_ACTIVATE)
    assert (old.rmi(fid)[0] == UNKNOWN_FUNCTION) == (fid in NEW)
    absent = fid in ABSENT[abi]
    assert (late.rmi(fid)[0] == UNKNOWN_FUNCTION) == absent
    before = early.rmi(fid)[0]
    if absent:
        assert before == UNKNOWN_FUNCTION
    elif fid in EARLY:
        assert before in (SUCCESS, ERROR_INPUT)
    else:
        assert before == ERROR_GLOBAL


def test_other_numbers_are_no_functions() -> None:
    for fid in (0, 0xC400_016A, 1 << 63):
        assert rmm().rmi(fid) == rmm("1.0").rmi(fid) == (UNKNOWN_FUNCTION,)


@pytest.mark.parametrize(("abi", "own"), [("1.0", 0x1_0000), ("2.0", 0x2_0000)])
def test_the_version_is_one(abi: str, own: int) -> None:
    assert rmm(abi).rmi(Rmi.VERSION, [own]) == (SUCCESS, own, own)
    for other in (own + 1, own ^ 0x3_0000, 0):
        assert rmm(abi).rmi(Rmi.VERSION, [other]) == (ERROR_INPUT, own, own)


@pytest.mark.parametrize(("lpa2", "widest"), [(True, 52), (False, 48)])
def test_feature_register_0_tells_widths_hashes_and_breakpoints(lpa2: bool, widest: int) -> None:
    status, value = rmm(lpa2=lpa2).rmi(Rmi.FEATURES, [0])
    assert status == SUCCESS
    assert value & 0xFF == widest
    assert value >> 8 & 1 == lpa2
    assert (value >> 14 & 0x3F, value >> 20 & 0x3F) == (15, 15)
    assert value >> 26 == 0
    assert rmm("1.0", lpa2=lpa2).rmi(Rmi.FEATURES, [0]) == (SUCCESS, value | 0b11 << 32)


@pytest.mark.parametrize("index", range(1, 7))
def test_further_feature_registers(index: int) -> None:
    known = {1: 1 | 1 << 3 | 1 << 5 | 10 << 6 | 5 << 14, 2: 1 | 10 << 4, 4: 0xFFFE}
    assert rmm().rmi(Rmi.FEATURES, [index]) == (SUCCESS, known.get(index, 0))
    assert rmm("1.0").rmi(Rmi.FEATURES, [index]) == (SUCCESS, 0)


def test_configuration_comes_before_activation_and_from_the_hosts_memory() -> None:
    made = rmm()
    for call in (Rmi2.RMM_CONFIG_GET, Rmi2.RMM_CONFIG_SET):
        assert made.rmi(call, [BASE + 8]) == (ERROR_INPUT,)
    made.memory.fill(BASE, PAGE, 0xA5)
    assert made.rmi(Rmi2.RMM_CONFIG_SET, [BASE]) == (ERROR_INPUT,), "no such granule size"
    assert made.rmi(Rmi2.RMM_CONFIG_GET, [BASE]) == (SUCCESS,)
    assert made.memory.read(BASE, PAGE) == bytes(PAGE)
    assert made.rmi(Rmi2.RMM_CONFIG_SET, [BASE]) == (SUCCESS,)
    for offset in (RmmConfig.TRACKING_REGION_SIZE, RmmConfig.RMI_GRANULE_SIZE):
        made.memory.fill(BASE, PAGE)
        made.memory.write_u64(BASE + offset, 1)
        assert made.rmi(Rmi2.RMM_CONFIG_SET, [BASE]) == (ERROR_INPUT,)
    assert made.rmi(Rmi2.RMM_ACTIVATE) == (SUCCESS,)
    for call in (Rmi2.RMM_CONFIG_SET, Rmi2.RMM_ACTIVATE):
        assert made.rmi(call, [BASE]) == (ERROR_GLOBAL,)


def test_whether_it_is_active_can_be_asked_in_bet3() -> None:
    made = rmm("2.0-bet3")
    assert made.rmi(Rmi2.RMM_STATE_GET) == (SUCCESS, 0)
    made.rmi(Rmi2.RMM_ACTIVATE)
    assert made.rmi(Rmi2.RMM_STATE_GET) == (SUCCESS, 1)


@pytest.mark.parametrize(
    ("base", "top", "answer"),
    [
        (BASE, BASE + PAGE, (SUCCESS, 0, 2, BASE + PAGE)),
        (BASE, BASE + (2 << 30), (SUCCESS, 0, 2, BASE + (1 << 30))),
        (1 << 40, (1 << 40) + PAGE, (SUCCESS, 0, 1, (1 << 40) + PAGE)),
        (REGISTERS, REGISTERS + PAGE, (SUCCESS, 1, 2, REGISTERS + PAGE)),
        (BASE + 8, BASE + PAGE, (ERROR_INPUT, 0, 0, 0)),
        (BASE, BASE, (ERROR_INPUT, 0, 0, 0)),
    ],
)
def test_what_is_known_of_memory(base: int, top: int, answer: tuple[int, ...]) -> None:
    made = rmm()
    made.granules.add_device_memory(REGISTERS, PAGE)
    assert made.rmi(Rmi2.GRANULE_TRACKING_GET, [base, top]) == answer


def test_missing_arguments_are_zero_and_surplus_ones_are_ignored() -> None:
    made = rmm("1.0")
    assert made.rmi(Rmi.FEATURES) == made.rmi(Rmi.FEATURES, [0, 1, 2])
    assert made.rmi(Rmi.GRANULE_DELEGATE, [BASE, 5, 6]) == (SUCCESS,)


@pytest.mark.parametrize("call", [Rsi.VDEV_GET_INFO, Rsi.VDEV_DMA_ENABLE, Rsi.VDEV_DMA_DISABLE,
                                  Rsi.VDEV_VALIDATE_MAPPING])  # fmt: skip
def test_devices_are_known_to_realms_of_2_0_only(call: Rsi) -> None:
    for abi, status in (("1.0", (1 << 64) - 1), ("2.0", ERROR_STATE)):
        host = Host(abi=abi)  # type: ignore[arg-type]
        host.create()
        host.rec()
        host.ok(Rmi.REALM_ACTIVATE, host.rd)
        host.ok(Rmi.REC_ENTER, host.recs[0], RUN)
        assert host.returns(call, 99) == (status,)
