"""The Realm has little of its RAM when it starts, and gets the rest while it runs. No QEMU."""

from __future__ import annotations

from topbit.events import Event
from topbit.host.pages import PAGE
from topbit.machine.qemu.host.host import PAGES_AT_ONCE, QemuHost
from topbit.machine.qemu.host.shape import GuestImage, RealmShape, layout_of
from topbit.machine.qemu.process.process import RAM_BASE
from topbit.memory import PhysicalMemory
from topbit.store.image import Image

RAM = 128 << 20


def host(events: list[Event]) -> QemuHost:
    shape = RealmShape(ipa_bits=41, ram=RAM)
    layout = layout_of(shape)
    kernel = Image(bytes(4096), 0, 1 << 16, 4096, "", True)
    memory = PhysicalMemory(RAM_BASE, layout.ram)
    made = QemuHost(shape, layout, memory, GuestImage(kernel, bytes(5000), ""), events.append)
    made.furnish()
    return made


def given(events: list[Event]) -> list[tuple[int, int]]:
    """Which private pages does the Realm get, by index: first and behind the last?"""
    found = []
    for event in events:
        if event.event == "rtt_map" and event.attrs == "protected":
            assert event.phys is not None
            assert event.size is not None
            first = (event.phys - RAM_BASE) // PAGE
            found.append((first, first + event.size // PAGE))
    events.clear()
    return found


def test_the_rest_is_given_from_the_top_down_and_every_page_once() -> None:
    events: list[Event] = []
    made = host(events)
    first, last = made._first, RAM // PAGE
    assert first * PAGE <= 8 << 20, "behind kernel, device tree and initramfs"
    assert not made.slot.populated[first:].any()
    assert max(end for _, end in given(events)) <= first
    steps = made.populating()
    next(steps)
    pages = given(events)
    assert (min(pages)[0], max(pages)[1]) == (last - PAGES_AT_ONCE, last)
    for _ in steps:
        pages += given(events)
    assert sorted(n for start, end in pages for n in range(start, end)) == list(range(first, last))
    assert made.slot.populated[first:].all()


def test_what_the_guest_took_or_shared_before_is_left_alone() -> None:
    events: list[Event] = []
    made = host(events)
    touched, shared = made.slot.ipa + RAM - PAGE, made.slot.ipa + RAM - 3 * PAGE
    made.vmm._populate(made.slot, touched)
    made.slot.shared[made.slot.page(shared)] = True
    events.clear()
    list(made.populating())
    given_now = {n for start, end in given(events) for n in range(start, end)}
    assert given_now.isdisjoint((made.slot.page(touched), made.slot.page(shared)))
    assert len(given_now) == RAM // PAGE - made._first - 2
    assert not made.slot.populated[made.slot.page(shared)]
