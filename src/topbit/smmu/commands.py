"""What does each command of the queue do to the SMMU's caches?

Source: IHI0070 H.a chapter 4, for an SMMU with stage 2 only and no ATS, PRI or stalls: the commands
of those features are CERROR_ILL.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from topbit.arch.ipa import Ipa
from topbit.arch.smmuv3 import Command, Opcode
from topbit.arch.stage2 import Granule
from topbit.errors import PlatformFault
from topbit.smmu.ste import StreamConfig
from topbit.smmu.tlb import Tlb

_TG_SHIFTS = {1: 12, 2: 14, 3: 16}
_MAX_SCALE = 39


class IllegalCommand(PlatformFault):
    """Which command is CERROR_ILL?"""


@dataclass(slots=True)
class Caches:
    """What does the SMMU remember of tables in memory?

    Attributes:
        tlb: translations.
        stes: decoded stream table entries of Non-secure streams, by StreamID. Only entries that
            are legal are remembered.
    """

    tlb: Tlb = field(default_factory=Tlb)
    stes: dict[int, StreamConfig] = field(default_factory=dict)


def execute(command: Command, caches: Caches, *, ds: bool) -> None:
    """Do what `command`, from the Non-secure command queue, asks for.

    Args:
        ds: SMMU_IDR5.DS, which widens SCALE and adds a level to 16K ranges.

    Raises:
        IllegalCommand: CERROR_ILL.
    """
    match command.Opcode:
        case Opcode.PREFETCH_CONFIG | Opcode.PREFETCH_ADDR:
            _check_ssec(command)  # a hint; nothing is prefetched
        case Opcode.CFGI_STE:
            _check_ssec(command)
            caches.stes.pop(command.StreamID, None)
            caches.tlb.generation += 1
        case Opcode.CFGI_STE_RANGE:
            _check_ssec(command)
            _forget_stes(command, caches)
        case Opcode.TLBI_S12_VMALL:
            caches.tlb.invalidate_vmid(False, command.VMID)
        case Opcode.TLBI_S2_IPA:
            _invalidate_ipa(command, caches.tlb, ds)
        case Opcode.TLBI_NSNH_ALL:
            caches.tlb.invalidate_all(False)
        case Opcode.SYNC:
            if command.CS == 3:
                raise IllegalCommand
        case _:
            raise IllegalCommand


def _check_ssec(command: Command) -> None:
    if command.SSec:
        raise IllegalCommand


def _forget_stes(command: Command, caches: Caches) -> None:
    """CMD_CFGI_STE_RANGE, and with Range 31 CMD_CFGI_ALL."""
    shift = command.Range + 1
    caches.tlb.generation += 1
    for sid in [s for s in caches.stes if s >> shift == command.StreamID >> shift]:
        del caches.stes[sid]


def _invalidate_ipa(command: Command, tlb: Tlb, ds: bool) -> None:
    """CMD_TLBI_S2_IPA: one address, or with TG a range of entries of one granule (4.4.1.1)."""
    if command.TG == 0:
        tlb.invalidate_range(False, command.VMID, Ipa(command.Address))
        return
    scale = min(command.SCALE, _MAX_SCALE) if ds else command.SCALE & 0x1F
    if command.NUM == 0 and scale == 0 and command.TTL == 0:
        raise IllegalCommand
    granule = Granule(_TG_SHIFTS[command.TG])
    size = (command.NUM + 1) << (scale + granule.shift)
    ttl = command.TTL
    if ttl == 1 and granule.shift == 14 and not ds:
        ttl = 0
    levels = range(4) if ttl == 0 else (ttl,)
    sizes = frozenset(granule.level_shift(level) for level in levels)
    tlb.invalidate_range(
        False, command.VMID, Ipa(command.Address), size, granule=granule.shift, shifts=sizes
    )
