"""The page by which the guest's workload tells the host that it is time."""

from topbit.arch.ipa import IpaSpace
from topbit.events import Event
from topbit.host.pages import PAGE
from topbit.machine.qemu.host.injection_port import INJECT, LOOK, WATCH, InjectionPort
from topbit.memory import PhysicalMemory
from topbit.vmm.slots import MemorySlot

BASE = 0x4000_0000
BIT = 1 << 40
PAGE_3 = BASE + 3 * PAGE


class Guest:
    def __init__(self) -> None:
        self.memory = PhysicalMemory(BASE, 32 * PAGE)
        self.slot = MemorySlot(BASE, 16 * PAGE, shared_pa=BASE, private_pa=BASE + 16 * PAGE)
        self.struck = 0
        self.events: list[Event] = []
        self.port = InjectionPort(
            self._inject, self.memory, self.slot, IpaSpace(41), ("edu", 0x10), self.events.append
        )

    def _inject(self) -> None:
        self.struck += 1


def test_the_host_strikes_once() -> None:
    guest = Guest()
    assert guest.port.read_register(LOOK) == 0
    assert guest.struck == 0
    for _ in range(3):
        guest.port.read_register(INJECT)
    assert guest.struck == 1


def test_a_write_to_a_page_that_was_taken_away_is_an_access() -> None:
    guest = Guest()
    guest.memory.write(PAGE_3, b"what the device left there before")
    guest.port.write_register(WATCH, PAGE_3 | BIT)
    assert guest.port.read_register(LOOK) == 0
    guest.port.write_register(WATCH, PAGE_3 | BIT)
    guest.memory.write(PAGE_3, b"stale")
    assert guest.port.read_register(LOOK) == 1
    (event,) = guest.events
    assert (event.event, event.device, event.sid) == ("access", "edu", 0x10)
    assert (event.address, event.pa, event.status) == (PAGE_3 | BIT, PAGE_3, "ok")


def test_what_the_guest_still_shares_is_left_alone() -> None:
    guest = Guest()
    guest.slot.shared[3] = True
    guest.memory.write(PAGE_3, b"the ring")
    guest.port.write_register(WATCH, PAGE_3 | BIT)
    assert guest.memory.read(PAGE_3, 8) == b"the ring"
    assert guest.port.read_register(LOOK) == 0


def test_a_page_that_is_shared_again_meanwhile_proves_nothing() -> None:
    guest = Guest()
    guest.port.write_register(WATCH, PAGE_3 | BIT)
    guest.slot.shared[3] = True
    guest.memory.write(PAGE_3, b"by right")
    assert guest.port.read_register(LOOK) == 0
    assert guest.events == []


def test_any_value_is_taken() -> None:
    guest = Guest()
    for value in (0, (1 << 64) - 1, BASE - 1, BASE + 16 * PAGE - 1, PAGE_3 + PAGE - 8, BIT):
        guest.port.write_register(WATCH, value)
        guest.port.write_register(INJECT, value)
        assert guest.port.read_register(LOOK) == 0
