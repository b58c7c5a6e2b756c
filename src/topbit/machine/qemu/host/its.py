"""What may the guest tell QEMU's interrupt controller to do with memory?

The GIC is the guest's, but its ITS and redistributors write tables at physical addresses that
their owner programs. So the guest cannot write to the pages with those registers: the VMM emulates
them, with tables of its own for everything that the GIC writes, and passes the rest on. Commands
are copied into a queue of the host, and only those that cannot reach foreign memory.

Registers: Arm IHI0069 (GICv3/v4), 12.10 (GICR), 12.18 and 12.19 (GITS), 5.3 (ITS commands).
QEMU: hw/intc/arm_gicv3_its.c, arm_gicv3_redist.c.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

from topbit.arch.ipa import Pa
from topbit.host.pages import PAGE
from topbit.machine.qemu.el2.mailbox import Mailbox, r32, r64, w32, w64
from topbit.machine.qemu.host.memory_map import GICR, GICR_BYTES, ITS
from topbit.memory import PhysicalMemory
from topbit.vmm.slots import MemorySlot

KIB = 1024
VALID = 1 << 63
ADDRESS = 0x000F_FFFF_FFFF_F000
CACHEABLE = 7 << 59 | 1 << 10  # inner write-back, inner shareable
QUEUE_BYTES = 64 * KIB
COMMAND_BYTES = 32
TABLE_BYTES = 1024 * KIB
PENDING_BYTES = 64 * KIB


class Its(IntEnum):
    """Which register of the ITS's control frame is it?"""

    CTLR = 0x000
    IIDR = 0x004
    TYPER = 0x008
    CBASER = 0x080
    CWRITER = 0x088
    CREADR = 0x090
    BASER = 0x100  # eight of them


BASER_COUNT = 8
BASER_INDIRECT = 1 << 62
BASER_FIXED = 7 << 56 | 0x1F << 48  # type and entry size are read-only
BASER_PAGE_SIZES = (4 * KIB, 16 * KIB, 64 * KIB, 64 * KIB)

MAPD = 0x08
HARMLESS = (0x01, 0x03, 0x04, 0x05, 0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x0E, 0x0F)
ITE_BYTES = 16  # QEMU's take 12

GICR_TYPER = 0x08
GICR_PROPBASER = 0x70
GICR_PENDBASER = 0x78


class _Registers:
    """A page of device registers behind the EL2 program."""

    def __init__(self, base: Pa, current: Callable[[], Mailbox | None]) -> None:
        self._base = base
        self._current = current

    def _read(self, offset: int, *, wide: bool = False) -> int:
        mailbox = self._current()
        if mailbox is None:
            return 0
        at = self._base + offset
        return mailbox.do([r64(at & ~7) if wide else r32(at & ~3)])[0]

    def _write(self, offset: int, value: int, *, wide: bool = False) -> None:
        mailbox = self._current()
        if mailbox is not None:
            at = self._base + offset
            mailbox.do([w64(at & ~7, value) if wide else w32(at & ~3, value)])


