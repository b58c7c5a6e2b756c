"""Which half does the kernel use for each page, and what is left of a conversion that failed?"""

import pytest

from guest_cpu import PAGE, RAM, RAM_SIZE, SPACE, GuestCpu, S
from topbit.arch.ipa import IpaSpace
from topbit.arch.rsi import RsiStatus
from topbit.events import Event
from topbit.linux.cpu import SynchronousExternalAbort
from topbit.linux.pageattr import LinearMap, chunks
from topbit.linux.rsi import EINVAL

AT = RAM + 8 * PAGE


class Bench:
    def __init__(self, space: IpaSpace | None = SPACE) -> None:
        self.cpu = GuestCpu()
        self.events: list[Event] = []
        self.map = LinearMap(self.cpu, RAM, RAM_SIZE, space, self.events.append)


def test_a_shared_page_is_reached_at_its_alias_and_its_neighbours_are_not() -> None:
    bench = Bench()
    assert bench.map.set_memory_decrypted(AT, 2) == 0
    halves = [bench.map.ipa(AT + n * PAGE + 5) for n in (-1, 0, 1, 2)]
    assert halves == [AT - PAGE + 5, AT + 5 | S, AT + PAGE + 5 | S, AT + 2 * PAGE + 5]
    bench.map.write(AT + 2 * PAGE - 2, b"both")
    assert bench.cpu.shared[10 * PAGE - 2 : 10 * PAGE] == b"bo"
    assert bench.cpu.private[10 * PAGE : 10 * PAGE + 2] == b"th"
    assert bench.map.read(AT + 2 * PAGE - 2, 4) == b"both"
    assert bench.map.set_memory_encrypted(AT, 1) == 0
    assert [bench.map.ipa(AT), bench.map.ipa(AT + PAGE)] == [AT, AT + PAGE | S]
    assert bench.events == [
        Event(
            "guest", "set_memory", phys=AT, size=2 * PAGE, status="shared",
            detail="set_memory_decrypted",
        ),
        Event(
            "guest", "set_memory", phys=AT, size=PAGE, status="private",
            detail="set_memory_encrypted",
        ),
    ]  # fmt: skip


@pytest.mark.parametrize(("encrypt", "state"), [(False, "shared"), (True, "private")])
def test_a_pte_stays_invalid_after_a_conversion_that_failed(encrypt: bool, state: str) -> None:
    bench = Bench()
    bench.cpu.answers = [(RsiStatus.ERROR_INPUT, AT, 0)]
    change = bench.map.set_memory_encrypted if encrypt else bench.map.set_memory_decrypted
    assert change(AT, 2) == -EINVAL
    for page in (AT, AT + PAGE):
        with pytest.raises(SynchronousExternalAbort) as aborted:
            bench.map.read(page, 1)
        assert aborted.value.ipa == page
    assert bench.map.read(AT - PAGE, 1) == bench.map.read(AT + 2 * PAGE, 1) == b"\0"
    (event,) = bench.events
    assert (event.status, event.attrs, event.size) == ("error", state, 2 * PAGE)


def test_a_later_conversion_makes_the_pte_valid_again() -> None:
    bench = Bench()
    bench.cpu.answers = [(RsiStatus.ERROR_INPUT, AT, 0)]
    bench.map.set_memory_decrypted(AT, 1)
    assert bench.map.set_memory_encrypted(AT, 1) == 0
    assert bench.map.read(AT, 1) == b"\0"


@pytest.mark.parametrize(
    ("phys", "pages", "result"),
    [
        (RAM, 1, 0),
        (RAM, RAM_SIZE // PAGE, 0),
        (RAM + RAM_SIZE - PAGE, 1, 0),
        (RAM, RAM_SIZE // PAGE + 1, -EINVAL),
        (RAM + RAM_SIZE, 1, -EINVAL),
        (RAM - PAGE, 1, -EINVAL),
        (AT, 0, -EINVAL),
        (AT + 1, 1, -EINVAL),
        (AT + PAGE // 2, 1, -EINVAL),
    ],
)
def test_whole_pages_of_ram_can_be_converted(phys: int, pages: int, result: int) -> None:
    bench = Bench()
    assert bench.map.set_memory_decrypted(phys, pages) == result
    assert len(bench.cpu.calls) == len(bench.events) == (result == 0)


def test_outside_a_realm_nothing_is_converted() -> None:
    bench = Bench(None)
    assert bench.map.set_memory_decrypted(AT, 1) == 0
    assert bench.map.set_memory_encrypted(AT + 1, 0) == 0
    assert bench.map.ipa(AT) == AT
    assert bench.cpu.calls == []
    assert bench.events == []


@pytest.mark.parametrize(
    ("address", "size", "pieces"),
    [
        (AT, 0, []),
        (AT, 1, [(AT, 1)]),
        (AT, PAGE, [(AT, PAGE)]),
        (AT + PAGE - 1, 2, [(AT + PAGE - 1, 1), (AT + PAGE, 1)]),
        (AT + 1, 2 * PAGE, [(AT + 1, PAGE - 1), (AT + PAGE, PAGE), (AT + 2 * PAGE, 1)]),
    ],
)
def test_no_piece_of_a_range_crosses_a_page(
    address: int, size: int, pieces: list[tuple[int, int]]
) -> None:
    assert chunks(address, size) == pieces


def test_pieces_may_have_another_step() -> None:
    assert chunks(6, 5, step=4) == [(6, 2), (8, 3)]
