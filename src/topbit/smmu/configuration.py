"""What is configured for a stream: which table says so, and what is remembered of it?

Non-secure streams have the table of SMMU_STRTAB_BASE, Realm streams that of SMMU_R_STRTAB_BASE,
which the RMM keeps in Realm memory. Entries that are legal are remembered until a command (for the
Realm side, the RMM) invalidates them.
Source: IHI0070 H.a 3.3, 3.17, 6.3.24, 6.4 (the Realm registers).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from topbit.arch.ipa import Pa
from topbit.arch.smmuv3 import EventRecord, EventType
from topbit.arch.smmuv3_regs import StrtabBase, StrtabBaseCfg
from topbit.smmu.bus import FetchAbort
from topbit.smmu.outcome import Terminated
from topbit.smmu.ste import Illegal, StreamConfig, decode
from topbit.smmu.stream_table import BadStreamId, find_ste

TWO_LEVEL = 1
_FETCH = EventRecord.FetchAddr.mask


@dataclass(slots=True)
class RealmTable:
    """Where is the Realm stream table, and what is remembered of it?

    Attributes:
        enabled: SMMU_R_CR0.SMMUEN.
        base, cfg: SMMU_R_STRTAB_BASE and _CFG.
        stes: decoded entries, by StreamID.
    """

    enabled: bool = False
    base: StrtabBase = field(default_factory=StrtabBase)
    cfg: StrtabBaseCfg = field(default_factory=StrtabBaseCfg)
    stes: dict[int, StreamConfig] = field(default_factory=dict)


def find(
    sid: int,
    table: tuple[StrtabBase, StrtabBaseCfg],
    bits: tuple[int, int],
    fetch: Callable[[Pa], int],
    remembered: dict[int, StreamConfig],
    *,
    record_bad_sid: bool,
    realm: bool = False,
) -> StreamConfig | Terminated | EventRecord:
    """What is configured for `sid`, or how does its next access fail?

    Args:
        table: the two registers.
        bits: output address size, and SMMU_IDR1.SIDSIZE.
        fetch: gives the doubleword at a physical address; raises FetchAbort.
        remembered: entries that need not be fetched; a legal one is added.
        record_bad_sid: a StreamID out of range is an event (SMMU_CR2.RECINVSID).
    """
    if sid in remembered:
        return remembered[sid]
    oas_bits, sid_bits = bits
    try:
        ste = find_ste(sid, *table, sid_bits, fetch)
    except BadStreamId:
        event = EventRecord(Type=EventType.C_BAD_STREAMID, StreamID=sid)
        return event if record_bad_sid else Terminated("streamid", event)
    except FetchAbort as abort:
        return EventRecord(
            Type=EventType.F_STE_FETCH,
            StreamID=sid,
            GPCF=abort.gpf,
            FetchAddr=abort.pa & _FETCH,
        )
    decoded = decode(ste, oas_bits, realm=realm)
    if isinstance(decoded, Illegal):
        return EventRecord(Type=EventType.C_BAD_STE, StreamID=sid)
    remembered[sid] = decoded
    return decoded
