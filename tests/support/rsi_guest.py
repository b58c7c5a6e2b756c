"""A program for EL1 that makes the calls that a test names, in order, and turns itself off.

So does its first exception.
Written here as machine code (Arm DDI 0487, A64 encodings): straight-line, without any assembler.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import needs
from topbit.arch.psci import Psci
from topbit.machine.qemu.host.shape import GuestImage, RealmShape
from topbit.machine.qemu.machine import QemuMachine, Run
from topbit.store.image import Image

MIB = 1 << 20
RAM = 64 * MIB
START = 0x4020_0000  # where the program stands
VECTORS = 0x4000  # from there
ENTRIES, ENTRY = 16, 0x80
RESULTS = 0x4000_0000 + 48 * MIB  # far from the program
WORDS = 11  # X0 to X10 of each result

Call = tuple[int, ...]
Poke = dict[int, int]
"""Stores of 64-bit values, by address."""


def mov(register: int, value: int) -> list[int]:
    code = [0xD280_0000 | (value & 0xFFFF) << 5 | register]
    for half in (1, 2, 3):
        if part := value >> 16 * half & 0xFFFF:
            code.append(0xF280_0000 | half << 21 | part << 5 | register)
    return code


def store(register: int, base: int, offset: int = 0) -> int:
    return 0xF900_0000 | offset // 8 << 10 | base << 5 | register


def program(actions: Sequence[Call | Poke]) -> bytes:
    # msr vbar_el1, x20; isb
    code = [*mov(20, START + VECTORS), 0xD518_C014, 0xD503_3FDF]
    place = RESULTS
    for action in [*actions, (int(Psci.SYSTEM_OFF),)]:
        if isinstance(action, dict):
            for address, value in action.items():
                code += [*mov(20, address), *mov(21, value), store(21, 20)]
            continue
        for register, value in enumerate(action):
            code += mov(register, value)
        code += [0xD400_0003, *mov(20, place)]  # smc #0
        code += [store(register, 20, 8 * register) for register in range(WORDS)]
        place += 8 * WORDS
    off = [*mov(0, int(Psci.SYSTEM_OFF)), 0xD400_0003]
    program = struct.pack(f"<{len(code)}I", *code)
    assert len(program) <= VECTORS
    entry = struct.pack(f"<{len(off)}I", *off).ljust(ENTRY, b"\0")
    return program.ljust(VECTORS, b"\0") + ENTRIES * entry


class Guest:
    """The program on its Realm; `answers` are the registers after each call, once it ran."""

    def __init__(self, actions: Sequence[Call | Poke], cpus: int = 1) -> None:
        self.shape = RealmShape(ram=RAM, cpus=cpus)
        self.calls = sum(isinstance(action, tuple) for action in actions)
        image = Image(program(actions), 0, 1 << 16, 4096, "payload", True)
        guest = GuestImage(image, b"", "")
        self.machine = QemuMachine(self.shape, guest, program=Path(needs.tool("qemu")))

    def run(self) -> Run:
        return self.machine.run(60)

    def read(self, ipa: int, size: int) -> bytes:
        """What stands in a private page?"""
        host = self.machine.host
        return host.memory.read(host.slot.to_private_pa(ipa), size)

    @property
    def answers(self) -> list[tuple[int, ...]]:
        data = self.read(RESULTS, self.calls * 8 * WORDS)
        return list(struct.iter_unpack(f"<{WORDS}Q", data))
