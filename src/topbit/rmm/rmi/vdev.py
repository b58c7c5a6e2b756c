"""Which device interfaces are assigned to which Realm, and what does the host do with them?

The host assigns an interface (VDEV), has it locked and started by messages to the device
(RMI_VDEV_COMMUNICATE), and maps its registers; the Realm validates the mapping (RIPAS DEV) and
enables DMA. From then on the device's stream translates through the Realm's own table, until the
host takes the device back, the device fails, or the Realm ends.
Source: DEN0137 2.0 beta 0, "Realm device assignment"; observed on TF-RMM of July 2026.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Sequence

from topbit.arch.ipa import Pa
from topbit.arch.rmi import RmiStatus
from topbit.arch.rmi_da import PdevFlags, PdevState, VdevParams, VdevState
from topbit.rmm import conversation
from topbit.rmm.device import Conversation, Talk, Vdev
from topbit.rmm.granules import DELEGATED, GRANULE, NS, State
from topbit.rmm.realm import ENDED
from topbit.rmm.realm_smmu import clear_entry, has_entry, stop, write_entry
from topbit.rmm.rmi.communicate import communicate
from topbit.rmm.rmi.pdev import fail_interface
from topbit.rmm.rmi.stream import is_connected
from topbit.rmm.state import RmmState

SUCCESS, ERROR_INPUT, ERROR_REALM, ERROR_DEVICE, ERROR_GRANULE = (
    int(RmiStatus.SUCCESS),
    int(RmiStatus.ERROR_INPUT),
    int(RmiStatus.ERROR_REALM),
    int(RmiStatus.ERROR_DEVICE),
    int(RmiStatus.ERROR_GRANULE),
)


def vdev_create(rmm: RmmState, rd: int, pdev: int, vdev: int, params_pa: int) -> tuple[int, ...]:
    """RMI_VDEV_CREATE(rd, pdev, vdev, params): assign a device interface to a Realm."""
    realm, granules, device = rmm.realms.get(rd), rmm.granules, rmm.pdevs.get(pdev)
    if realm is None or device is None:
        return (ERROR_INPUT,)
    if not granules.has(vdev, DELEGATED) or not granules.has(params_pa, NS):
        return (ERROR_INPUT,)
    page = rmm.memory.read(params_pa, GRANULE)
    if realm.state in ENDED or not realm.da:
        return (ERROR_REALM,)
    ready = device.state == PdevState.READY and device.talk is None
    if device.category == PdevFlags.ROOT_PORT or not ready or not is_connected(device):
        return (ERROR_DEVICE,)
    flags, vdev_id, tdi_id, count = (
        int.from_bytes(page[at : at + 8], "little")
        for at in (
            VdevParams.FLAGS,
            VdevParams.VDEV_ID,
            VdevParams.TDI_ID,
            VdevParams.NUM_ADDR_RANGE,
        )
    )
    if flags or not device.rid_base <= tdi_id < device.rid_top:
        return (ERROR_INPUT,)
    ranges = _ranges(page, count)
    if ranges is None or vdev_id in realm.vdevs.values():
        return (ERROR_INPUT,)
    for other in rmm.vdevs.values():
        if other.tdi_id == tdi_id or _overlap(ranges, other.ranges):
            return (ERROR_DEVICE,)
    if not has_entry(rmm, tdi_id):
        return (ERROR_DEVICE,)
    made = Vdev(vdev, device, realm, vdev_id, tdi_id, ranges)
    granules.set(vdev, State.VDEV)
    device.vdevs += 1
    realm.vdevs[vdev] = vdev_id
    rmm.vdevs[vdev] = made
    write_entry(rmm, made, valid=False)
    _begin(rmm, made, conversation.nothing(), VdevState.UNLOCKED)
    return (SUCCESS,)


def _ranges(page: bytes, count: int) -> tuple[tuple[int, int], ...] | None:
    """Where are the interface's registers? None: the ranges are not ascending, or too many."""
    if count > VdevParams.MAX_ADDR_RANGE:
        return None
    pairs = struct.unpack_from(f"<{2 * count}Q", page, VdevParams.ADDR_RANGE)
    ranges = tuple(zip(pairs[::2], pairs[1::2], strict=True))
    if any(base >= top for base, top in ranges):
        return None
    if any(after[0] < before[1] for before, after in itertools.pairwise(ranges)):
        return None
    return ranges


