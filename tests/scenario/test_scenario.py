"""Which scenarios are taken, and which contradict themselves?"""

from __future__ import annotations

import dataclasses

import pytest

from topbit.errors import ScenarioError, UsageError
from topbit.scenario import (
    DeviceSpec,
    GuestSpec,
    HostSpec,
    RealmSpec,
    Scenario,
    WorkloadSpec,
)

DISK = DeviceSpec("disk")


def taken(**parts: object) -> bool:
    """Is a scenario with these tables taken?"""
    parts = {"device": (DISK,), **parts}
    try:
        Scenario("test", **parts)  # type: ignore[arg-type]
    except UsageError:
        return False
    return True


def refused(where: str, **parts: object) -> str:
    with pytest.raises(UsageError) as error:
        Scenario("test", **{"device": (DISK,), **parts})  # type: ignore[arg-type]
    assert error.value.where == where
    return str(error.value)


def test_a_scenario_is_right_as_it_comes() -> None:
    assert taken(device=())
    assert taken()


@pytest.mark.parametrize(
    ("realm", "good"),
    [
        (RealmSpec(ipa_bits=31), False),
        (RealmSpec(ipa_bits=32), True),
        (RealmSpec(ipa_bits=52), True),
        (RealmSpec(ipa_bits=53), False),
        (RealmSpec(told_ipa_bits=31), False),
        (RealmSpec(told_ipa_bits=32), True),
        (RealmSpec(told_ipa_bits=53), False),
        (RealmSpec(ram_mib=5), False),  # no room for the pool
        (RealmSpec(ram_mib=6), True),
        (RealmSpec(ram_mib=65536), True),
        (RealmSpec(ram_mib=65537), False),
        (RealmSpec(ipa_bits=32, ram_mib=1024), True),
        (RealmSpec(ipa_bits=32, ram_mib=1025), False),
        (RealmSpec(ipa_bits=33, ram_mib=3072), True),
        (RealmSpec(ipa_bits=33, ram_mib=3073), False),
    ],
)
def test_width_and_ram(realm: RealmSpec, good: bool) -> None:
    assert taken(realm=realm) == good


@pytest.mark.parametrize(
    ("mib", "good"), [(-1, False), (0, True), (1, True), (2, True), (3, False)]
)
def test_the_pool_leaves_the_kernel_some_memory(mib: int, good: bool) -> None:
    assert taken(realm=RealmSpec(ram_mib=4), guest=GuestSpec(swiotlb_mib=mib)) == good


def test_ram_has_a_least_size() -> None:
    assert "4 to 65536" in refused(
        "realm.ram_mib", realm=RealmSpec(ram_mib=3), guest=GuestSpec(swiotlb_mib=1)
    )


@pytest.mark.parametrize(
    ("size", "good"),
    [
        (0, False),
        (511, False),
        (512, True),
        (513, False),
        (1 << 20, True),
        ((1 << 20) + 512, False),
    ],
)
def test_transfers_are_whole_sectors(size: int, good: bool) -> None:
    assert taken(workload=WorkloadSpec(size=size)) == good


@pytest.mark.parametrize(
    ("name", "most"),
    [("transfers", 10000), ("rebinds", 1000), ("readers", 64), ("network_mib", 256),
     ("reloads", 100)],
)  # fmt: skip
def test_work_has_an_end(name: str, most: int) -> None:
    for value, good in ((-1, False), (0, True), (most, True), (most + 1, False)):
        assert taken(workload=WorkloadSpec(**{name: value})) == good
    message = refused(f"workload.{name}", workload=WorkloadSpec(**{name: most + 1}))
    assert f"give 0 to {most}" in message


@pytest.mark.parametrize(
    ("entries", "good"),
    [(0, False), (1, True), (2, True), (3, False), (512, True), (1024, True), (2048, False)],
)
def test_an_event_queue_is_a_power_of_two(entries: int, good: bool) -> None:
    assert taken(host=HostSpec(event_queue=entries)) == good


