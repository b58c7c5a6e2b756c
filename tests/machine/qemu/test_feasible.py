"""Which scenarios QEMU refuses, and which kernel one wants."""

import contextlib
import dataclasses
import os

import pytest

from topbit.errors import UsageError
from topbit.machine.qemu.feasible import (
    guest_ram_mib,
    kernel_of,
    more_ram,
    other_conventions,
    refuse_impossible,
    vcpus_in_turns,
)
from topbit.machine.qemu.process.process import Platform
from topbit.scenario import builtin, builtin_names, override


@pytest.mark.parametrize(
    ("name", "setting", "words"),
    [
        ("seed", "realm.ipa_bits=40", "PCIe window"),
        ("seed", "realm.ipa_bits=45", "SMMU takes 44 bits"),
        ("seed", "guest.alias_for_shared=false", "cannot be told its conventions"),
        ("firmware-plain", "realm.ram_mib=64", "no released kernel"),
        ("seed", "guest.kernel=proposed:zero-based-iova", "no released kernel"),
        ("seed", "nvme0.dma_mask_bits=32", "64 address bits"),
        ("seed", "nvme0.model=e1000e", "one network device"),
        ("wild-address", "realm.ipa_bits=44", "45 bits"),
        ("trusted-private", "realm.ram_mib=64", "private addresses"),
        ("stale-mapping", "realm.ram_mib=64", "different memory"),
        ("use-after-unmap", "realm.ram_mib=64", "forget addresses"),
        ("stale-translation", "nvme0.kind=emulated", "a device with a driver"),
        ("stale-translation", "edu0.model=nvme", "only edu does what it is told"),
        ("dma-ranges", "realm.ram_mib=64", "dma-ranges"),
        ("trusted-too-early", "realm.ram_mib=64", "before the kernel starts"),
        ("trusted-unlocked-mapped", "realm.ram_mib=64", "stay shared"),
        ("trusted-changed", "realm.ram_mib=64", "nobody trusts"),
    ],
)
def test_the_reason_is_given(name: str, setting: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        refuse_impossible(override(builtin(name), setting))


def test_one_device_is_watched() -> None:
    scenario = builtin("stale-translation")
    edu = scenario.device[1]
    two = (*scenario.device, dataclasses.replace(edu, name="edu1"))
    with pytest.raises(UsageError, match="one stale device"):
        refuse_impossible(dataclasses.replace(scenario, device=two))


def test_what_is_possible_is_not_refused() -> None:
    possible = []
    for name in builtin_names():
        with contextlib.suppress(UsageError):
            refuse_impossible(builtin(name))
            possible.append(name)
    assert {"seed", "vmm-maps-protected", "wild-address", "wide-ipa"} <= set(possible)
    assert "trusted-without-dma" in possible


def test_a_scenario_about_a_release_wants_that_kernel() -> None:
    assert kernel_of(builtin("seed"), "6.18") == "6.18"
    assert kernel_of(builtin("wide-ipa"), "6.18") == "7.3"


@pytest.mark.parametrize(
    ("name", "release", "words"),
    [
        ("guest-before-fix", "6.14.1", ""),
        ("guest-before-fix", "6.18.15+deb13", "about a kernel before the series (Linux 6.14.0)"),
        ("wide-ipa", "7.3.4", ""),
        ("wide-ipa", "6.14.1", "about a kernel after the series"),
        ("seed", "6.14.1", ""),
    ],
)
def test_a_kernel_of_another_release_is_a_note(name: str, release: str, words: str) -> None:
    note = other_conventions(builtin(name), release)
    assert words in note
    assert bool(note) == bool(words)


@pytest.mark.parametrize(
    ("transfers", "ram", "possible"),
    [(256, 100, True), (257, 100, False), (257, 1028, True), (1024, 4096, True)],
)
def test_what_a_guest_reads_from_a_disk_fits_its_memory(
    transfers: int, ram: int, possible: bool
) -> None:
    scenario = override(builtin("seed"), "workload.size=1048576")
    scenario = override(scenario, f"workload.transfers={transfers}")
    scenario = override(scenario, f"realm.ram_mib={ram}")
    refused = pytest.raises(UsageError, match="do not fit the guest's memory")
    with contextlib.nullcontext() if possible else refused:
        refuse_impossible(scenario)


@pytest.mark.parametrize(
    ("cores", "cpus", "turns"), [(1, 4, False), (1, 5, True), (2, 8, False), (2, 9, True)]
)
def test_many_vcpus_on_few_cores_run_in_turns(
    cores: int, cpus: int, turns: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)))
    words = Platform(1 << 30, 0, "max", cpus).arguments()
    assert ("tcg,thread=single" in words) is turns
    assert vcpus_in_turns(cpus).startswith(f"QEMU runs the {cpus} vCPUs in turns" * turns)
    assert bool(vcpus_in_turns(cpus)) is turns


@pytest.mark.parametrize(
    ("setting", "ram", "note"),
    [
        ("realm.ram_mib=32", 1024, ""),  # the model's, as usual
        ("realm.ram_mib=100", 1024, "realm.ram_mib=100 is too little here: the guest has 1024"),
        ("realm.ram_mib=1024", 1024, ""),
        ("realm.ram_mib=16384", 16384, ""),
    ],
)
def test_a_guest_with_more_ram_than_asked_for_is_a_note(setting: str, ram: int, note: str) -> None:
    scenario = override(builtin("seed"), setting)
    assert guest_ram_mib(scenario) == ram
    assert more_ram(scenario).startswith(note)
    assert bool(more_ram(scenario)) == bool(note)
