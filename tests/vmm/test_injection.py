"""A host that takes memory and devices away from its guest, and what it says of it."""

from realm_bench import PAGE, PRIVATE_PA, RAM, RAM_SIZE, SID, RealmBench, S
from topbit.arch.rmi import ExitReason
from topbit.events import Event
from topbit.rmm import Exit, State, Translated
from topbit.vmm.injection import HostInjection

AT = RAM + 3 * PAGE


class Bench(RealmBench):
    def __init__(self) -> None:
        super().__init__()
        self.said: list[Event] = []
        self.injection = HostInjection(self.vmm, self.said.append)

    def off(self) -> None:
        self.rmm.interrupt(self.rec)

    def on(self) -> None:
        self.vmm.enter(self.rec)


def test_a_destroyed_private_page_has_no_answer() -> None:
    bench = Bench()
    bench.touch(AT)
    bench.touch(AT + PAGE)
    bench.off()
    bench.injection.destroy_private(AT)
    assert bench.said == [
        Event(
            "host", "state", phys=AT, status="injected", detail="the host destroyed a private page"
        )
    ]
    assert bench.vmm.lost == {AT}
    assert bench.slot.populated.nonzero()[0].tolist() == [4]
    assert bench.rmm.granules.get(PRIVATE_PA + 3 * PAGE) == State.NS
    bench.on()
    assert isinstance(bench.reaches(AT + PAGE), Translated)
    missed = bench.reaches(AT)
    assert isinstance(missed, Exit)
    assert missed.reason == ExitReason.SYNC


def test_a_page_that_is_not_there_cannot_be_destroyed() -> None:
    bench = Bench()
    bench.off()
    bench.injection.destroy_private(AT)
    (said,) = bench.said
    assert (said.status, said.phys) == ("error", AT)
    assert (said.detail or "").startswith("the host could not destroy a private page: RMI_")
    assert bench.vmm.lost == set()


def test_an_unmapped_shared_page_leaves_the_realm_without_it() -> None:
    bench = Bench()
    assert bench.share(AT, 2 * PAGE)
    bench.off()
    bench.injection.destroy_shared(AT)
    assert bench.said == [
        Event("host", "state", phys=AT, status="injected", detail="the host unmapped a shared page")
    ]
    bench.on()
    assert isinstance(bench.reaches(AT + PAGE | S), Translated)
    assert isinstance(bench.reaches(AT | S), Exit)


def test_only_a_shared_page_of_a_slot_can_be_unmapped() -> None:
    bench = Bench()
    assert bench.share(AT)
    bench.off()
    for ipa in (AT + PAGE, AT - PAGE, RAM - PAGE, RAM + RAM_SIZE):
        bench.injection.destroy_shared(ipa)
    said = [(event.phys, event.status, event.detail) for event in bench.said]
    why = "the host found no shared page to unmap"
    assert said == [
        (ipa, "error", why) for ipa in (AT + PAGE, AT - PAGE, RAM - PAGE, RAM + RAM_SIZE)
    ]
    bench.on()
    assert isinstance(bench.reaches(AT | S), Translated)


def test_a_stream_is_taken_by_whoever_can() -> None:
    bench = Bench()
    done: list[str] = []
    bench.injection.disable_stream("nvme0", SID, lambda: done.append("off"))
    assert done == ["off"]
    assert bench.said == [
        Event(
            "host", "state", "nvme0", SID, status="injected",
            detail="the host made the stream of the device invalid",
        )
    ]  # fmt: skip