@pytest.mark.parametrize(
    ("victim", "devices", "says"),
    [
        ("disk", (DISK,), ""),
        ("disc", (DISK,), "did you mean 'disk'"),
        ("disk", (dataclasses.replace(DISK, kind="emulated", model="virtio-blk"),), "give the"),
    ],
)
def test_only_an_assigned_devices_stream_can_be_disabled(
    victim: str, devices: tuple[DeviceSpec, ...], says: str
) -> None:
    parts = {"host": HostSpec(disable_stream=victim), "device": devices}
    if says:
        assert says in refused("host.disable_stream", **parts)
    else:
        assert taken(**parts)


@pytest.mark.parametrize(
    ("key", "parts"),
    [
        ("host.destroy_page", {"host": HostSpec(destroy_page="up")}),
        ("device.kind", {"device": (DISK, DeviceSpec("b", kind="up"))}),
        ("device.behaviour", {"device": (DeviceSpec("b", behaviour="up"),)}),
        ("device.model", {"device": (DeviceSpec("b", model="up"),)}),
    ],
)
def test_a_choice_is_one_of_those_there_are(key: str, parts: dict[str, object]) -> None:
    assert refused(key, **parts).startswith(f"{key}: 'up' is not one of ")


def test_the_kernel_is_a_release() -> None:
    assert not taken(guest=GuestSpec(kernel="newest"))


@pytest.mark.parametrize(
    ("device", "good"),
    [
        (DeviceSpec("a-b_C9"), True),
        (DeviceSpec("a.b"), False),
        (DeviceSpec("workload"), False),
        (DeviceSpec("name"), False),
        (DeviceSpec("a", dma_mask_bits=19), False),
        (DeviceSpec("a", dma_mask_bits=20), True),
        (DeviceSpec("a", dma_mask_bits=65), False),
        (DeviceSpec("a", address_bits=19), False),
        (DeviceSpec("a", address_bits=20), True),
        (DeviceSpec("a", address_bits=65), False),
        (DeviceSpec("a", dma_offset=0x1000), True),
        (DeviceSpec("a", dma_offset=0x4000_0000), True),
        (DeviceSpec("a", dma_offset=0x4000_1000), False),
        (DeviceSpec("a", dma_offset=0x800), False),
        (DeviceSpec("a", dma_offset=-0x1000), False),
        (DeviceSpec("a", trusted=True, dma_offset=0x1000, behaviour="stale", model="edu"), True),
        (DeviceSpec("a", kind="emulated"), True),
        (DeviceSpec("a", kind="emulated", model="virtio-rng"), True),
        (DeviceSpec("a", kind="emulated", model="nvme"), False),
        (DeviceSpec("a", kind="emulated", trusted=True), False),
        (DeviceSpec("a", kind="emulated", dma_offset=0x1000), False),
        (DeviceSpec("a", kind="emulated", behaviour="wild"), False),
    ],
)
def test_which_devices_can_be(device: DeviceSpec, good: bool) -> None:
    assert taken(device=(device,)) == good


def test_devices_are_31_at_most_and_have_names_of_their_own() -> None:
    many = tuple(DeviceSpec(f"d{number}") for number in range(32))
    assert taken(device=many[:31])
    assert "give at most 31" in refused("device", device=many)
    assert "same name" in refused("device.name", device=(DISK, DISK))


def test_a_contradiction_is_a_scenario_error_with_a_mend() -> None:
    with pytest.raises(ScenarioError) as error:
        Scenario("test", realm=RealmSpec(ram_mib=70000))
    assert error.value.hint == "give 4 to 65536"


@pytest.mark.parametrize(
    ("model", "good"), [("nvme", True), ("qemu:igb,mac=1", True), ("igb", False), ("nvme:x", False)]
)
def test_any_device_of_qemus_is_a_model(model: str, good: bool) -> None:
    assert taken(device=(DeviceSpec("mine", model=model),)) == good
