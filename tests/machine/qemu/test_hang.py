"""When is there no hope any more, and not a moment before?"""

import pytest

import needs
from topbit.events import Event
from topbit.machine.qemu.hang import REFUSALS, SILENCE, HangWatch
from topbit.machine.qemu.scenario_run import ScenarioRun
from topbit.rules import check
from topbit.scenario import loads

FAULT = Event("smmu", "smmu_event", status="F_TRANSLATION")


def refused(phys: int = 0x4000_0000, to: str = "shared", status: str = "error") -> Event:
    return Event("vmm", "convert", phys=phys, attrs=to, status=status)


@pytest.mark.parametrize(
    ("events", "hung"),
    [
        ([refused()] * REFUSALS, True),
        ([refused()] * (REFUSALS - 1), False),
        ([refused(), Event("rmm", "rmm_exit"), Event("vmm", "iommu_map")] * REFUSALS, True),
        ([refused(), refused(0x5000_0000)] * REFUSALS, False),
        ([refused(), refused(to="private")] * REFUSALS, False),
        ([refused()] * 150 + [refused(status="shared")] + [refused()] * 150, False),
        ([refused(status="shared")] * 2 * REFUSALS, False),
    ],
)
def test_one_conversion_refused_again_and_again(events: list[Event], hung: bool) -> None:
    watch = HangWatch()
    for event in events:
        watch.see(event)
    told = watch.hung(1.0, (), limited=True)
    assert bool(told) == hung
    assert not hung or "200 times in a row to make IPA 0x0000000040000000 shared" in told


@pytest.mark.parametrize(
    ("faults", "limited", "lives", "hung"),
    [
        (2, False, [5, 5, 5], True),
        (0, False, [5, 5, 5], False),  # it thinks
        (2, True, [5, 5, 5], False),  # init is there, and gives each step its limit
        (2, False, [5, 5, 6], False),
        (2, False, [5, 6, 6], False),
    ],
)
def test_no_sign_of_life_after_a_fault(
    faults: int, limited: bool, lives: list[int], hung: bool
) -> None:
    watch = HangWatch()
    for _ in range(faults):
        watch.see(FAULT)
    told = [
        watch.hung(number * (SILENCE * 0.6), (life,), limited=limited)
        for number, life in enumerate(lives)
    ]
    assert told[:-1] == ["", ""]
    assert bool(told[-1]) == hung
    assert not hung or told[-1] == "hung: no sign of life for 30 s after 2 SMMU events"


BUILT_IN = """
[vmm]
smmu_map = "protected"

[[device]]
name = "console0"
model = "qemu:virtio-serial-pci"
"""


@pytest.mark.qemu
def test_a_built_in_driver_that_waits_for_its_device_ends_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """virtio_console, which Debian's kernels have built in, waits for the device's answer in its
    probe (drivers/char/virtio_console.c:__send_control_msg): the boot never gets to init."""
    monkeypatch.setattr("topbit.machine.qemu.hang.SILENCE", 8.0)
    needs.tool("qemu")
    needs.busybox()
    with ScenarioRun(loads(BUILT_IN, "test"), needs.kernel("6.18")) as run:
        outcome = run.run(timeout=300)
    assert outcome.ending.startswith("hung: no sign of life for 8 s after")
    assert not outcome.guest.steps
    checked = check(outcome.recording)
    assert {finding.rule for finding in checked.findings if finding.severity == "violation"} == {
        "F1"
    }
