"""Which RMI 2.0 calls does the host make to give memory by the range, and on request?

The same life of a Realm as in `rme`, with the range calls of DEN0137 2.0 in place of the
single-page calls that 2.0 no longer has. A call that needs memory of the host's asks for it
(stateful operations).
"""

from __future__ import annotations

from dataclasses import dataclass

from topbit.arch.ipa import Ipa, Pa
from topbit.arch.rmi import Rmi, Rmi2, RmiStatus, status
from topbit.arch.rmi_range import AddrRange, MapFlags, MemoryRequest, Transfer, transfer
from topbit.arch.stage2 import G4K, LAST_LEVEL
from topbit.host.pages import PAGE
from topbit.host.rme import RealmHost, RmiError, walked_level

_NORMAL_WB = 0b110
BLOCK = 2 << 20
LIST_ENTRIES = PAGE // 8


@dataclass(slots=True)
class RangeRealmHost(RealmHost):
    """One Realm as a host runs it that speaks RMI 2.0."""

    def operate(self, call: Rmi | Rmi2, *args: int) -> None:
        """Make a call to its end, giving and taking back memory as it asks.

        Raises:
            RmiError: it did not succeed.
        """
        result = self.port.rmi(call, list(args))
        handle, request = result[1:3] if len(result) > 2 else (0, 0)
        while status(result[0]) is RmiStatus.INCOMPLETE:
            wanted = transfer(result[0])
            if wanted is Transfer.DONATE:
                result = self._donate(handle, request)
                request = result[2]
            elif wanted is Transfer.RECLAIM:
                result = self._reclaim(handle)
            else:
                result = self.port.rmi(Rmi2.OP_CONTINUE, [handle, 0])
        if status(result[0]) is not RmiStatus.SUCCESS:
            raise RmiError(call, result[0])

    def _donate(self, handle: int, request: int) -> tuple[int, ...]:
        count = MemoryRequest.BLK_COUNT.get(request)
        granules = [self.pages.page() for _ in range(count)]
        if MemoryRequest.CONTIG.get(request):
            self.pages.free += granules
            first = self.pages.run(count, align=count * PAGE)
            granules = [first + n * PAGE for n in range(count)]
        entries = self.pages.page()
        for n, pa in enumerate(granules):
            self.delegate(pa, PAGE)
            self.memory.write_u64(entries + 8 * n, AddrRange(COUNT=1, ADDR=pa).words[0])
        result = self.port.rmi(Rmi2.OP_MEM_DONATE, [handle, entries, count])
        self.pages.free.append(entries)
        return result

    def _reclaim(self, handle: int) -> tuple[int, ...]:
        entries = self.pages.page()
        result = self.port.rmi(Rmi2.OP_MEM_RECLAIM, [handle, entries, LIST_ENTRIES])
        for n in range(result[1]):
            described = AddrRange.of(self.memory.read_u64(entries + 8 * n))
            self._undelegate(Pa(described.ADDR), described.COUNT * PAGE)
            freed = (described.ADDR + i * PAGE for i in range(described.COUNT))
            self.pages.free += map(Pa, freed)
        self.pages.free.append(entries)
        return result

    def _rec_create(self, rec: Pa, params: Pa) -> None:
        self.operate(Rmi.REC_CREATE, self.rd, rec, params)

    def activate_rmm(self) -> None:
        """Let the RMM serve; once, before the first Realm."""
        self.call(Rmi2.RMM_ACTIVATE)

    def delegated_page(self) -> Pa:
        """Which fresh granule is delegated to the RMM now?"""
        page = self.pages.page()
        self.delegate(page, PAGE)
        return page

    def populate(self, ipa: Ipa, pa: Pa) -> None:
        """Give the Realm the host page `pa` as its private page `ipa`, content unknown."""
        self.populate_range(ipa, PAGE, pa)

    def destroy_data(self, ipa: Ipa) -> Pa:
        """Take the private page `ipa` back. Returns its physical address, undelegated."""
        flags = MapFlags(OADDR_TYPE=MapFlags.SINGLE).words[0]
        described = self.call(Rmi2.RTT_DATA_UNMAP, self.rd, ipa, ipa + PAGE, flags, 0)[2]
        pa = Pa(AddrRange.ADDR.get(described))
        self._undelegate(pa, PAGE)
        return pa

    def map_unprotected(self, ipa: Ipa, pa: Pa) -> None:
        """Map the host page `pa` at the unprotected address `ipa` (shared bit set)."""
        self.map_unprotected_range(ipa, PAGE, pa)

    def unmap_unprotected(self, ipa: Ipa) -> None:
        """Unmap the unprotected page `ipa` (shared bit set)."""
        self.unmap_unprotected_range(ipa, PAGE)

    def populate_range(self, ipa: Ipa, size: int, pa: Pa) -> None:
        """Give the Realm the host memory from `pa` as its private pages [ipa, ipa + size)."""
        self.delegate(pa, size)
        self._map(Rmi2.RTT_DATA_MAP, ipa, size, pa, MapFlags(), AddrRange.DELEGATED, LAST_LEVEL)

    def destroy_range(self, ipa: Ipa, size: int, pa: Pa) -> None:
        """Take private pages [ipa, ipa + size) back, which stand from `pa` on, undelegated."""
        self._unmap(Rmi2.RTT_DATA_UNMAP, ipa, size)
        self._undelegate(pa, size)

    def map_unprotected_range(self, ipa: Ipa, size: int, pa: Pa) -> None:
        """Map the host memory from `pa` at the unprotected addresses [ipa, ipa + size).

        With blocks of 2 MiB where they fit and no table stands in their way, else with pages.
        """
        before = -ipa % BLOCK  # bytes up to the first block
        blocks = (size - before) // BLOCK
        if (ipa - pa) % BLOCK or blocks < 1:
            self.map_unprotected_blocks(ipa, size, pa, LAST_LEVEL, _NORMAL_WB)
            return
        if before:
            self.map_unprotected_blocks(ipa, before, pa, LAST_LEVEL, _NORMAL_WB)
        after = before + blocks * BLOCK
        for offset in range(before, after, BLOCK):
            where = ipa + offset, BLOCK, pa + offset
            try:
                self.map_unprotected_blocks(*where, LAST_LEVEL - 1, _NORMAL_WB)
            except RmiError:
                self.map_unprotected_blocks(*where, LAST_LEVEL, _NORMAL_WB)
        if after < size:
            where = ipa + after, size - after, pa + after
            self.map_unprotected_blocks(*where, LAST_LEVEL, _NORMAL_WB)

    def map_unprotected_blocks(
        self, ipa: Ipa, size: int, pa: Pa, level: int, memattr: int, *, writable: bool = True
    ) -> None:
        """Map [ipa, ipa + size) with entries of `level` and a memory type (MemAttr, FWB)."""
        flags = MapFlags(MEMATTR=memattr, S2AP_READ=1, S2AP_WRITE=int(writable))
        self._map(Rmi2.RTT_UNPROT_MAP, ipa, size, pa, flags, AddrRange.UNDELEGATED, level)

    def unmap_unprotected_range(self, ipa: Ipa, size: int) -> None:
        """Unmap the unprotected addresses [ipa, ipa + size)."""
        self._unmap(Rmi2.RTT_UNPROT_UNMAP, ipa, size)

    def map_registers(self, vdev: Pa, ipa: Ipa, size: int, pa: Pa) -> None:
        """Map a device's registers, delegated, at the protected addresses [ipa, ipa + size)."""
        described = AddrRange(COUNT=size // PAGE, ADDR=pa).words[0]
        flags = MapFlags(OADDR_TYPE=MapFlags.SINGLE).words[0]
        arguments = (self.rd, vdev, ipa, ipa + size, flags, described)
        self._range_call(Rmi2.RTT_DEV_MAP, ipa, LAST_LEVEL, arguments)

    def dev_validate(self, rec: Pa, ipa: Ipa, size: int) -> None:
        """Have the RMM validate what the Realm asked for, all of [ipa, ipa + size)."""
        at, top = int(ipa), ipa + size
        while at < top:
            at = self.call(Rmi2.RTT_DEV_VALIDATE, self.rd, rec, at, top)[1]

    def unmap_registers(self, ipa: Ipa, size: int) -> None:
        """Unmap a device's registers from [ipa, ipa + size)."""
        self._unmap(Rmi2.RTT_DEV_UNMAP, ipa, size)

    def _map(
        self, call: Rmi2, ipa: Ipa, size: int, pa: Pa, flags: MapFlags, state: int, level: int
    ) -> None:
        flags.OADDR_TYPE = MapFlags.SINGLE
        entry = G4K.level_size(level)
        at, top = ipa, ipa + size
        while at < top:
            count = min((top - at) // entry, AddrRange.MAX_COUNT)
            described = AddrRange(
                SIZE=LAST_LEVEL - level, COUNT=count, ADDR=pa + (at - ipa), STATE=state
            ).words[0]
            arguments = (self.rd, at, at + count * entry, flags.words[0], described)
            at = self._range_call(call, at, level, arguments)

    def _unmap(self, call: Rmi2, ipa: Ipa, size: int) -> None:
        top = ipa + size
        while ipa < top:
            ipa = self._range_call(call, ipa, LAST_LEVEL, (self.rd, ipa, top, MapFlags.NONE, 0))

    def _range_call(self, call: Rmi2, ipa: Ipa, level: int, arguments: tuple[int, ...]) -> Ipa:
        """Make a range call, supplying the tables that it misses. Returns how far it came."""
        result = self.port.rmi(call, list(arguments))
        while status(result[0]) is RmiStatus.ERROR_RTT:
            walked = walked_level(result[0])
            if walked >= level:
                break
            self._create_table(ipa, walked + 1)
            result = self.port.rmi(call, list(arguments))
        if status(result[0]) is not RmiStatus.SUCCESS:
            raise RmiError(call, result[0])
        return Ipa(result[1])

    def delegate(self, pa: Pa, size: int) -> None:
        """Delegate the host's granules [pa, pa + size) to the RMM."""
        self._convert(Rmi2.GRANULE_RANGE_DELEGATE, pa, size)

    def _undelegate(self, pa: Pa, size: int) -> None:
        self._convert(Rmi2.GRANULE_RANGE_UNDELEGATE, pa, size)

    def _convert(self, call: Rmi2, pa: Pa, size: int) -> None:
        reached, top = int(pa), pa + size
        while reached < top:
            reached = self.call(call, reached, top)[1]
