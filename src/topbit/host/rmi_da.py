"""Which RMI calls give a device to a Realm, as a device that the Realm may trust?

The host names the physical device (PDEV), assigns its interface to the Realm (VDEV), and brings
it to the TDISP state in which the Realm can accept it. Its stream stays invalid until then.
Calls: DEN0137 2.0 beta 0. Linux, "ARM CCA Device Assignment support" (2025):
drivers/virt/coco/arm-cca-host/rmi-da.c, where the guest asks for the lock and the start.
"""

from __future__ import annotations

from typing import NamedTuple

from topbit.arch.ipa import Pa
from topbit.arch.rmi import Rmi2, VdevParams
from topbit.host.pages import PAGE
from topbit.host.rme import RealmHost


class Assigned(NamedTuple):
    """Which granules name a device and its assignment to a Realm?"""

    pdev: Pa
    vdev: Pa


def assign(realm: RealmHost, sid: int) -> Assigned:
    """Assign the device with StreamID `sid` to the Realm, locked and started.

    The Realm knows it by its requester ID, which is its StreamID.

    Raises:
        RmiError: the RMM refused.
    """
    params = realm.pages.page()
    realm.memory.fill(params, PAGE)
    realm.memory.write_u64(params + VdevParams.VDEV_ID, sid)
    realm.memory.write_u64(params + VdevParams.TDI_ID, sid)
    pdev, vdev = realm.delegated_page(), realm.delegated_page()
    realm.call(Rmi2.PDEV_CREATE, pdev, params)
    realm.call(Rmi2.VDEV_CREATE, realm.rd, pdev, vdev, params)
    realm.pages.free.append(params)
    for call in (Rmi2.VDEV_LOCK, Rmi2.VDEV_START):
        realm.call(call, realm.rd, pdev, vdev)
    return Assigned(pdev, vdev)


def unlock(realm: RealmHost, device: Assigned) -> None:
    """Take the device back: its stream becomes invalid, whatever the Realm does with it.

    Raises:
        RmiError: the RMM refused.
    """
    realm.call(Rmi2.VDEV_UNLOCK, realm.rd, device.pdev, device.vdev)
