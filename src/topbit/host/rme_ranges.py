"""Which RMI 2.0 calls does the host make to give memory by the range?

The same life of a Realm as in `rme`, with the range calls of DEN0137 2.0 in place of the
single-page calls that 2.0 no longer has.
"""

from __future__ import annotations

from dataclasses import dataclass

from topbit.arch.rmi import AddrRange, MapFlags, Rmi2, RmiStatus, index, status
from topbit.host.pages import PAGE
from topbit.host.rme import LAST_LEVEL, RealmHost, RmiError, signed_level

_NORMAL_WB = 0b110
BLOCK = 2 << 20


@dataclass(slots=True)
class RangeRealmHost(RealmHost):
    """One Realm as a host runs it that speaks RMI 2.0."""

    def activate_rmm(self) -> None:
        """Let the RMM serve; once, before the first Realm."""
        self.call(Rmi2.RMM_ACTIVATE)

    def delegated_page(self) -> int:
        """Which fresh granule is delegated to the RMM now?"""
        page = self.pages.page()
        self.delegate(page, page + PAGE)
        return page

    def populate(self, ipa: int, pa: int) -> None:
        """Give the Realm the host page `pa` as its private page `ipa`, content unknown."""
        self.populate_range(ipa, ipa + PAGE, pa)

    def destroy_data(self, ipa: int) -> int:
        """Take the private page `ipa` back. Returns its physical address, undelegated."""
        flags = MapFlags(OADDR_TYPE=MapFlags.SINGLE).words[0]
        described = self.call(Rmi2.RTT_DATA_UNMAP, self.rd, ipa, ipa + PAGE, flags, 0)[2]
        pa = AddrRange.ADDR.get(described)
        self._undelegate(pa, pa + PAGE)
        return pa

    def map_unprotected(self, ipa: int, pa: int) -> None:
        """Map the host page `pa` at the unprotected address `ipa` (shared bit set)."""
        self.map_unprotected_range(ipa, ipa + PAGE, pa)

    def unmap_unprotected(self, ipa: int) -> None:
        """Unmap the unprotected page `ipa` (shared bit set)."""
        self.unmap_unprotected_range(ipa, ipa + PAGE)

    def populate_range(self, base: int, top: int, pa: int) -> None:
        """Give the Realm the host memory from `pa` as its private pages [base, top)."""
        self.delegate(pa, pa + top - base)
        self._map(Rmi2.RTT_DATA_MAP, base, top, pa, MapFlags(), AddrRange.DELEGATED, LAST_LEVEL)

    def destroy_range(self, base: int, top: int, pa: int) -> None:
        """Take the private pages [base, top) back, which stand from `pa` on, undelegated."""
        self._unmap(Rmi2.RTT_DATA_UNMAP, base, top)
        self._undelegate(pa, pa + top - base)

    def map_unprotected_range(self, base: int, top: int, pa: int) -> None:
        """Map the host memory from `pa` at the unprotected addresses [base, top).

        With blocks of 2 MiB where they fit and no table stands in their way, else with pages.
        """
        first = -(-base // BLOCK) * BLOCK
        if (base - pa) % BLOCK or first + BLOCK > top:
            self.map_unprotected_blocks(base, top, pa, LAST_LEVEL, _NORMAL_WB)
            return
        if base < first:
            self.map_unprotected_blocks(base, first, pa, LAST_LEVEL, _NORMAL_WB)
        for block in range(first, top - BLOCK + 1, BLOCK):
            where = block, block + BLOCK, pa + block - base
            try:
                self.map_unprotected_blocks(*where, LAST_LEVEL - 1, _NORMAL_WB)
            except RmiError:
                self.map_unprotected_blocks(*where, LAST_LEVEL, _NORMAL_WB)
        last = top // BLOCK * BLOCK
        if last < top:
            self.map_unprotected_blocks(last, top, pa + last - base, LAST_LEVEL, _NORMAL_WB)

    def map_unprotected_blocks(
        self, base: int, top: int, pa: int, level: int, memattr: int, *, writable: bool = True
    ) -> None:
        """Map [base, top) with entries of `level` and a memory type (MemAttr, FWB) of choice."""
        flags = MapFlags(MEMATTR=memattr, S2AP_READ=1, S2AP_WRITE=int(writable))
        self._map(Rmi2.RTT_UNPROT_MAP, base, top, pa, flags, AddrRange.UNDELEGATED, level)

    def unmap_unprotected_range(self, base: int, top: int) -> None:
        """Unmap the unprotected addresses [base, top)."""
        self._unmap(Rmi2.RTT_UNPROT_UNMAP, base, top)

    def _map(
        self, call: Rmi2, base: int, top: int, pa: int, flags: MapFlags, state: int, level: int
    ) -> None:
        flags.OADDR_TYPE = MapFlags.SINGLE
        size = 1 << 12 + 9 * (LAST_LEVEL - level)
        ipa = base
        while ipa < top:
            count = min((top - ipa) // size, AddrRange.MAX_COUNT)
            described = AddrRange(
                SIZE=LAST_LEVEL - level, COUNT=count, ADDR=pa + ipa - base, STATE=state
            ).words[0]
            arguments = (self.rd, ipa, ipa + count * size, flags.words[0], described)
            ipa = self._range_call(call, ipa, level, arguments)

    def _unmap(self, call: Rmi2, base: int, top: int) -> None:
        while base < top:
            base = self._range_call(call, base, LAST_LEVEL, (self.rd, base, top, MapFlags.NONE, 0))

    def _range_call(self, call: Rmi2, ipa: int, level: int, arguments: tuple[int, ...]) -> int:
        """Make a range call, supplying the tables that it misses. Returns how far it came."""
        result = self.port.rmi(call, list(arguments))
        while status(result[0]) is RmiStatus.ERROR_RTT:
            walked = signed_level(index(result[0]))
            if walked >= level:
                break
            self._create_table(ipa, walked + 1)
            result = self.port.rmi(call, list(arguments))
        if status(result[0]) is not RmiStatus.SUCCESS:
            raise RmiError(call, result[0])
        return result[1]

    def delegate(self, base: int, top: int) -> None:
        """Delegate the host's granules [base, top) to the RMM."""
        while base < top:
            base = self.call(Rmi2.GRANULE_RANGE_DELEGATE, base, top)[1]

    def _undelegate(self, base: int, top: int) -> None:
        while base < top:
            base = self.call(Rmi2.GRANULE_RANGE_UNDELEGATE, base, top)[1]
