"""Which scenarios does topbit bring, and does each differ from the right one as it says?"""

from __future__ import annotations

import dataclasses

import pytest

from topbit.errors import ScenarioError
from topbit.scenario import DeviceSpec, GuestSpec, HostSpec, RealmSpec, Scenario, VmmPolicy
from topbit.scenario.builtin import builtin, builtin_names, matrix
from topbit.vmm.conventions import policy_of
from topbit.vmm.policy import Backing, MapFault, Masking, SmmuMap

NVME = DeviceSpec("nvme0")
EMULATED = DeviceSpec("virtio0", kind="emulated")
TRUSTED = DeviceSpec("accel0", trusted=True, model="virtio-blk")


def differs(name: str) -> dict[str, object]:
    """Which tables, but for the devices', are not as they come?"""
    made, usual = builtin(name), Scenario("usual")
    return {
        field.name: getattr(made, field.name)
        for field in dataclasses.fields(Scenario)
        if field.name not in ("name", "summary", "device")
        and getattr(made, field.name) != getattr(usual, field.name)
    }


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("seed", {}),
        ("guest-before-fix", {"guest": GuestSpec(kernel="6.14.0")}),
        ("vmm-maps-protected", {"vmm": VmmPolicy(SmmuMap.PROTECTED)}),
        ("vmm-maps-both", {"vmm": VmmPolicy(SmmuMap.BOTH)}),
        ("vmm-maps-nothing", {"vmm": VmmPolicy(SmmuMap.NONE)}),
        ("vmm-does-not-mask", {"vmm": VmmPolicy(masking=Masking.KEEP)}),
        ("firmware-plain", {"guest": GuestSpec(kernel="edk2"), "vmm": policy_of("kvmtool")}),
        ("firmware-plain-mapped",
         {"guest": GuestSpec(kernel="edk2"), "vmm": policy_of("qemu-nvidia")}),
        ("trusted-aliased", {}),
        ("trusted-masked", {"guest": GuestSpec(kernel="6.14.0")}),
        ("trusted-private", {"guest": GuestSpec(private_dma_for_trusted=True)}),
        ("stale-mapping",
         {"vmm": VmmPolicy(map_fault=MapFault.UNMAP, fail_closed=False, backing=Backing.IN_PLACE)}),
        ("map-failure-ignored", {"vmm": VmmPolicy(map_fault=MapFault.MAP, fail_closed=False)}),
        ("map-failure", {"vmm": VmmPolicy(map_fault=MapFault.MAP)}),
        ("missing-invalidate", {"vmm": VmmPolicy(invalidate=False, backing=Backing.IN_PLACE)}),
        ("stale-translation", {"vmm": VmmPolicy(invalidate=False)}),
        ("doorbell-unmapped", {"vmm": VmmPolicy(msi_doorbell=False)}),
        ("lying-rmm", {"realm": RealmSpec(told_ipa_bits=40)}),
        ("private-page-destroyed", {"host": HostSpec(destroy_page="private")}),
        ("shared-page-destroyed", {"host": HostSpec(destroy_page="shared")}),
        ("stream-disabled", {"host": HostSpec(disable_stream="nvme0")}),
        ("events-lost", {"vmm": VmmPolicy(SmmuMap.NONE),
                         "host": HostSpec(event_queue=4, reads_events=False)}),
        ("use-after-unmap", {}),
        ("wild-address", {}),
        ("narrow-mask", {}),
        ("narrow-lines", {}),
        ("dma-ranges", {}),
        ("dma-ranges-old-order", {"guest": GuestSpec(canonical_before_lookup=False)}),
        ("wide-ipa", {"realm": RealmSpec(ipa_bits=52), "guest": GuestSpec(kernel="7.3")}),
    ],
)  # fmt: skip
def test_a_scenario_breaks_what_it_says(name: str, changes: dict[str, object]) -> None:
    assert differs(name) == changes


@pytest.mark.parametrize(
    ("name", "devices"),
    [
        ("seed", (NVME, TRUSTED, EMULATED, DeviceSpec("net0", model="virtio-net"))),
        ("guest-before-fix", (NVME, EMULATED)),
        ("trusted-private", (TRUSTED,)),
        ("use-after-unmap", (dataclasses.replace(NVME, behaviour="stale"),)),
        ("wild-address", (dataclasses.replace(NVME, behaviour="wild"),)),
        ("narrow-mask", (dataclasses.replace(NVME, dma_mask_bits=32, address_bits=32),)),
        ("narrow-lines", (dataclasses.replace(NVME, address_bits=32),)),
        ("dma-ranges", (dataclasses.replace(NVME, dma_offset=0x4000_0000),)),
        ("doorbell-unmapped", (DeviceSpec("rng0", model="virtio-rng"),)),
        ("stale-translation", (NVME, DeviceSpec("edu0", model="edu", behaviour="stale"))),
        ("wide-ipa", (EMULATED,)),
    ],
)
def test_a_scenario_has_the_devices_that_show_it(
    name: str, devices: tuple[DeviceSpec, ...]
) -> None:
    assert builtin(name).device == devices


def test_each_has_its_name_and_a_line_for_people_and_seed_comes_first() -> None:
    names = builtin_names()
    assert names[0] == "seed"
    assert len(set(names)) == len(names)
    for name in names:
        assert builtin(name).name == name
        assert builtin(name).summary


def test_an_unknown_name_gets_the_nearest_one() -> None:
    with pytest.raises(ScenarioError, match=r"no built-in scenario 'see'.*did you mean 'seed'"):
        builtin("see")


def test_the_matrix_crosses_two_guests_with_five_vmms() -> None:
    made = matrix()
    heads = [(s.guest.kernel, s.vmm.smmu_map, s.vmm.masking) for s in made]
    policies = [("alias", "mask"), ("protected", "mask"), ("both", "mask"), ("none", "mask"),
                ("alias", "keep")]  # fmt: skip
    assert heads == [(kernel, *policy) for kernel in ("6.14.0", "6.15") for policy in policies]
    assert all(scenario.device == (NVME, TRUSTED, EMULATED) for scenario in made)
    assert made[0].name == "matrix 6.14.0 alias mask"


def test_the_matrix_may_be_of_vmms_by_name() -> None:
    made = matrix(["kvmtool", "plain"])
    assert [(s.guest.kernel, s.vmm.convention) for s in made] == [
        (kernel, name) for kernel in ("6.14.0", "6.15", "edk2") for name in ("kvmtool", "plain")
    ]
    assert made[0].name == "matrix 6.14.0 kvmtool"
    assert made[1].vmm == policy_of("plain")
