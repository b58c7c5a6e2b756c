"""The VMM's own disk, network card and random numbers, under a real kernel's drivers."""

from __future__ import annotations

import pytest

import needs
from topbit.machine.qemu.scenario_run import ScenarioRun
from topbit.rules import check
from topbit.scenario.scenario import Scenario
from topbit.scenario.tables import EMULATED_MODELS, DeviceSpec, RealmSpec
from topbit.vmm.policy import Masking, VmmPolicy

pytestmark = pytest.mark.qemu


def test_they_work_and_use_shared_memory_only() -> None:
    """Beyond the bits of QEMU's SMMU, by a VMM that insists on the shared bit."""
    needs.tool("qemu")
    needs.busybox()
    devices = tuple(DeviceSpec(model, kind="emulated", model=model) for model in EMULATED_MODELS)
    scenario = Scenario(
        "emulated", realm=RealmSpec(48), vmm=VmmPolicy(masking=Masking.REQUIRE), device=devices
    )
    with ScenarioRun(scenario, needs.kernel("6.18"), cpus=2) as run:
        outcome = run.run(timeout=600)
    assert outcome.complete
    assert {step.name: step.status for step in outcome.guest.steps.values()} == dict.fromkeys(
        outcome.guest.steps, 0
    )
    recording = outcome.recording
    payload = recording.of_kind("payload")
    assert len(payload) >= 4
    assert set(payload["status"]) == {"ok"}
    dma = recording.of_kind("vmm_dma")
    assert dma["device"].n_unique() == 3
    assert set(dma["status"]) == {"ok"}
    assert not [f for f in check(recording).findings if f.severity == "violation"]