def _overlap(some: Sequence[tuple[int, int]], others: Sequence[tuple[int, int]]) -> bool:
    return any(a < other_b and other_a < b for a, b in some for other_a, other_b in others)


def _begin(
    rmm: RmmState,
    vdev: Vdev,
    said: Conversation,
    state: VdevState,
    then: Callable[[], None] = lambda: None,
) -> None:
    """Let the interface be in a conversation; when all is said it is in `state`."""

    def done() -> None:
        vdev.state, vdev.talk = state, None
        then()
        if rmm.listening:
            rmm.say_vdev(vdev, "all was said")

    vdev.talk = Talk(said, done, lambda why: fail_interface(rmm, vdev, why))


def _named(
    rmm: RmmState, rd: int, pdev: int, vdev: int, other_realm: int = ERROR_INPUT
) -> Vdev | int:
    """Which assignment do the arguments name? Else the status that refuses them."""
    found = rmm.vdevs.get(vdev)
    if found is None or rd not in rmm.realms or pdev not in rmm.pdevs:
        return ERROR_INPUT
    if found.realm.rd != rd:
        return other_realm
    return found if found.pdev.pa == pdev else ERROR_DEVICE


def vdev_get_state(rmm: RmmState, vdev: int) -> tuple[int, ...]:
    """RMI_VDEV_GET_STATE(vdev) -> VdevState."""
    found = rmm.vdevs.get(vdev)
    return (ERROR_INPUT, 0) if found is None else (SUCCESS, int(found.state))


def vdev_communicate(rmm: RmmState, rd: int, pdev: int, vdev: int, data_pa: int) -> tuple[int, ...]:
    """RMI_VDEV_COMMUNICATE(rd, pdev, vdev, data): carry the next message to or from the device."""
    found = _named(rmm, rd, pdev, vdev)
    return (found,) if isinstance(found, int) else communicate(rmm, found.talk, data_pa)


def vdev_lock(rmm: RmmState, rd: int, pdev: int, vdev: int) -> tuple[int, ...]:
    """RMI_VDEV_LOCK(rd, pdev, vdev): begin to freeze the interface's configuration."""
    found = _named(rmm, rd, pdev, vdev)
    if isinstance(found, int):
        return (found,)
    if found.state != VdevState.UNLOCKED or found.talk is not None:
        return (ERROR_DEVICE,)

    def locked() -> None:
        found.lock_nonce = rmm.nonce()

    _begin(rmm, found, conversation.lock(found, 0), VdevState.LOCKED, locked)
    return (SUCCESS,)


def vdev_start(rmm: RmmState, rd: int, pdev: int, vdev: int) -> tuple[int, ...]:
    """RMI_VDEV_START(rd, pdev, vdev): begin to let a locked interface run."""
    found = _named(rmm, rd, pdev, vdev)
    if isinstance(found, int):
        return (found,)
    if found.state != VdevState.LOCKED or found.talk is not None:
        return (ERROR_DEVICE,)
    _begin(rmm, found, conversation.start(found), VdevState.STARTED)
    return (SUCCESS,)