class ItsFrame(_Registers):
    """The first page of the ITS's control frame, as the guest sees it.

    A driver reads GITS_CREADR several times for each command: `page` is mapped for the guest to
    read, and only its writes come here.

    Args:
        memory: physical memory.
        slot: the guest's RAM; tables and commands of the guest lie in its shared form.
        allocate: gives zeroed host memory.
        current: the mailbox of the vCPU that is at EL2 now.

    Attributes:
        page: physical address of the page that the guest reads.
        refused: commands and tables of the guest that were not passed on.
    """

    def __init__(
        self,
        memory: PhysicalMemory,
        slot: MemorySlot,
        allocate: Callable[[int], Pa],
        current: Callable[[], Mailbox | None],
    ) -> None:
        super().__init__(ITS, current)
        self.refused = 0
        self.page = allocate(PAGE)
        self._seen = memory.view(self.page, PAGE).cast("Q")
        self._memory = memory
        self._slot = slot
        self._allocate = allocate
        self._queue = allocate(QUEUE_BYTES)
        self._write_index = 0
        self._tables: dict[int, Pa] = {}

    def start(self) -> None:
        """Show the guest what the real registers hold; before its first instruction."""
        self._seen[0] = self._read(Its.CTLR) | self._read(Its.IIDR) << 32
        for register in (Its.TYPER, *range(Its.BASER, Its.BASER + 8 * BASER_COUNT, 8)):
            self._seen[register // 8] = self._read(register, wide=True)

    def read_register(self, offset: int) -> int:
        """What does the guest read?"""
        word = self._seen[offset // 8]
        return word >> 32 if offset & 4 else word

    def write_register(self, offset: int, value: int) -> None:
        """Take what the guest writes."""
        number = (offset - Its.BASER) // 8
        if offset == Its.CTLR:
            self._write(Its.CTLR, value & 1)
            self._seen[0] = self._read(Its.CTLR) | self.read_register(Its.IIDR) << 32
        elif offset == Its.CBASER:
            self._seen[Its.CBASER // 8] = value
            self._set_guest_read(0)
            self._write_index = 0
            base = VALID | CACHEABLE | self._queue | (QUEUE_BYTES // PAGE - 1)
            self._write(Its.CBASER, base if value & VALID else 0, wide=True)
            self._write(Its.CWRITER, 0)
        elif offset == Its.CWRITER:
            self._commands(value & 0xF_FFE0)
        elif 0 <= number < BASER_COUNT and not offset & 7:
            self._table(number, value)

    def _set_guest_read(self, offset: int) -> None:
        """The guest's commands up to `offset` of its queue are done."""
        self._seen[Its.CREADR // 8] = self._seen[Its.CWRITER // 8] = offset

    def _table(self, number: int, value: int) -> None:
        """Give the ITS a table of the host's in place of the guest's."""
        register = Its.BASER + 8 * number
        fixed = self._seen[register // 8] & BASER_FIXED
        if not fixed >> 56:  # not implemented
            return
        self._seen[register // 8] = value & ~(BASER_FIXED | BASER_INDIRECT) | fixed
        page = BASER_PAGE_SIZES[value >> 8 & 3]
        pages = min((value & 0xFF) + 1, TABLE_BYTES // page)
        if number not in self._tables:
            self._tables[number] = self._allocate(TABLE_BYTES)
        table = self._tables[number]
        self._memory.fill(table, TABLE_BYTES)
        own = value & ~(ADDRESS | 0xFF | BASER_INDIRECT) | table | (pages - 1)
        self._write(register, own, wide=True)

    def _commands(self, end: int) -> None:
        """Pass on the guest's commands up to the byte offset `end` of its queue."""
        queue, at = self._seen[Its.CBASER // 8], self._seen[Its.CREADR // 8]
        size = ((queue & 0xFF) + 1) * PAGE
        if not queue & VALID or end >= size:
            return
        while at != end:
            command = self._command((queue & ADDRESS) + at)
            at = (at + COMMAND_BYTES) % size
            if command is None:
                self.refused += 1
                continue
            self._memory.write(self._queue + self._write_index, command)
            self._write_index = (self._write_index + COMMAND_BYTES) % QUEUE_BYTES
            if self._write_index % (QUEUE_BYTES // 2) == 0:  # the ITS takes them at once
                self._write(Its.CWRITER, self._write_index)
        self._write(Its.CWRITER, self._write_index)
        self._set_guest_read(at)

    def _command(self, ipa: int) -> bytes | None:
        """Which command stands at `ipa`? None if it must not be passed on."""
        if not self._slot.contains(ipa, COMMAND_BYTES):
            return None
        command = self._memory.read(self._slot.to_shared_pa(ipa), COMMAND_BYTES)
        number = command[0]
        if number == MAPD:
            valid = command[23] & 0x80
            table = int.from_bytes(command[16:24], "little") & 0x000F_FFFF_FFFF_FF00
            size = ITE_BYTES << ((command[8] & 0x1F) + 1)
            inside = self._slot.contains(table, size)
            return command if not valid or inside else None
        return command if number in HARMLESS else None


class RedistributorFrame(_Registers):
    """The first page of one redistributor, as the guest sees it.

    Args:
        index: number of the vCPU.
        slot: the guest's RAM.
        allocate: gives zeroed host memory.
        current: the mailbox of the vCPU that is at EL2 now.
    """

    def __init__(
        self,
        index: int,
        slot: MemorySlot,
        allocate: Callable[[int], Pa],
        current: Callable[[], Mailbox | None],
    ) -> None:
        super().__init__(GICR + index * GICR_BYTES, current)
        self._slot = slot
        self._pending = allocate(PENDING_BYTES)
        self._guest_pending = 0

    def read_register(self, offset: int) -> int:
        """What does the guest read?"""
        register, shift = offset & ~7, 32 if offset & 4 else 0
        if register == GICR_PENDBASER:
            return self._guest_pending >> shift
        if register in (GICR_TYPER, GICR_PROPBASER):
            return self._read(register, wide=True) >> shift
        return self._read(offset)

    def write_register(self, offset: int, value: int) -> None:
        """Take what the guest writes."""
        if offset == GICR_PROPBASER:
            # The GIC only reads this one: one byte per LPI.
            if self._slot.contains(value & ADDRESS, 2 << (value & 0x1F)):
                self._write(offset, value, wide=True)
        elif offset == GICR_PENDBASER:
            self._guest_pending = value & ~(1 << 62)
            own = value & ~(ADDRESS & ~0xFFFF) & ~0xF000 | self._pending
            self._write(offset, own, wide=True)
        elif offset & ~7 not in (GICR_TYPER, GICR_PROPBASER, GICR_PENDBASER):
            self._write(offset, value & 0xFFFF_FFFF)
