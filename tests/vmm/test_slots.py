"""Which host memory backs a guest page?"""

import pytest

from topbit.host.pages import PAGE
from topbit.vmm.slots import MemorySlot

IPA, PAGES = 0x4000_0000, 4
END = IPA + PAGES * PAGE
SHARED, PRIVATE = 0x8000_0000, 0x9000_0000


@pytest.fixture
def slot() -> MemorySlot:
    return MemorySlot(IPA, PAGES * PAGE, SHARED, PRIVATE)


@pytest.mark.parametrize(
    ("ipa", "size", "inside"),
    [
        (IPA, 1, True),
        (IPA, PAGES * PAGE, True),
        (IPA, PAGES * PAGE + 1, False),
        (IPA - 1, 1, False),
        (IPA - 1, 2, False),
        (END - 1, 1, True),
        (END - 1, 2, False),
        (END, 1, False),
        (0, END + PAGE, False),
    ],
)
def test_a_range_lies_in_a_slot_as_a_whole(
    slot: MemorySlot, ipa: int, size: int, inside: bool
) -> None:
    assert slot.contains(ipa, size) == inside
    if size == 1:
        assert slot.contains(ipa) == inside


def test_each_page_has_its_number_and_two_backings(slot: MemorySlot) -> None:
    assert slot.end == END
    for number in range(PAGES):
        at = IPA + number * PAGE + 5
        assert slot.page(at) == number
        assert slot.to_shared_pa(at) == SHARED + number * PAGE + 5
        assert slot.to_private_pa(at) == PRIVATE + number * PAGE + 5
    assert slot.pages(IPA + PAGE, 2 * PAGE) == slice(1, 3)


def test_a_new_slot_is_private_and_empty(slot: MemorySlot) -> None:
    for flags in (slot.shared, slot.populated, slot.written):
        assert flags.tolist() == [False] * PAGES


def test_backing_that_is_one_may_hold_something() -> None:
    assert MemorySlot(IPA, PAGES * PAGE, SHARED, SHARED).written.tolist() == [True] * PAGES


@pytest.mark.parametrize(
    ("ipa", "size", "shared"),
    [
        (IPA + PAGE, 1, True),
        (IPA + PAGE, 2 * PAGE, True),
        (IPA + 3 * PAGE - 1, 1, True),
        (IPA + 3 * PAGE - 1, 2, False),
        (IPA + PAGE - 1, 1, False),
        (IPA + PAGE - 1, 2, False),
        (IPA, PAGES * PAGE, False),
        (END - 1, 1, False),
    ],
)
def test_a_range_is_shared_if_all_its_pages_are(
    slot: MemorySlot, ipa: int, size: int, shared: bool
) -> None:
    slot.shared[1:3] = True
    assert slot.is_shared(ipa, size) == shared
