"""Which table does a trusted device's stream walk on a host whose SMMU has no Realm side?

The Realm's own table, but for one page: MSI addresses are plain, and the Realm's table maps no
device there. So the tables on the way to the MSI doorbell are copies with that page added;
everything else is the Realm's live tables.
"""

from __future__ import annotations

from topbit.arch.smmuv3 import STE
from topbit.arch.stage2 import AF, G4K, LAST_LEVEL, TABLE_OR_PAGE, VALID, is_table, output_address
from topbit.machine.qemu.layout import ITS_DOORBELL
from topbit.machine.trusted import realm_ste
from topbit.memory import PhysicalMemory
from topbit.rmm.realm import Realm
from topbit.smmu.io_pgtable import READ, WRITE, PageRange

VMID = 0x8001  # not the VMID of the host's own table
_DEVICE_PAGE = VALID | TABLE_OR_PAGE | AF | READ | WRITE | 1 << 2  # Device-nGnRE


def trusted_ste(memory: PhysicalMemory, allocate: PageRange, realm: Realm) -> STE:
    """Which STE gives a device the Realm's table and the MSI doorbell?

    To be asked once the Realm's RAM has all its tables.
    """
    ste = realm_ste(realm)
    ste.S2VMID = VMID
    ste.S2TTB = _with_doorbell(memory, allocate, realm)
    return ste


def _with_doorbell(memory: PhysicalMemory, allocate: PageRange, realm: Realm) -> int:
    root = copy = allocate(G4K.bytes)
    source = realm.rtt_base
    for level in range(realm.start_level, LAST_LEVEL + 1):
        if source:
            memory.write(copy, memory.read(source, G4K.bytes))
        entry = copy + 8 * (ITS_DOORBELL >> G4K.level_shift(level) & (G4K.entries - 1))
        if level == LAST_LEVEL:
            memory.write_u64(entry, ITS_DOORBELL & -G4K.bytes | _DEVICE_PAGE)
            return root
        below = memory.read_u64(entry)
        source = output_address(below) if is_table(below, level) else 0
        copy = allocate(G4K.bytes)
        memory.write_u64(entry, copy | VALID | TABLE_OR_PAGE)
    return root
