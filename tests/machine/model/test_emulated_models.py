"""Which emulated devices may a scenario name, and what does the model do with them?"""

from __future__ import annotations

import pytest

from topbit.errors import ScenarioError, UsageError
from topbit.machine.model.machine import ModelMachine
from topbit.rules import check
from topbit.scenario import builtin, override
from topbit.scenario.scenario import Scenario
from topbit.scenario.tables import EMULATED_MODELS, DeviceSpec
from topbit.scenario.toml import dumps, loads


def test_each_kind_has_its_usual_model() -> None:
    assert DeviceSpec("a").model == "nvme"
    assert DeviceSpec("a", kind="emulated").model == "virtio-blk"


def test_a_usual_model_goes_with_its_kind() -> None:
    seed = builtin("seed")
    devices = {d.name: d for d in override(seed, "device.kind=assigned").device}
    assert devices["virtio0"].model == "nvme"
    changed = override(seed, "net0.kind=emulated")
    assert {d.name: d for d in changed.device}["net0"].model == "virtio-net"


@pytest.mark.parametrize("model", EMULATED_MODELS)
def test_an_emulated_model_is_written_and_read(model: str) -> None:
    scenario = Scenario("mine", device=(DeviceSpec("a", kind="emulated", model=model),))
    assert loads(dumps(scenario), "mine.toml").device == scenario.device


def test_what_the_vmm_does_not_emulate_is_refused() -> None:
    with pytest.raises(ScenarioError, match="does not emulate 'e1000e'"):
        Scenario("mine", device=(DeviceSpec("a", kind="emulated", model="e1000e"),))


def test_the_modelled_guest_says_which_driver_it_lacks() -> None:
    scenario = Scenario("mine", device=(DeviceSpec("a", kind="emulated", model="virtio-net"),))
    with pytest.raises(UsageError, match="no driver for virtio-net"):
        ModelMachine(scenario).run()


def test_a_vmm_that_requires_the_bit_shows_the_guest_before_the_series() -> None:
    good = override(builtin("seed"), "vmm.shared_bit=require")
    assert not [f for f in check(ModelMachine(good).run()).findings if f.severity == "violation"]
    old = override(builtin("guest-before-fix"), "vmm.shared_bit=require")
    recording = ModelMachine(old).run()
    assert "protected" in recording.of_kind("vmm_dma")["status"].to_list()
    found = [
        f for f in check(recording).findings if f.device == "virtio0" and f.severity == "violation"
    ]
    assert found
    assert {f.agent for f in found} == {"guest"}
