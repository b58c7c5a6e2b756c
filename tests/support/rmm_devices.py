"""A host that takes a device through PDEV and VDEV, call by call, and a guest that accepts it."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from rmm_host import LIST, PAGE, PARAMS, RUN, Host
from topbit.arch.rmi import ExitReason, Rmi2
from topbit.arch.rmi_da import (
    CommExitFlags,
    DevCommData,
    PdevParams,
    PublicKeyParams,
    StreamParams,
    VdevParams,
)
from topbit.arch.rmi_params import RecEnter
from topbit.arch.rsi import Rsi
from topbit.devices.tdi import TdiBehaviour, TrustedDevice
from topbit.rmm import Exit, Resume
from topbit.rmm.device import Pdev, Vdev
from topbit.rmm.state import PSMMU

SID, VDEV_ID = 0x10, 7
BAR, BAR_SIZE = 0x1000_0000, 0x1_0000
COMM, REQUEST, RESPONSE = PARAMS, LIST + PAGE, LIST + 2 * PAGE
DIGEST = 64
RANGES = ((BAR, BAR + BAR_SIZE),)


class Device:
    """One endpoint, its root port, and its assignment to the host's Realm.

    Attributes:
        model: what answers.
        pdev, port, vdev: granules.
    """

    def __init__(
        self,
        host: Host,
        behaviour: TdiBehaviour = TdiBehaviour.GOOD,
        ranges: Sequence[tuple[int, int]] = RANGES,
    ) -> None:
        self.host = host
        self.ranges = ranges
        self.model = TrustedDevice("endpoint", [SID, SID + 1], [(BAR, BAR_SIZE)], behaviour)
        self.pdev = self.port = self.vdev = self.stream = 0

    @property
    def names(self) -> tuple[int, int, int]:
        return self.host.rd, self.pdev, self.vdev

    @property
    def state(self) -> Vdev:
        return self.host.rmm.vdevs[self.vdev]

    @property
    def physical(self) -> Pdev:
        return self.host.rmm.pdevs[self.pdev]

    def page(self, fields: dict[int, int], at: int = PARAMS) -> int:
        self.host.memory.fill(at, PAGE)
        for offset, value in fields.items():
            self.host.memory.write_u64(at + offset, value)
        return at

    def talk(self, call: int, *names: int) -> int:
        """Carry messages to the end; X0 of the last call."""
        memory = self.host.memory
        self.page({DevCommData.REQ_ADDR: REQUEST, DevCommData.RESP_ADDR: RESPONSE}, COMM)
        while True:
            out = self.host.status(call, *names, COMM)
            flags = CommExitFlags.of(memory.read_u64(COMM + DevCommData.EXIT_FLAGS))
            if out or not flags.REQ_SEND:
                return out
            size = memory.read_u64(COMM + DevCommData.REQ_LEN)
            answer = self.model.exchange(memory.read(REQUEST, size))
            memory.write(RESPONSE, answer)
            memory.write_u64(COMM + DevCommData.ENTER_STATUS, 1)
            memory.write_u64(COMM + DevCommData.RESP_LEN, len(answer))

    # Step by step.

    def create_pdevs(self) -> None:
        host = self.host
        self.port, self.pdev = host.granule(), host.granule()
        wanted = ((self.port, 1, 0, 1 << 16), (self.pdev, 3, SID, SID + 2))
        for pdev, flags, base, top in wanted:
            fields = {PdevParams.FLAGS: flags, PdevParams.RID_BASE: base, PdevParams.RID_TOP: top}
            params = self.page(fields)
            out = host.operate(Rmi2.PDEV_CREATE, pdev, params, donations=[(host.granule(3), 3)])
            assert out[0] == 0
        assert self.talk(Rmi2.PDEV_COMMUNICATE, self.port) == 0

    def identify(self) -> int:
        return self.talk(Rmi2.PDEV_COMMUNICATE, self.pdev)

    def set_key(self, key: bytes | None = None) -> int:
        key = self.model.key if key is None else key
        params = self.page({PublicKeyParams.KEY_LEN: len(key), PublicKeyParams.ALGO: 2})
        self.host.memory.write(params, key)
        self.host.ok(Rmi2.PDEV_SET_PUBKEY, self.pdev, params)
        return self.talk(Rmi2.PDEV_COMMUNICATE, self.pdev)

    def connect(self) -> None:
        fields = {StreamParams.PDEV_1: self.pdev, StreamParams.PDEV_2: self.port}
        params = self.page(fields | {StreamParams.STREAM_TYPE: 1})
        self.stream = self.host.ok(Rmi2.PDEV_STREAM_CONNECT, params)[1]
        self.both_ends()

    def both_ends(self) -> None:
        for end in (self.port, self.pdev, self.port, self.pdev):
            assert self.talk(Rmi2.PDEV_COMMUNICATE, end) == 0
        self.host.ok(Rmi2.PDEV_STREAM_COMPLETE, self.pdev, self.port, self.stream)

    def activate_psmmu(self) -> None:
        host = self.host
        table = host.granule(2, align=2 * PAGE)
        donations = [(table, 2), (host.granule(), 1), (host.granule(), 1)]
        assert host.operate(Rmi2.PSMMU_ACTIVATE, PSMMU, RUN, donations=donations)[0] == 0
        l2 = [(host.granule(), 1)]
        out = host.operate(Rmi2.PSMMU_ST_L2_CREATE, PSMMU, SID & -64, donations=l2)
        assert out[0] == 0

    def vdev_params(self, sid: int = SID, vdev_id: int = VDEV_ID, flags: int = 0) -> int:
        fields = {VdevParams.FLAGS: flags, VdevParams.VDEV_ID: vdev_id, VdevParams.TDI_ID: sid}
        page = self.page(fields | {VdevParams.NUM_ADDR_RANGE: len(self.ranges)})
        words = [word for pair in self.ranges for word in pair]
        self.host.memory.write(page + VdevParams.ADDR_RANGE, struct.pack(f"<{len(words)}Q", *words))
        return page

    def create_vdev(self) -> None:
        self.vdev = self.host.granule()
        self.host.ok(Rmi2.VDEV_CREATE, *self.names, self.vdev_params())
        assert self.communicate() == 0

    def communicate(self) -> int:
        return self.talk(Rmi2.VDEV_COMMUNICATE, *self.names)

    def do(self, call: int, *more: int) -> int:
        """A call that begins a conversation, and the conversation; X0 of what failed, or 0."""
        out = self.host.rmm.rmi(call, [*self.names, *more])[0]
        return out or self.communicate()

    def lock(self) -> int:
        return self.do(Rmi2.VDEV_LOCK)

    def start(self) -> int:
        return self.do(Rmi2.VDEV_START)

    def unlock(self) -> int:
        return self.do(Rmi2.VDEV_UNLOCK)

    def nonces(self) -> tuple[int, int, int]:
        vdev = self.state
        return vdev.lock_nonce, vdev.meas_nonce, vdev.report_nonce

    # What the Realm asks.

    def ask(self, *regs: int, name: bool = True) -> Resume | Exit:
        """An RSI call about the device, which the host names, or not."""
        got = self.host.rsi(*regs)
        if not isinstance(got, Exit) or got.reason != ExitReason.VDEV_REQUEST:
            return got
        if name:
            self.host.status(Rmi2.VDEV_COMPLETE, self.host.recs[0], self.vdev)
        self.host.memory.write_u64(RUN + RecEnter.FLAGS, 0)
        self.host.ok(0xC400_015C, self.host.recs[0], RUN)
        return self.host.rmm.rec(self.host.recs[0]).resume

    def answers(self, *regs: int, name: bool = True) -> tuple[int, ...]:
        got = self.ask(*regs, name=name)
        assert isinstance(got, Resume), got
        return tuple(got.regs[i] for i in range(len(got.regs)))

    def enable(self, nonces: tuple[int, int, int] | None = None) -> int:
        chosen = self.nonces() if nonces is None else nonces
        return self.answers(Rsi.VDEV_DMA_ENABLE, VDEV_ID, 0, 0, *chosen)[0]

    def disable(self) -> int:
        return self.answers(Rsi.VDEV_DMA_DISABLE, VDEV_ID)[0]


def assign(
    host: Host,
    behaviour: TdiBehaviour = TdiBehaviour.GOOD,
    ranges: Sequence[tuple[int, int]] = RANGES,
) -> Device:
    """A device that is assigned to the host's Realm, unlocked; the Realm has DA."""
    device = Device(host, behaviour, ranges)
    device.create_pdevs()
    assert device.identify() == 0
    assert device.set_key() == 0
    device.connect()
    device.activate_psmmu()
    device.create_vdev()
    return device


def device_host(abi: str = "2.0") -> Host:
    """A host with an active Realm that may have devices, and a device's registers delegated."""
    host = Host(abi=abi)  # type: ignore[arg-type]
    host.rmm.granules.add_device_memory(BAR, BAR_SIZE)
    host.ok(Rmi2.GRANULE_RANGE_DELEGATE, BAR, BAR + BAR_SIZE)
    host.create(da=True)
    host.rec()
    host.tables(0)
    host.ok(0xC400_0157, host.rd)
    return host
