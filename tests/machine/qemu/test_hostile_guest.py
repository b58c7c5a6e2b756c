"""Does a hostile guest reach anything that is not its own, or bring topbit down?"""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

import payload_guest
from topbit.machine.qemu.guest.evidence import read_evidence
from topbit.machine.qemu.guest.report import read_report
from topbit.machine.qemu.guest.transfer import Wanted, unpack
from topbit.machine.qemu.host.outbox import Stream
from topbit.machine.qemu.host.virtio_mmio import EmulatedDevice
from topbit.machine.qemu.process.pci import PciDevice
from topbit.vmm.own_policy import load
from topbit.vmm.policy import VmmPolicy
from topbit.vmm.virtio.blk import VirtioBlk

pytestmark = pytest.mark.qemu


POLICY = """
from topbit.vmm.policy import VmmPolicy

class Mine(VmmPolicy):
    def iovas(self, plain, alias):
        return (alias, plain) if plain & 0x1000 else ()

    def looked_up(self, address, masked):
        return None if address & 0x2000 else address

    def goes_on(self, failed):
        return failed == "unmap"

    vfio_first = False
"""


def test_random_calls_accesses_and_instructions_get_defined_answers(tmp_path: Path) -> None:
    """By a VMM of the user's own, with what nobody asked for in the outbox."""
    (tmp_path / "mine.py").write_text(POLICY)
    content = random.Random(1).randbytes(1 << 20)
    with payload_guest.machine(
        rounds=100_000,
        seed=0xC0FFEE,
        probe=None,
        pci=(PciDevice("edu", 1),),
        emulated=(EmulatedDevice(0, VirtioBlk(bytearray(content))),),
        policy=load(tmp_path / "mine.py", VmmPolicy()),
    ) as made:
        layout = made.host.layout
        run = made.run(timeout=600)
    assert run.ending == "power off"
    verdict = payload_guest.verdict(run)
    assert verdict.rounds == 100_000
    assert verdict.leaks == 0  # before the calls, and after them
    assert verdict.aborts > 4 * (layout.end - layout.private) // 4096
    assert verdict.undefined > 10_000  # HVC, HLT and EL2 registers, one of 16 rounds each
    assert run.traps > 50_000
    seen = Counter(event.event for event in run.events)
    assert seen["convert"] > 50
    assert all(len(run.outbox[stream]) > 1 << 20 for stream in Stream)
    report = read_report(run.console, run.outbox)
    assert not report.complete
    read_evidence(report, run.console)
    inside = tmp_path / "got"
    unpack(run.outbox[Stream.FILES], [Wanted("/got", inside)])
    assert sorted(path.name for path in tmp_path.iterdir() if path != inside) == ["mine.py"]


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
