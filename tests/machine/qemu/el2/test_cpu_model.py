"""Which of QEMU's CPU models can be a Realm's, by their own ID registers?"""

from __future__ import annotations

import pytest

import payload_guest
from topbit.errors import UsageError
from topbit.machine.qemu.el2.cpu_model import CpuFeatures, words

# ID_AA64MMFR0, MMFR1, MMFR2, PFR0, PFR1 (_EL1), as QEMU 10.0.2's models show them at EL2.
N2 = [0x222_0010_1125, 0x1021_2122, 0x1221_0111_1210_1011, 0x1201_0010_2111_0112, 0x121]
N1 = [0x10_1125, 0x1021_2122, 0x1011, 0x1100_0000_1111_0112, 0x20]
A710 = [0x222_0010_1122, 0x1021_2122, 0x1221_0111_1010_1011, 0x1201_0011_2111_0112, 0x121]
MAX = [
    *(0x2100_0323_1020_1126, 0x110_1120_1031_2122, 0x1221_0111_1201_1011),
    *(0x1301_0010_2111_0222, 0x10_0000_0121),
]


def features(registers: list[int], **more: int) -> CpuFeatures:
    names = [name.removeprefix("ID_AA64").removesuffix("_EL1") for name in CpuFeatures.ID_REGISTERS]
    values = dict(zip(names, registers, strict=True))
    return CpuFeatures.read(
        list({**values, **{k: values[k] | v for k, v in more.items()}}.values())
    )


def test_the_id_registers_are_read_as_ddi0487_has_them() -> None:
    assert features(N2) == CpuFeatures(48, False, True, False, False, False, False)
    assert features(N1) == CpuFeatures(48, False, False, False, False, False, False)
    assert features(A710) == CpuFeatures(40, False, True, False, False, True, False)
    assert features(MAX) == CpuFeatures(52, True, True, True, True, False, False)
    assert features(N2, PFR0=1 << 32, PFR1=1 << 24) == CpuFeatures(
        48, False, True, False, False, True, True
    )


@pytest.mark.parametrize("registers", [N2, MAX])
def test_a_cpu_that_has_what_a_realm_needs(registers: list[int]) -> None:
    features(registers).require(48)
    features(MAX).require(52)


@pytest.mark.parametrize(
    ("cpu", "ipa_bits", "said"),
    [
        (features(N1), 41, "no FEAT_S2FWB.*give one of neoverse-n2"),
        (features(A710), 41, "no room for 41 IPA bits: its addresses have 40.*neoverse-n2"),
        (features(N2), 49, "no room for 49 IPA bits.*no FEAT_LPA2.*give max"),
        (features(N2, PFR0=1 << 32), 41, "SVE.*,sve=off"),
        (features(N2, PFR1=1 << 24), 41, "SME.*,sme=off"),
    ],
)
def test_a_cpu_that_lacks_it_or_has_too_much(cpu: CpuFeatures, ipa_bits: int, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        cpu.require(ipa_bits)


def test_which_model_runs_unless_the_user_names_one() -> None:
    assert words("", 41).startswith("neoverse-n2,")
    assert words("", 48).startswith("neoverse-n2,")
    assert words("", 49).startswith("max,")
    assert words("max", 41) == words("", 52)
    assert words("cortex-a76,pmu=off", 41) == "cortex-a76,pmu=off"


@pytest.mark.qemu
@pytest.mark.parametrize(("cpu", "said"), [("neoverse-n1", "FEAT_S2FWB"), ("max,sme=off", "SVE")])
def test_qemus_own_models_are_refused_before_the_guest_runs(cpu: str, said: str) -> None:
    with (
        payload_guest.machine(rounds=1, cpu=cpu) as made,
        pytest.raises(UsageError, match=said),
    ):
        made.run(timeout=30)
    assert not made.process.running
    assert not made.console.output


@pytest.mark.qemu
def test_a_model_without_el2_in_64_bits_is_told_when_the_time_is_over() -> None:
    with payload_guest.machine(rounds=1, cpu="cortex-a15") as made:
        run = made.run(timeout=3)
    assert run.ending.startswith("died: no vCPU came to the EL2 program: --cpu needs a 64-bit")


@pytest.mark.qemu
def test_the_largest_model_runs_the_guest_too() -> None:
    with payload_guest.machine(rounds=100, cpu="max") as made:
        run = made.run(timeout=60)
    assert run.ending == "power off"
    assert payload_guest.verdict(run).leaks == 0
