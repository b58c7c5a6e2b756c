"""Which calls are answered by which revision, and when?"""

import pytest

from rmm_host import BASE, PAGE, RUN, Host
from topbit.arch.rmi import UNKNOWN_FUNCTION, Rmi, Rmi2
from topbit.arch.rsi import Rsi
from topbit.memory import PhysicalMemory
from topbit.rmm import Rmm

SUCCESS, ERROR_INPUT, ERROR_GLOBAL = 0, 1, 11
ONLY_1_0 = {
    Rmi.GRANULE_DELEGATE,
    Rmi.GRANULE_UNDELEGATE,
    Rmi.DATA_CREATE_UNKNOWN,
    Rmi.DATA_DESTROY,
    Rmi.RTT_MAP_UNPROTECTED,
    Rmi.RTT_UNMAP_UNPROTECTED,
}
EARLY = {Rmi.VERSION, Rmi.FEATURES, Rmi2.RMM_CONFIG_SET, Rmi2.RMM_ACTIVATE}
NEW = set(Rmi2) - {Rmi2.RTT_DATA_MAP_INIT}


def rmm(abi: str = "2.0", *, lpa2: bool = True) -> Rmm:
    return Rmm(PhysicalMemory(BASE, 64 * PAGE), abi=abi, lpa2=lpa2)  # type: ignore[arg-type]


@pytest.mark.parametrize("fid", [*Rmi, *sorted(NEW)], ids=lambda fid: fid.name)
def test_each_revision_answers_its_own_calls(fid: int) -> None:
    old, early, late = rmm("1.0"), rmm(), rmm()
    late.rmi(Rmi2.RMM_ACTIVATE)
    assert (old.rmi(fid)[0] == UNKNOWN_FUNCTION) == (fid in NEW)
    assert (late.rmi(fid)[0] == UNKNOWN_FUNCTION) == (fid in ONLY_1_0)
    before = early.rmi(fid)[0]
    if fid in EARLY:
        assert before in (SUCCESS, ERROR_INPUT)
    else:
        assert before == (UNKNOWN_FUNCTION if fid in ONLY_1_0 else ERROR_GLOBAL)


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
    assert value >> 32 == 0b11
    assert rmm().rmi(Rmi.FEATURES, [1]) == (SUCCESS, 0)


def test_configuration_comes_before_activation_and_from_the_hosts_memory() -> None:
    made = rmm()
    assert made.rmi(Rmi2.RMM_CONFIG_SET, [BASE + 8]) == (ERROR_INPUT,)
    assert made.rmi(Rmi2.RMM_CONFIG_SET, [BASE]) == (SUCCESS,)
    assert made.rmi(Rmi2.RMM_ACTIVATE) == (SUCCESS,)
    assert made.rmi(Rmi2.RMM_CONFIG_SET, [BASE]) == (ERROR_INPUT,)
    assert made.rmi(Rmi2.RMM_ACTIVATE) == (ERROR_GLOBAL,)


def test_missing_arguments_are_zero_and_surplus_ones_are_ignored() -> None:
    made = rmm("1.0")
    assert made.rmi(Rmi.FEATURES) == made.rmi(Rmi.FEATURES, [0, 1, 2])
    assert made.rmi(Rmi.GRANULE_DELEGATE, [BASE, 5, 6]) == (SUCCESS,)


@pytest.mark.parametrize("call", [Rsi.VDEV_GET_INFO, Rsi.VDEV_DMA_ENABLE, Rsi.VDEV_DMA_DISABLE,
                                  Rsi.VDEV_VALIDATE_MAPPING])  # fmt: skip
def test_devices_are_known_to_realms_of_2_0_only(call: Rsi) -> None:
    for abi, status in (("1.0", (1 << 64) - 1), ("2.0", ERROR_INPUT)):
        host = Host(abi=abi)  # type: ignore[arg-type]
        host.create()
        host.rec()
        host.ok(Rmi.REALM_ACTIVATE, host.rd)
        host.ok(Rmi.REC_ENTER, host.recs[0], RUN)
        assert host.returns(call, 99) == (status,)
