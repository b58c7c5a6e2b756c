"""The hostile guest of payload.S, ready to boot."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import needs
from topbit.machine.qemu.host.shape import GuestImage, RealmShape, layout_of
from topbit.machine.qemu.machine import QemuMachine, Run
from topbit.machine.qemu.process.process import RAM_BASE
from topbit.store.image import Image

MIB = 1 << 20
RAM = 256 * MIB
PLAY = RAM_BASE + 128 * MIB
FOREVER = 1 << 62


@dataclass(frozen=True)
class Verdict:
    """What did the payload count?"""

    leaks: int
    rounds: int
    aborts: int
    other: int
    undefined: int


def image(shape: RealmShape, *, rounds: int, seed: int = 1, probe: tuple[int, int] = (0, 0)):
    code = bytearray(Path(__file__).with_name("payload.bin").read_bytes())
    parameters = (seed, rounds, 1 << (shape.ipa_bits - 1), PLAY, *probe, shape.cpus - 1)
    struct.pack_into("<7Q", code, 8, *parameters)
    return GuestImage(Image(bytes(code), 0, 1 << 16, 4096, "payload", True), b"", "")


def machine(
    *,
    rounds: int,
    seed: int = 1,
    probe: tuple[int, int] | None = (0, 0),
    options: tuple[str, ...] = (),
    **more,
) -> QemuMachine:
    """Boot the payload; `probe`: what part 1 tries, None for all memory behind its RAM.

    `options`: further ones of QEMU.
    """
    shape = RealmShape(ram=RAM, **more)
    layout = layout_of(shape)
    probe = probe or (layout.private, layout.end)
    guest = image(shape, rounds=rounds, seed=seed, probe=probe)
    return QemuMachine(shape, guest, program=Path(needs.tool("qemu")), options=options)


def verdict(run: Run) -> Verdict:
    words = run.console.decode(errors="replace").rpartition("\ndone ")[2].split()
    return Verdict(*(int(word, 16) for word in words[:5]))
