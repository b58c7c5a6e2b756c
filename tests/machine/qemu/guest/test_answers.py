"""What a guest's records say came of the questions."""

from __future__ import annotations

from topbit.events import Event
from topbit.linux.dma_attrs import DmaAttr
from topbit.machine.qemu.guest.answers import Answer, answers, began
from topbit.machine.qemu.guest.ask_module import Op
from topbit.machine.qemu.guest.asking import Ask
from topbit.recording import Platform, Recording

NAMES = {"edu0": "0000:00:01.0", "edu1": "0000:00:02.0", "serial8250": "serial8250"}
BUFFER = Ask("edu0", Op.MAP_PAGE, moved_by="edu0")
WHOLE = (1 << 64) - 1


def found(ask: Ask, said: str, *events: Event) -> Answer | None:
    output = Event("guest", "output", detail=said, time=9.0)
    recording = Recording.of_events(Platform(), [*events, output])
    return answers(recording, [ask], NAMES).get(1)


def mapped(address: int = 0x100_7800_0000, **fields: object) -> Event:
    event = Event("guest", "dma_map", device="0000:00:01.0", size=528, time=1.0)
    event.address, event.phys = address, 0x4500_0000
    for name, value in fields.items():
        setattr(event, name, value)
    return event


FAILED = (
    "[    0.800000] topbit-ask: 1 asks\n"
    "[    1.000001] topbit-ask: 1 mask -5 linear 0 phys 45000000 addr ffffffffffffffff\n"
)
SAID = "[    1.000001] topbit-ask: 1 mask 0 linear 1 phys 45000000 addr 10078000000\n"


def test_a_mapping() -> None:
    back = "[    1.2] topbit-ask: 1 back 1\n"
    assert found(BUFFER, SAID + back, mapped()) == Answer(
        0, True, 0x4500_0000, ((0x4500_0000, 0x100_7800_0000),), False, "", True
    )
    bounced = Event("guest", "swiotlb_bounced", device="0000:00:01.0", size=528, time=0.9)
    answer = found(BUFFER, SAID, bounced, mapped())
    assert answer is not None
    assert (answer.bounced, answer.back) == (True, None)


def test_what_nobody_was_told_to_copy_was_not_copied() -> None:
    answer = found(Ask("edu0", Op.MAP_PAGE), f"{SAID}topbit-ask: 1 back 0\n", mapped())
    assert answer is not None
    assert answer.back is None


def test_an_error_and_what_is_printed() -> None:
    failed = mapped(WHOLE, status="error")
    for text, short in (
        ("swiotlb addr 0x1+528 overflow (mask ffffffff, bus limit 0).", "swiotlb overflow"),
        ("DMA addr 0x1+528 overflow (mask ffffffff, bus limit 0).", "DMA addr overflow"),
        ("swiotlb buffer is full (sz: 528 bytes)", "swiotlb full"),
        ("DMA pool exhausted for 0000:00:01.0", "DMA pool exhausted"),
        ("Failed to get suitable pool for 0000:00:01.0", "no suitable pool"),
        ("something else", ""),
    ):
        for time, told in ((0.9, short), (0.8, short), (1.000001, short), (0.7, ""), (1.1, "")):
            line = Event("guest", "trouble", device="0000:00:01.0", detail=text, time=time)
            answer = found(BUFFER, FAILED, line, failed)
            assert answer == Answer(-5, False, 0x4500_0000, (), False, told, None)
    line.device = "0000:00:02.0"
    line.time, line.detail = 0.9, "DMA pool exhausted for 0000:00:02.0"
    answer = found(BUFFER, FAILED, line, failed)
    assert answer is not None
    assert answer.said == ""


def test_coherent_memory_is_where_the_module_says() -> None:
    event = Event("guest", "dma_alloc", device="0000:00:01.0", size=528, address=0x100, time=1.0)
    answer = found(Ask("edu0", Op.ALLOC, attrs=DmaAttr(0)), SAID, event)
    assert answer is not None
    assert answer.mapped == ((0x4500_0000, 0x100),)


def test_what_is_not_in_the_trace_is_no_answer() -> None:
    assert found(BUFFER, SAID) is None
    assert found(BUFFER, SAID, mapped(size=544)) is None
    assert found(BUFFER, SAID, mapped(device="0000:00:02.0")) is None
    assert found(Ask("edu0", Op.ALLOC), SAID, mapped()) is None


def test_what_the_module_did_not_say_is_no_answer() -> None:
    assert found(BUFFER, SAID.replace("1 mask", "2 mask"), mapped()) is None
    assert found(BUFFER, "", mapped()) is None


def test_whom_the_kernel_killed() -> None:
    answer = found(Ask("serial8250", Op.ALLOC), "Segmentation fault\ntopbit-ask: 1 died\n")
    assert answer == Answer(0, False, 0, (), False, "kernel oops", None)


def test_of_a_list_that_could_not_be_mapped_the_module_alone_tells() -> None:
    table = Ask("edu0", Op.MAP_SG)
    failed = FAILED
    answer = found(table, failed)
    assert answer is not None
    assert answer.mapped == ()
    assert found(table, SAID) is None
    assert found(BUFFER, failed) is None


def test_when_the_first_question_was_asked() -> None:
    lines = "[   12.500000] topbit-ask: 17 asks\n[    9.250000] topbit-ask: 1 asks\n"
    output = Event("guest", "output", detail=lines, time=20.0)
    assert began(Recording.of_events(Platform(), [output])) == 9.25
    assert began(Recording.of_events(Platform(), [])) is None
