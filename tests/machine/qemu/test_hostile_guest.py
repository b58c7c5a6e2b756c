"""Does a hostile guest reach anything that is not its own, or bring topbit down?"""

from __future__ import annotations

from collections import Counter

import pytest

import payload_guest
from topbit.machine.qemu.process.pci import PciDevice

pytestmark = pytest.mark.qemu


def test_random_calls_accesses_and_instructions_get_defined_answers() -> None:
    with payload_guest.machine(rounds=100_000, seed=0xC0FFEE, pci=(PciDevice("edu", 1),)) as made:
        run = made.run(timeout=600)
    assert run.ending == "power off"
    verdict = payload_guest.verdict(run)
    assert verdict.rounds == 100_000
    assert verdict.undefined > 10_000  # HVC, HLT and EL2 registers, one of 16 rounds each
    assert run.traps > 50_000
    seen = Counter(event.event for event in run.events)
    assert seen["convert"] > 50


def test_nothing_outside_its_ram_can_be_reached() -> None:
    """Private RAM's own addresses, the EL2 program, tables and queues, in both halves."""
    with payload_guest.machine(rounds=0, probe=None) as made:
        layout = made.host.layout
        program = made.memory.read(layout.program, 4096)
        run = made.run(timeout=600)
        assert made.memory.read(layout.program, 4096) == program
    assert run.ending == "power off"
    verdict = payload_guest.verdict(run)
    assert verdict.leaks == 0
    assert verdict.aborts == 2 * (layout.end - layout.private) // 4096


def test_the_probe_counts_what_can_be_reached() -> None:
    own = (payload_guest.PLAY, payload_guest.PLAY + 16 * 4096)
    with payload_guest.machine(rounds=0, probe=own) as made:
        verdict = payload_guest.verdict(made.run(timeout=60))
    assert (verdict.leaks, verdict.aborts) == (16, 16)  # its private pages; not their aliases


def test_a_guest_that_never_ends_is_ended() -> None:
    with payload_guest.machine(rounds=payload_guest.FOREVER) as made:
        run = made.run(timeout=4)
        assert not made.process.running
    assert run.ending == "timeout"
    assert run.events


def test_several_vcpus_trap_at_the_same_time() -> None:
    """Four at once, on the same memory, until the first one has done its rounds."""
    with payload_guest.machine(rounds=20_000, seed=5, cpus=4) as made:
        run = made.run(timeout=600)
    assert run.ending == "power off"
    assert payload_guest.verdict(run).rounds == 20_000
    assert sum(event.status == "PSCI" for event in run.events) >= 4  # three CPU_ON, the end
    assert run.traps > 40_000  # one vCPU alone makes about 18,000
