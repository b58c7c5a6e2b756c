"""F: was a refused plain address one that firmware gave the device, before the kernel took over?

EDK2's ArmCcaIoMmu hands devices the plain address of a bounce buffer, the kernel the alias
(tianocore/edk2 pull 12224): on one machine two conventions.
"""

from __future__ import annotations

import polars as pl

from topbit.recording import Recording
from topbit.recording.recording import NUMBER
from topbit.replay.columns import MAPS, lies_in
from topbit.replay.faults import Fault
from topbit.replay.kept import kept
from topbit.rules.releases import policy_of


def may_be_firmwares(recording: Recording, fault: Fault) -> bool:
    """May a refused address be firmware's: plain, in RAM, and given by nothing that was traced?

    Only where a log of firmware is there, and the kernel itself keeps the convention; where the
    order is known, only before the kernel's first mapping.
    """
    platform, value = recording.platform, fault.row["address"]
    if value is None or platform.has_shared_bit(value) or not lies_in(value, platform.ram):
        return False
    if fault.live or fault.alias or fault.mapped.at(value) or fault.mapped.buffer_at(value):
        return False
    policy = policy_of(platform)
    if not _has_firmware(recording) or (policy is not None and not policy.alias_for_shared):
        return False
    first = _first_mapping(recording)
    return not fault.ordered or first is None or fault.row[NUMBER] < first


@kept
def _has_firmware(recording: Recording) -> bool:
    """Did firmware leave a log?"""
    if any(file.role == "firmware" for file in recording.platform.files):
        return True
    return not recording.of_kind("trouble", where=pl.col("agent") == "firmware").is_empty()


@kept
def _first_mapping(recording: Recording) -> int | None:
    """Which row is the guest kernel's first mapping?"""
    first: int | None = recording.scan(*MAPS).select(pl.min(NUMBER)).collect().item()
    return first
