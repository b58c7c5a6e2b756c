"""Which RMI calls give a device to a Realm, as a device that the Realm may trust?

The host names the physical device (PDEV) and its root port, carries messages between the RMM and
the device, gives memory for the SMMU's Realm stream table, assigns the device's interface to the
Realm (VDEV) and locks it. It starts the interface when the Realm asks for that; the stream stays
invalid until the Realm enables DMA.
Calls: DEN0137 2.0 beta 0. Linux, "ARM CCA Device Assignment support" (2025):
drivers/virt/coco/arm-cca-host/rmi-da.c, arm-cca.c.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from topbit.arch.ipa import Ipa, Pa
from topbit.arch.rhi import RhiDaStatus, RhiTdiState
from topbit.arch.rmi import Rmi2
from topbit.arch.rmi_da import (
    CommExitFlags,
    CommStatus,
    DevCommData,
    KeyAlgorithm,
    PdevFlags,
    PdevParams,
    PublicKeyParams,
    StreamParams,
    StreamType,
    VdevParams,
)
from topbit.arch.rmi_params import HASH_SHA_512
from topbit.host.pages import PAGE
from topbit.host.rme import RmiError
from topbit.host.rme_ranges import RangeRealmHost

STREAM_TABLE = 64  # StreamIDs of one level 2 table


class Mailbox(Protocol):
    """How does the host speak with a physical device? (PCI DOE)"""

    @property
    def key(self) -> bytes:
        """Which public key does its certificate chain end with?"""
        ...

    def exchange(self, request: bytes) -> bytes:
        """What does it answer?"""
        ...


@dataclass(slots=True)
class Assigned:
    """Which granules name a device and its assignment to a Realm, and what of it is mapped?

    Attributes:
        pdev, vdev: PAs of the two granules.
        mailbox: the device.
        registers: where its registers are: (PA, bytes).
        mapped: where they are mapped in the Realm: (IPA, PA, bytes).
    """

    pdev: Pa
    vdev: Pa
    mailbox: Mailbox
    registers: Sequence[tuple[Pa, int]]
    mapped: list[tuple[Ipa, Pa, int]]


class RealmDevices:
    """Which devices has the host assigned to a Realm?

    Args:
        realm: the Realm.
        psmmu: PA of the registers of the SMMU that all of them stand behind.
        unmaps: it unmaps a device's registers before it takes the device back.

    Attributes:
        assigned: by what the Realm calls them: their requester ID, which is the StreamID.
    """

    def __init__(self, realm: RangeRealmHost, psmmu: Pa, *, unmaps: bool = True) -> None:
        self.realm = realm
        self.assigned: dict[int, Assigned] = {}
        self._psmmu = psmmu
        self._unmaps = unmaps
        self._tables: set[int] = set()
        self._port: Pa | None = None
        self._data = realm.pages.page()
        self._request = realm.pages.page()
        self._response = realm.pages.page()

    def assign(self, sid: int, mailbox: Mailbox, registers: Sequence[tuple[Pa, int]] = ()) -> None:
        """Assign the device with StreamID `sid` to the Realm, locked, its evidence fetched.

        Raises:
            RmiError: the RMM refused, or does not trust the device.
        """
        port = self._root_port()
        self._stream_table(sid)
        pdev = self._pdev(PdevFlags.ENDPOINT_OFF_CHIP, sid, sid + 1)
        self._talk(Rmi2.PDEV_COMMUNICATE, (pdev,), mailbox)
        self._set_key(pdev, mailbox)
        self._connect(pdev, port, mailbox)
        for pa, size in registers:
            self.realm.delegate(pa, size)
        vdev = self._vdev(pdev, sid, registers)
        self.assigned[sid] = Assigned(pdev, vdev, mailbox, registers, [])
        self._of_vdev(sid)  # it becomes UNLOCKED
        self.lock(sid)

    def _root_port(self) -> Pa:
        """Which PDEV is the root port? Made, with the SMMU's Realm side, for the first device."""
        if self._port is None:
            params = self._page({})
            self.realm.operate(Rmi2.PSMMU_ACTIVATE, self._psmmu, params)
            self.realm.pages.free.append(params)
            self._port = self._pdev(PdevFlags.ROOT_PORT, 0, 1 << 16)
            self._talk(Rmi2.PDEV_COMMUNICATE, (self._port,), None)
        return self._port

    def _stream_table(self, sid: int) -> None:
        first = sid & -STREAM_TABLE
        if first not in self._tables:
            self.realm.operate(Rmi2.PSMMU_ST_L2_CREATE, self._psmmu, first)
            self._tables.add(first)

    def _pdev(self, category: int, rid_base: int, rid_top: int) -> Pa:
        params = self._page(
            {
                PdevParams.FLAGS: PdevFlags(SPDM=1, CATEGORY=category).words[0],
                PdevParams.RID_BASE: rid_base,
                PdevParams.RID_TOP: rid_top,
                PdevParams.HASH_ALGO: HASH_SHA_512,
            }
        )
        pdev = self.realm.delegated_page()
        self.realm.operate(Rmi2.PDEV_CREATE, pdev, params)
        self.realm.pages.free.append(params)
        return pdev

    def _set_key(self, pdev: Pa, mailbox: Mailbox) -> None:
        key = mailbox.key
        params = self._page(
            {PublicKeyParams.KEY_LEN: len(key), PublicKeyParams.ALGO: KeyAlgorithm.ECDSA_P384}
        )
        self.realm.memory.write(params + PublicKeyParams.KEY, key)
        self.realm.call(Rmi2.PDEV_SET_PUBKEY, pdev, params)
        self.realm.pages.free.append(params)
        self._talk(Rmi2.PDEV_COMMUNICATE, (pdev,), mailbox)

    def _connect(self, pdev: Pa, port: Pa, mailbox: Mailbox) -> None:
        params = self._page(
            {
                StreamParams.STREAM_TYPE: StreamType.NCOH,
                StreamParams.PDEV_1: pdev,
                StreamParams.PDEV_2: port,
            }
        )
        handle = self.realm.call(Rmi2.PDEV_STREAM_CONNECT, params)[1]
        self.realm.pages.free.append(params)
        for end in (port, pdev, port, pdev):  # each waits once for the other
            self._talk(Rmi2.PDEV_COMMUNICATE, (end,), mailbox)
        self.realm.call(Rmi2.PDEV_STREAM_COMPLETE, pdev, port, handle)

    def _vdev(self, pdev: Pa, sid: int, registers: Sequence[tuple[Pa, int]]) -> Pa:
        params = self._page(
            {
                VdevParams.VDEV_ID: sid,
                VdevParams.TDI_ID: sid,
                VdevParams.NUM_ADDR_RANGE: len(registers),
            }
        )
        ranges = b"".join(struct.pack("<QQ", pa, pa + size) for pa, size in sorted(registers))
        self.realm.memory.write(params + VdevParams.ADDR_RANGE, ranges)
        vdev = self.realm.delegated_page()
        self.realm.call(Rmi2.VDEV_CREATE, self.realm.rd, pdev, vdev, params)
        self.realm.pages.free.append(params)
        return vdev

    def _page(self, fields: dict[int, int]) -> Pa:
        page = self.realm.pages.page()
        self.realm.memory.fill(page, PAGE)
        for offset, value in fields.items():
            self.realm.memory.write_u64(page + offset, value)
        return page

    # Messages.

    def _talk(self, call: Rmi2, names: Sequence[int], mailbox: Mailbox | None) -> None:
        """Carry messages until nothing is left to say, or the stream's other end has to speak."""
        memory, data = self.realm.memory, self._data
        memory.fill(data, PAGE)
        memory.write_u64(data + DevCommData.REQ_ADDR, self._request)
        memory.write_u64(data + DevCommData.RESP_ADDR, self._response)
        while True:
            self.realm.call(call, *names, data)
            flags = CommExitFlags.of(memory.read_u64(data + DevCommData.EXIT_FLAGS))
            if not flags.REQ_SEND or mailbox is None:
                return
            length = memory.read_u64(data + DevCommData.REQ_LEN)
            response = mailbox.exchange(memory.read(self._request, length))
            memory.write(self._response, response)
            memory.write_u64(data + DevCommData.ENTER_STATUS, CommStatus.RESPONSE)
            memory.write_u64(data + DevCommData.RESP_LEN, len(response))

    def _names(self, sid: int) -> tuple[Pa, Pa, Pa]:
        device = self.assigned[sid]
        return self.realm.rd, device.pdev, device.vdev

    def _of_vdev(self, sid: int) -> None:
        self._talk(Rmi2.VDEV_COMMUNICATE, self._names(sid), self.assigned[sid].mailbox)

    # What becomes of the interface.

    def lock(self, sid: int) -> None:
        """Lock the interface, and fetch what the Realm will want to know of it.

        Raises:
            RmiError: the RMM refused, or does not trust the device.
        """
        names = self._names(sid)
        self.realm.call(Rmi2.VDEV_LOCK, *names)
        self._of_vdev(sid)
        params = self._page({})
        self.realm.call(Rmi2.VDEV_GET_MEASUREMENTS, *names, params)
        self.realm.pages.free.append(params)
        self._of_vdev(sid)
        self.realm.call(Rmi2.VDEV_GET_INTERFACE_REPORT, *names)
        self._of_vdev(sid)

    def start(self, sid: int) -> None:
        """Let the locked interface run.

        Raises:
            RmiError: the RMM refused, or does not trust the device.
        """
        self.realm.call(Rmi2.VDEV_START, *self._names(sid))
        self._of_vdev(sid)

    def unlock(self, sid: int) -> None:
        """Take the interface back: its stream becomes invalid, whatever the Realm does with it.

        Raises:
            RmiError: the RMM refused: its registers are still mapped.
        """
        device = self.assigned[sid]
        while self._unmaps and device.mapped:
            ipa, _, size = device.mapped[-1]
            self.realm.unmap_registers(ipa, size)
            device.mapped.pop()
        self.realm.call(Rmi2.VDEV_UNLOCK, *self._names(sid))
        self._of_vdev(sid)

    # What the Realm asks.

    def set_state(self, sid: int, state: int) -> RhiDaStatus:
        """Do what the Realm asks of an interface (RHI_DA_VDEV_SET_TDI_STATE)."""
        calls = {
            RhiTdiState.RUN: self.start,
            RhiTdiState.CONFIG_LOCKED: self.lock,
            RhiTdiState.CONFIG_UNLOCKED: self.unlock,
        }
        if sid not in self.assigned:
            return RhiDaStatus.ERROR_INVALID_VDEV_ID
        if state not in calls:
            return RhiDaStatus.ERROR_INPUT
        try:
            calls[RhiTdiState(state)](sid)
        except RmiError:
            return RhiDaStatus.ERROR_DEVICE
        return RhiDaStatus.SUCCESS

    def named(self, rec: Pa, sid: int) -> None:
        """Tell the RMM which VDEV the Realm means (VDEV_REQUEST exit); nothing if there is none."""
        if sid in self.assigned:
            self.realm.port.rmi(Rmi2.VDEV_COMPLETE, [rec, self.assigned[sid].vdev])

    def validate(self, rec: Pa, sid: int, ipa: Ipa, size: int, pa: Pa) -> bool:
        """Map registers where the Realm expects them, and have that validated. False: refused."""
        device = self.assigned.get(sid)
        if device is None:
            return False
        try:
            self.realm.map_registers(device.vdev, ipa, size, pa)
            device.mapped.append((ipa, pa, size))
            self.realm.dev_validate(rec, ipa, size)
        except (RmiError, MemoryError):
            return False
        return True
