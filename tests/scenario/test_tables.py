"""What do the tables of a scenario say of themselves?"""

from __future__ import annotations

import pytest

from topbit.scenario.tables import DeviceSpec, GuestSpec, HostSpec, fields_of, values
from topbit.vmm.policy import Masking, VmmPolicy


@pytest.mark.parametrize(
    ("kind", "model"), [("assigned", "nvme"), ("emulated", "virtio-blk"), ("unknown", "")]
)
def test_a_device_is_of_the_usual_model_of_its_kind(kind: str, model: str) -> None:
    assert DeviceSpec("a", kind=kind).model == model
    assert DeviceSpec("a", kind=kind, model="edu").model == "edu"


def test_a_guest_may_keep_one_convention_of_another_release() -> None:
    released = GuestSpec(kernel="6.14.0").policy()
    assert (released.alias_for_shared, released.canonical_before_lookup) == (False, False)
    changed = GuestSpec(kernel="6.14.0", canonical_before_lookup=True).policy()
    assert (changed.alias_for_shared, changed.canonical_before_lookup) == (False, True)
    changed = GuestSpec(kernel="6.15", alias_for_shared=False).policy()
    assert (changed.alias_for_shared, changed.canonical_before_lookup) == (False, True)


@pytest.mark.parametrize(
    ("host", "injects"),
    [
        (HostSpec(), False),
        (HostSpec(destroy_page="private"), True),
        (HostSpec(disable_stream="disk"), True),
        (HostSpec(event_queue=4, reads_events=False), False),
    ],
)
def test_a_host_acts_in_the_middle_of_the_work_or_not(host: HostSpec, injects: bool) -> None:
    assert host.injects is injects


def test_a_key_is_the_fields_name_or_the_one_that_it_names() -> None:
    assert fields_of(VmmPolicy)["shared_bit"].name == "masking"
    assert "masking" not in fields_of(VmmPolicy)
    assert values(VmmPolicy(masking=Masking.KEEP))["shared_bit"] is Masking.KEEP
    assert values(HostSpec(event_queue=4))["event_queue"] == 4
