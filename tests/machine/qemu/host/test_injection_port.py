"""The page by which the guest's workload tells the host that it is time."""

from topbit.events import Event
from topbit.machine.qemu.host.injection_port import LOOK, STRIKE, WATCH, Knock
from topbit.memory import PhysicalMemory
from topbit.vmm.slots import PAGE, MemorySlot

BASE = 0x4000_0000
BIT = 1 << 40
PAGE_3 = BASE + 3 * PAGE


class Guest:
    def __init__(self) -> None:
        self.memory = PhysicalMemory(BASE, 32 * PAGE)
        self.slot = MemorySlot(BASE, 16 * PAGE, shared_pa=BASE, private_pa=BASE + 16 * PAGE)
        self.struck = 0
        self.events: list[Event] = []
        self.knock = Knock(
            self._strike, self.memory, self.slot, BIT, ("edu", 0x10), self.events.append
        )

    def _strike(self) -> None:
        self.struck += 1


def test_the_host_strikes_once() -> None:
    guest = Guest()
    assert guest.knock.read_register(LOOK) == 0
    assert guest.struck == 0
    for _ in range(3):
        guest.knock.read_register(STRIKE)
    assert guest.struck == 1


def test_a_write_to_a_page_that_was_taken_away_is_an_access() -> None:
    guest = Guest()
    guest.memory.write(PAGE_3, b"what the device left there before")
    guest.knock.write_register(WATCH, PAGE_3 | BIT)
    assert guest.knock.read_register(LOOK) == 0
    guest.knock.write_register(WATCH, PAGE_3 | BIT)
    guest.memory.write(PAGE_3, b"stale")
    assert guest.knock.read_register(LOOK) == 1
    (event,) = guest.events
    assert (event.event, event.device, event.sid) == ("access", "edu", 0x10)
    assert (event.address, event.pa, event.status) == (PAGE_3 | BIT, PAGE_3, "ok")


def test_what_the_guest_still_shares_is_left_alone() -> None:
    guest = Guest()
    guest.slot.shared[3] = True
    guest.memory.write(PAGE_3, b"the ring")
    guest.knock.write_register(WATCH, PAGE_3 | BIT)
    assert guest.memory.read(PAGE_3, 8) == b"the ring"
    assert guest.knock.read_register(LOOK) == 0


def test_a_page_that_is_shared_again_meanwhile_proves_nothing() -> None:
    guest = Guest()
    guest.knock.write_register(WATCH, PAGE_3 | BIT)
    guest.slot.shared[3] = True
    guest.memory.write(PAGE_3, b"by right")
    assert guest.knock.read_register(LOOK) == 0
    assert guest.events == []


def test_any_value_is_taken() -> None:
    guest = Guest()
    for value in (0, (1 << 64) - 1, BASE - 1, BASE + 16 * PAGE - 1, PAGE_3 + PAGE - 8, BIT):
        guest.knock.write_register(WATCH, value)
        guest.knock.write_register(STRIKE, value)
        assert guest.knock.read_register(LOOK) == 0