def vdev_unlock(rmm: RmmState, rd: int, pdev: int, vdev: int) -> tuple[int, ...]:
    """RMI_VDEV_UNLOCK(rd, pdev, vdev) -> PA: the host takes the interface back.

    Its stream is invalid at once. While its registers are mapped, the PA of a page that is.
    """
    found = _named(rmm, rd, pdev, vdev, ERROR_DEVICE)
    if isinstance(found, int):
        return (found, 0)
    if found.state in (VdevState.NEW, VdevState.UNLOCKED) or found.talk is not None:
        return (ERROR_DEVICE, 0)
    mapped = _mapped(rmm, found)
    if mapped is not None:
        return (ERROR_GRANULE, mapped)

    def unlocked() -> None:
        found.unlocking = False
        found.lock_nonce = found.meas_nonce = found.report_nonce = 0
        found.start_nonce = found.measurements = found.report = b""

    found.unlocking = True
    stop(rmm, found, "RMI_VDEV_UNLOCK")
    _begin(rmm, found, conversation.unlock(found), VdevState.UNLOCKED, unlocked)
    return (SUCCESS, 0)


def _mapped(rmm: RmmState, vdev: Vdev) -> Pa | None:
    """Which page of the interface's registers is mapped? None: none is."""
    found = (
        rmm.granules.first_device(Pa(base), top - base, State.DEV_MAPPED)
        for base, top in vdev.ranges
    )
    return next((pa for pa in found if pa is not None), None)


def vdev_get_interface_report(rmm: RmmState, rd: int, pdev: int, vdev: int) -> tuple[int, ...]:
    """RMI_VDEV_GET_INTERFACE_REPORT(rd, pdev, vdev): begin to fetch what the interface tells."""
    found = _named(rmm, rd, pdev, vdev)
    if isinstance(found, int):
        return (found,)
    if not found.is_locked or found.talk is not None:
        return (ERROR_DEVICE,)

    def fetched() -> None:
        found.report_nonce += 1

    _begin(rmm, found, conversation.interface_report(found), found.state, fetched)
    return (SUCCESS,)


def vdev_get_measurements(
    rmm: RmmState, rd: int, pdev: int, vdev: int, params_pa: int
) -> tuple[int, ...]:
    """RMI_VDEV_GET_MEASUREMENTS(rd, pdev, vdev, params): begin to fetch what a device measured."""
    found = _named(rmm, rd, pdev, vdev)
    if isinstance(found, int):
        return (found,)
    if not rmm.granules.has(params_pa, NS):
        return (ERROR_INPUT,)
    if found.state not in _KNOWN or found.unlocking or found.talk is not None:
        return (ERROR_DEVICE,)

    def fetched() -> None:
        found.meas_nonce += 1

    said = conversation.measurements(found, rmm.nonce)
    _begin(rmm, found, said, found.state, fetched)
    return (SUCCESS,)


_KNOWN = (VdevState.UNLOCKED, VdevState.LOCKED, VdevState.STARTED)


def vdev_abort(rmm: RmmState, rd: int, pdev: int, vdev: int) -> tuple[int, ...]:
    """RMI_VDEV_ABORT(rd, pdev, vdev): give the conversation up; its state is unknown then."""
    found = _named(rmm, rd, pdev, vdev)
    if isinstance(found, int):
        return (found,)
    if found.talk is None:
        return (ERROR_DEVICE,)
    fail_interface(rmm, found, "RMI_VDEV_ABORT")
    return (SUCCESS,)


def vdev_destroy(rmm: RmmState, rd: int, pdev: int, vdev: int) -> tuple[int, ...]:
    """RMI_VDEV_DESTROY(rd, pdev, vdev): an interface that is not locked is taken from the Realm.

    So is one that failed, when none of its registers is mapped: it may never answer again.
    """
    found = _named(rmm, rd, pdev, vdev)
    if isinstance(found, int):
        return (found,)
    loose = found.state in (VdevState.NEW, VdevState.UNLOCKED)
    lost = found.state == VdevState.ERROR and _mapped(rmm, found) is None
    if not (loose or lost) or (found.talk is not None and found.state != VdevState.NEW):
        return (ERROR_DEVICE,)
    del rmm.vdevs[vdev], found.realm.vdevs[vdev]
    found.pdev.vdevs -= 1
    clear_entry(rmm, found.tdi_id)
    rmm.granules.set(found.pa, DELEGATED)
    return (SUCCESS,)
