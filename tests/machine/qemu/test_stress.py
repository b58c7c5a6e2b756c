"""Everything that a guest can do to its devices, in one boot with four vCPUs."""

from __future__ import annotations

import pytest

import needs
from every_device import EVERY_DEVICE
from topbit.machine.qemu.guest.own_system import OwnSystem
from topbit.machine.qemu.scenario_run import ScenarioRun
from topbit.report.report import Report
from topbit.scenario import loads

pytestmark = [pytest.mark.qemu, pytest.mark.slow]

WORK = """
[workload]
readers = 4
network_mib = 1
rebinds = 10
reloads = 2
unplug = true
hotplug = true
attest = true
"""
HOTPLUG = """
cd /sys/devices/system/cpu
for cpu in 1 3 2; do echo 0 >cpu$cpu/online; done; nproc
for cpu in 2 1; do echo 1 >cpu$cpu/online; done; nproc
taskset -c 1 cat /proc/self/stat | cut -d' ' -f39
"""


def test_stress() -> None:
    needs.tool("qemu")
    scenario = loads(WORK + EVERY_DEVICE, "stress")
    own = OwnSystem(command=HOTPLUG)
    with ScenarioRun(scenario, needs.kernel("6.18"), cpus=4, own=own) as prepared:
        needs.busybox()
        outcome = prepared.run(timeout=1200)
    assert outcome.complete
    steps = outcome.guest.steps
    assert {name: step.status for name, step in steps.items() if step.status} == {}
    assert {"reload-virtio-blk", "reload-virtio-net", "reload-virtio-rng"} <= set(steps)
    assert {
        "unplug-0000-01-00-0",
        "replug-0000-04-00-0",
        "again-nvme0",
        "again-virtio0",
        "echo-again",
    } <= set(steps)
    (wrote,) = outcome.recording.of_kind("output")["detail"]
    assert wrote == "1\n3\n1\n"  # PSCI CPU_OFF and CPU_ON

    report = Report.of(outcome.recording)
    assert report.ok
    found = {(entry.step, entry.direction): entry for entry in report.boots[-1].summary.transfers}
    for name in ("nvme0", "disk0", "virtio0"):
        for direction in "rw":
            assert found[f"copy-{name}", direction].right == 1
            assert found[f"again-{name}", direction].right == 1
        assert found[f"parallel-{name}", "w"].size == 4 << 20
    assert found["echo", "r"].size == found["echo-again", "w"].size == 1 << 20
    assert not any(entry.wrong or entry.missing for entry in found.values())
    assert all(entry.rate for entry in found.values())

    notes = outcome.recording.platform.notes
    assert any("attestation token was verified; its RIM is" in note for note in notes)
    assert outcome.recording.platform.devices["0000:02:00.0"].sid == 0x200
    assert "P9" not in {
        each.rule for each in report.boots[-1].checked.not_checked
    }  # and it found nothing
    text = report.render()
    assert "copy-nvme0: 1 MiB to the guest, right, " in text
    assert "MiB/s (rates by the guest's clock)" in text
