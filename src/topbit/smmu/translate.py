"""Where would whole arrays of addresses end up?

Neither records events nor latches granule protection faults: the answers are what `Smmu.access`
would do, address by address.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from topbit.arch.gpt import PAS
from topbit.arch.smmuv3 import Config, EventRecord, EventType
from topbit.smmu.batch import Addresses, Codes, Mask, granted, walk_array
from topbit.smmu.bus import Gpc
from topbit.smmu.flat import FlatTables
from topbit.smmu.outcome import Terminated
from topbit.smmu.smmu import Smmu
from topbit.smmu.ste import DISABLED


class Code(IntEnum):
    """What becomes of one address, where it is not an event type? (0 is success)"""

    OK = 0
    ABORT = 0xE0  # STE.Config
    GBPA = 0xE1  # SMMU disabled, SMMU_GBPA.ABORT
    OAS = 0xE2  # SMMU disabled, address beyond the output size
    GPF = 0xE3  # granule protection


_TERMINATED = {"gbpa": Code.GBPA, "streamid": EventType.C_BAD_STREAMID}


class Translator:
    """What would the streams of one SMMU reach?

    Args:
        smmu: its registers, stream table and table bytes are used as they are.
    """

    def __init__(self, smmu: Smmu) -> None:
        self.smmu = smmu
        self._flat = FlatTables(smmu.caches.tlb)

    def translate(
        self,
        sid: int,
        iovas: Addresses,
        write: bool = False,
        *,
        realm: bool = False,
        reference: bool = False,
    ) -> tuple[Addresses, Codes]:
        """Where do accesses of a stream to `iovas` end up?

        Args:
            sid: StreamID.
            iovas: input addresses.
            write: the accesses are writes.
            realm: they are made with T = 1.
            reference: walk the tables for each address, without the flattened copy.

        Returns:
            (pas, codes): physical addresses (0 where the access fails), and for each address 0, the
            event type that it raises (recorded or, with STE.S2R = 0, not), or a `Code`.
        """
        iovas = np.ascontiguousarray(iovas, np.uint64)
        config = self.smmu.configuration(sid & 0xFFFF_FFFF, realm=realm)
        if isinstance(config, EventRecord):
            return _all_fail(iovas, config.Type)
        if isinstance(config, Terminated):
            return _all_fail(iovas, _TERMINATED[config.reason])
        if config.config == Config.ABORT:
            return _all_fail(iovas, Code.ABORT)
        pas = np.empty_like(iovas)
        codes = np.empty(iovas.shape, np.uint8)
        oas_bits, bus = self.smmu.registers.oas_bits, self.smmu.bus
        if config.stage2 is None:
            too_big = Code.OAS if config is DISABLED else EventType.F_ADDR_SIZE
            codes[:] = np.where(iovas >> np.uint64(oas_bits), np.uint8(too_big), np.uint8(0))
            pas[:] = np.where(codes, np.uint64(0), iovas)
            non_secure = None
        elif reference:
            non_secure = walk_array(config.stage2, iovas, write, bus, oas_bits, pas, codes)
        else:
            non_secure = self._flat.translate(
                config.stage2, iovas, write, bus, oas_bits, pas, codes
            )
        if bus.gpc is not None:
            _check_outputs(bus.gpc, pas, codes, write, non_secure if realm else None, realm)
        return pas, codes


def _all_fail(iovas: Addresses, code: int) -> tuple[Addresses, Codes]:
    return np.zeros_like(iovas), np.full(iovas.shape, code, np.uint8)


def _check_outputs(
    gpc: Gpc,
    pas: Addresses,
    codes: Codes,
    write: bool,
    non_secure: Mask | None,
    realm: bool,
) -> None:
    """Turn translations that granule protection refuses into Code.GPF."""
    success = codes == 0
    spaces = [(PAS.NS, success if non_secure is None else success & non_secure)]
    if realm:
        rest = success if non_secure is None else success & ~non_secure
        spaces = [(PAS.REALM, rest)] if non_secure is None else [*spaces, (PAS.REALM, rest)]
    for space, which in spaces:
        where = np.flatnonzero(which)
        refused = where[~granted(gpc, pas[where], write, space)]
        pas[refused] = 0
        codes[refused] = Code.GPF
