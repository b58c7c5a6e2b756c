"""When is there no hope any more, and not a moment before?"""

import pytest

from topbit.events import Event
from topbit.machine.qemu.hang import REFUSALS, SILENCE, HangWatch

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
