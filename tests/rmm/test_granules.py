"""Granule states, their PAS, the check of every access, and the table's bytes."""

import numpy as np
import pytest

from topbit.arch.gpt import GPI, PAS, l1_gpi
from topbit.arch.rmi import Rmi
from topbit.memory import PhysicalMemory
from topbit.rmm import Granules, Rmm, State

BASE = 0x4000_0000


@pytest.fixture
def granules() -> Granules:
    return Granules(PhysicalMemory(BASE, 1 << 20))


def test_every_state_has_the_pas_that_its_use_needs(granules: Granules) -> None:
    expected = {State.NS: PAS.NS, State.ROOT: PAS.ROOT, State.UNTRACKED: PAS.NS}
    for state in State:
        granules.set(BASE, state)
        pas = expected.get(state, PAS.REALM)
        assert granules.pas(BASE + 0xFFF) == pas
        assert granules.check("host", BASE, 8, pas) is None


def test_a_fault_says_who_touched_what(granules: Granules) -> None:
    granules.set(BASE + 0x1000, State.DATA)
    fault = granules.check("smmu", BASE + 0xFFC, 8, PAS.NS, write=True)
    assert fault is not None
    assert (fault.agent, fault.pa, fault.access) == ("smmu", BASE + 0x1000, PAS.NS)
    assert (fault.granule, fault.state, fault.write) == (PAS.REALM, State.DATA, True)
    assert "smmu made a NS write to 0x0000000040001000, a DATA granule" in str(fault)
    assert granules.check("smmu", BASE + 0xFF8, 8, PAS.NS) is None
    assert granules.check("realm", BASE, 8, PAS.REALM) is not None


def test_the_vector_check_agrees_with_the_single_one(granules: Granules) -> None:
    granules.state[:] = np.random.default_rng(1).choice(
        [int(s) for s in State if s != State.UNTRACKED], len(granules.state)
    )
    granules.add_device_memory(0x1000_0000, 0x4000)
    assert granules.convert_device(0x1000_1000, 0x2000, delegate=True) == 0x2000
    addresses = np.array(
        [
            *range(BASE - 0x1000, BASE + (1 << 20) + 0x1000, 0x800),
            *range(0x0FFFF000, 0x10006000, 8),
        ],
        np.uint64,
    )
    for pas in PAS:
        single = [granules.check("x", int(a), 1, pas) is None for a in addresses]
        assert granules.permitted(pas, addresses).tolist() == single


def test_carved_out_granules_cannot_be_delegated() -> None:
    memory = PhysicalMemory(BASE, 1 << 20)
    rmm = Rmm(memory)
    rmm.granules.carve_out(BASE + 0x2000, 0x2000)
    assert rmm.rmi(Rmi.GRANULE_DELEGATE, [BASE + 0x2000])[0] == 1
    assert rmm.rmi(Rmi.GRANULE_DELEGATE, [BASE + 0x4000])[0] == 0


def test_table_bytes_hold_each_granule(granules: Granules) -> None:
    granules.set(BASE + 0x3000, State.RTT)
    granules.carve_out(BASE + 0x1_0000, 0x1000)
    l0, l1 = BASE + 0x8_0000, BASE + 0x9_0000
    size = granules.write_gpt(l0, l1)
    memory = granules.memory
    assert memory.read_u64(l0) == l1 | 3
    assert size == 16 * 8
    for i, state in enumerate(granules.state):
        entry = memory.read_u64(l1 + (i >> 4) * 8)
        expected = {State.NS: GPI.NS, State.ROOT: GPI.ROOT}.get(State(int(state)), GPI.REALM)
        assert l1_gpi(entry, i & 15) == expected


def test_contents_are_wiped_before_the_host_sees_them() -> None:
    memory = PhysicalMemory(BASE, 1 << 20)
    rmm = Rmm(memory)
    rmm.rmi(Rmi.GRANULE_DELEGATE, [BASE])
    memory.write(BASE, b"realm secret")
    rmm.rmi(Rmi.GRANULE_UNDELEGATE, [BASE])
    assert memory.read(BASE, 4096) == bytes(4096)


def test_only_a_granule_in_the_state_asked_for_is_had() -> None:
    granules = Granules(PhysicalMemory(0x4000_0000, 1 << 20))
    granules.set(0x4000_3000, State.DATA)
    granules.add_device_memory(0x1000_0000, 0x1000)
    granules.convert_device(0x1000_0000, 0x1000, delegate=True)
    asked = {
        (0x4000_3000, State.DATA): True,
        (0x4000_3000, State.NS): False,
        (0x4000_3008, State.DATA): False,
        (0x4000_2000, State.NS): True,
        (0x3FFF_F000, State.NS): False,
        (0x4010_0000, State.NS): False,
        (0x1000_0000, State.DEV_DELEGATED): True,
        (0x1000_1000, State.UNTRACKED): True,
        ((1 << 64) - 1, State.UNTRACKED): True,
    }
    for (word, state), had in asked.items():
        assert granules.has(word, state) is had
        assert (granules.get(word) == state) is had
