"""What does the RMM write into the Realm stream table, and when does the SMMU look at it?

A trusted device's stream walks its Realm's own table, so the SMMU remembers translations of it.
Whenever a valid entry is changed or removed the RMM must make the SMMU forget; the specification
leaves the when to the RMM (DEN0137, "Realm device assignment"; IHI0070 3.17). The stream table
has two levels, in granules that the host donated; an entry is valid from RSI_VDEV_DMA_ENABLE on,
and no longer than its device is trusted.
"""

from __future__ import annotations

from topbit.arch.ipa import Pa
from topbit.arch.smmuv3 import L1STD, L1STD_BYTES, STE, STE_BYTES
from topbit.rmm.device import Psmmu, Vdev
from topbit.rmm.realm import Realm
from topbit.rmm.state import RmmState

LOG2SIZE = 16
SPLIT = 6
STES = 1 << SPLIT
LEVEL1_GRANULES = 2  # 1024 descriptors


def realm_ste(realm: Realm) -> STE:
    """Which Realm stream table entry gives a device the Realm's own table?"""
    return realm.rtt.geometry.ste(realm.rtt_base, realm.vmid)


def link_level2(rmm: RmmState, psmmu: Psmmu, sid: int, table: Pa | None) -> None:
    """Let the level 1 descriptor for `sid` lead to a level 2 table of 64 entries; None: nowhere."""
    descriptor = L1STD(Span=SPLIT + 1, L2Ptr=table) if table is not None else L1STD()
    at = psmmu.level1[0] + (sid >> SPLIT) * L1STD_BYTES
    rmm.memory.write_u64(at, descriptor.words[0])
    if rmm.smmu is not None:
        rmm.smmu.changed(sid, STE(), None)


def has_entry(rmm: RmmState, sid: int) -> bool:
    """Is there an active stream table with an entry for `sid`?"""
    return _entry(rmm, sid) is not None


def _entry(rmm: RmmState, sid: int) -> Pa | None:
    psmmu = next(iter(rmm.psmmus.values()), None)  # every device stands behind the first
    if psmmu is None or not psmmu.level1:
        return None
    table = psmmu.level2.get(sid & -STES)
    return None if table is None else table + sid % STES * STE_BYTES


def write_entry(rmm: RmmState, vdev: Vdev, *, valid: bool) -> bool:
    """Write the stream table entry of a device. False: there is no place for it."""
    at = _entry(rmm, vdev.tdi_id)
    if at is None:
        return False
    ste = realm_ste(vdev.realm)
    ste.V = int(valid)
    rmm.memory.write(at, ste.pack())
    if rmm.smmu is not None:
        rmm.smmu.changed(vdev.tdi_id, ste, vdev.realm if valid else None)
    return True


def clear_entry(rmm: RmmState, sid: int) -> None:
    """Remove what the entry of a device that is assigned no longer said."""
    at = _entry(rmm, sid)
    if at is not None:
        rmm.memory.write(at, bytes(STE_BYTES))
        if rmm.smmu is not None:
            rmm.smmu.changed(sid, STE(), None)


def stop(rmm: RmmState, vdev: Vdev, why: str) -> None:
    """Make the device's stream invalid, whatever state the device is in."""
    if vdev.dma:
        vdev.dma = False
        write_entry(rmm, vdev, valid=False)
        if rmm.listening:
            rmm.say_vdev(vdev, why)


def stop_all(rmm: RmmState, realm: Realm) -> None:
    """Make the streams of all devices of a Realm invalid: it has ended."""
    for vdev in realm.vdevs:
        stop(rmm, rmm.vdevs[vdev], "the Realm has ended")
