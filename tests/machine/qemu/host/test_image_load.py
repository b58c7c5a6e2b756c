"""What stands in the Realm's memory before its first instruction. Needs no QEMU."""

import os

import pytest

from topbit.events import ignore
from topbit.machine.qemu.host.host import QemuHost
from topbit.machine.qemu.host.image_load import STAGE
from topbit.machine.qemu.host.shape import GuestImage, RealmShape, layout_of
from topbit.machine.qemu.process.process import RAM_BASE
from topbit.memory import PhysicalMemory
from topbit.store.image import Image

PAGE = 4096
START = RAM_BASE + (2 << 20)


@pytest.mark.parametrize("offset", [0, 0x80000, 0x100])
@pytest.mark.parametrize("size", [1, PAGE, STAGE + 5, 3 * STAGE - PAGE])
def test_an_image_is_private_whole_and_alone_on_its_pages(offset: int, size: int) -> None:
    shape = RealmShape(ram=64 << 20)
    layout = layout_of(shape)
    memory = PhysicalMemory(RAM_BASE, layout.ram)
    data = os.urandom(size)
    kernel = Image(data, offset, 1 << 20, PAGE, "", True)
    host = QemuHost(shape, layout, memory, GuestImage(kernel, b"", ""), ignore)
    at = host.slot.to_private_pa(START + offset)
    assert memory.read(at, size) == data
    assert not any(memory.read(at & -PAGE, at % PAGE))
    assert not any(memory.read(at + size, -(at + size) % PAGE))
    # Nothing of it stays where the host and devices can read it.
    assert not memory.bytes[: shape.ram].any()
