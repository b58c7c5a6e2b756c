"""What does a stream table entry tell the SMMU to do, or why is it ILLEGAL?

Source: IHI0070 H.a, 5.2 (each condition below names its field), and the start level rules of
DDI0487 for VTCR_EL2, which 5.2 refers to (S2SL0, S2T0SZ).
"""

from __future__ import annotations

from dataclasses import dataclass

from topbit.arch.ipa import Pa
from topbit.arch.smmuv3 import ADDRESS_BITS, S2TG_SHIFTS, STE, Config
from topbit.arch.stage2 import MAX_ROOT_TABLES, Granule

MAX_S2T0SZ = 39  # without FEAT_TTST (SMMU_IDR3.STT = 0)


@dataclass(frozen=True, slots=True)
class Stage2:
    """How does a stream translate?

    Attributes:
        root: physical address of the (first) start-level table.
        granule: page size and descriptor form.
        start_level: -1 to 3.
        input_bits: width of the IPA space.
        output_bits: width that output addresses must fit (effective S2PS).
        vmid: tag of its TLB entries.
        access_flag: an access flag of 0 faults (STE.S2AFFD = 0).
        record: stage-2 faults are recorded (STE.S2R).
        realm: a Realm stream: tables are in Realm memory, NS bit of a leaf is meaningful.
    """

    root: Pa
    granule: Granule
    start_level: int
    input_bits: int
    output_bits: int
    vmid: int
    access_flag: bool
    record: bool
    realm: bool = False


@dataclass(frozen=True, slots=True)
class StreamConfig:
    """What happens to the traffic of a stream? (`stage2` is None for abort and bypass)"""

    config: Config
    stage2: Stage2 | None = None


@dataclass(frozen=True, slots=True)
class Illegal:
    """Why is the STE ILLEGAL (C_BAD_STE)? `reason` names the field."""

    reason: str


ABORT = StreamConfig(Config.ABORT)
BYPASS = StreamConfig(Config.BYPASS)
DISABLED = StreamConfig(Config.BYPASS)  # no STE: SMMU_CR0.SMMUEN = 0, told apart by identity


def decode(ste: STE, oas_bits: int, *, realm: bool = False) -> StreamConfig | Illegal:
    """What does `ste` configure, for an SMMU with stage 2 only and `oas_bits` of output address?

    Such an SMMU has SMMU_IDR0.S1P = 0, HTTU = 0, STALL_MODEL = 0b01, TTF = 0b10, TTENDIAN = 0b10,
    SMMU_IDR3.STT = 0, all granules, and SMMU_IDR5.DS = 1 exactly with 52-bit addresses.
    """
    if not ste.V:
        return Illegal("V = 0")
    config = ste.Config
    if config < Config.BYPASS:
        return ABORT
    if config == Config.BYPASS:
        return BYPASS
    if config & 1:
        return Illegal(f"Config = {config}: stage 1 is not implemented")
    if not ste.S2AA64:
        return Illegal("S2AA64 = 0: VMSAv8-32 LPAE tables are not supported")
    if ste.S2ENDI:
        return Illegal("S2ENDI = 1: big-endian tables are not supported")
    if ste.S2HA or ste.S2HD:
        return Illegal("S2HA or S2HD = 1: hardware update (HTTU) is not implemented")
    if ste.S2S:
        return Illegal("S2S = 1: stalling is not implemented")
    if ste.S2TG not in S2TG_SHIFTS:
        return Illegal("S2TG is reserved")
    return _decode_geometry(ste, oas_bits, realm)


def _decode_geometry(ste: STE, oas_bits: int, realm: bool) -> StreamConfig | Illegal:
    """Which table geometry do S2TG, S2T0SZ, S2SL0, S2PS, S2DS and S2TTB give?"""
    shift = S2TG_SHIFTS[ste.S2TG]
    wide = oas_bits == 52 and (shift == 16 or bool(ste.S2DS))
    granule = Granule(shift, wide)
    widest = 52 if wide else 48
    input_bits = 64 - ste.S2T0SZ
    if ste.S2T0SZ > MAX_S2T0SZ or input_bits > min(widest, oas_bits):
        return Illegal(f"S2T0SZ = {ste.S2T0SZ} is out of range")
    level = _start_level(ste, granule, oas_bits)
    if level is None:
        return Illegal(f"S2SL0 = {ste.S2SL0} is reserved")
    index_bits = input_bits - granule.level_shift(level)
    if index_bits < 1 or granule.root_tables(input_bits, level) > MAX_ROOT_TABLES:
        return Illegal(f"S2SL0 = {ste.S2SL0} does not fit {input_bits} input bits")
    output_bits = min(ADDRESS_BITS.get(ste.S2PS, 52), oas_bits)
    if ste.S2TTB >> min(output_bits, widest):
        return Illegal("S2TTB lies outside the output address size")
    alignment = 3 + index_bits
    if output_bits == 52:
        alignment = max(alignment, 6)
    stage2 = Stage2(
        root=Pa(ste.S2TTB >> alignment << alignment),
        granule=granule,
        start_level=level,
        input_bits=input_bits,
        output_bits=output_bits,
        vmid=ste.S2VMID,
        access_flag=not ste.S2AFFD,
        record=bool(ste.S2R),
        realm=realm,
    )
    return StreamConfig(Config.S2, stage2)


def _start_level(ste: STE, granule: Granule, oas_bits: int) -> int | None:
    """At which level does the walk start? None: reserved (DDI0487, S2InvalidSL without TTST).

    The highest start level of each granule needs a physical address size that can use it.
    """
    sl0 = ste.S2SL0
    if granule.shift == 12:
        if granule.ds and ste.S2SL0_2:
            return -1 if sl0 == 0 else None
        return None if sl0 == 3 or (sl0 == 2 and oas_bits < 44) else 2 - sl0
    if granule.shift == 14:
        if sl0 == 3:
            return 0 if granule.ds else None
        return None if sl0 == 2 and oas_bits < 42 else 3 - sl0
    return None if sl0 == 3 or (sl0 == 2 and oas_bits < 44) else 3 - sl0
