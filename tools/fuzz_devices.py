"""Which calls about devices and unfinished operations does `fuzz_rmm` make?

A life of an RMM begins with a device that is somewhere between unknown and trusted. Afterwards its
calls are made with names that fit, its conversations are carried on with the modelled device, whose
answers are broken now and then, and unfinished operations are given what they ask for, or not.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from topbit.arch.rmi import Rmi2, RmiStatus
from topbit.arch.rmi_da import (
    CommExitFlags,
    DevCommData,
    PdevParams,
    PublicKeyParams,
    StreamParams,
    VdevParams,
)
from topbit.arch.rmi_range import AddrRange, MemoryRequest, Transfer, transfer
from topbit.arch.rsi import Rsi
from topbit.devices.tdi import TdiBehaviour, TrustedDevice
from topbit.rmm import Rmm
from topbit.rmm.device import Vdev
from topbit.rmm.realm import Rec
from topbit.rmm.state import PSMMU

DEVICE = 0x1000_0000
SIDS = range(2)
OF_PDEV = (Rmi2.PDEV_ABORT, Rmi2.PDEV_DESTROY, Rmi2.PDEV_GET_STATE, Rmi2.PDEV_STOP)
OF_VDEV = (
    *(Rmi2.VDEV_LOCK, Rmi2.VDEV_START, Rmi2.VDEV_UNLOCK, Rmi2.VDEV_DESTROY, Rmi2.VDEV_ABORT),
    *(Rmi2.VDEV_GET_INTERFACE_REPORT, Rmi2.VDEV_GET_MEASUREMENTS),
)
OF_STREAM = (
    *(Rmi2.PDEV_STREAM_COMPLETE, Rmi2.PDEV_STREAM_DISCONNECT),
    *(Rmi2.PDEV_STREAM_KEY_REFRESH, Rmi2.PDEV_STREAM_KEY_PURGE),
)
STEPS = 4


class DeviceFuzz:
    """One device, what the host knows of it, and random calls about it.

    Args:
        rmm: the RMM.
        rng: chooses.
        pa: gives an address, likely of a granule.
        base, pages: the host's own pages.
    """

    def __init__(
        self, rmm: Rmm, rng: random.Random, pa: Callable[[], int], base: int, pages: int
    ) -> None:
        self.rmm = rmm
        self.random = rng
        self.pa = pa
        self.base = base
        self.pages = pages
        behaviour = rng.choice([*[TdiBehaviour.GOOD] * 6, *TdiBehaviour])
        self.device = TrustedDevice("fuzzed", SIDS, [(DEVICE, 0x2_0000)], behaviour)
        self.handles: dict[int, int] = {}  # what each unfinished operation asked for last

    def page(self) -> int:
        return self.base + self.random.randrange(self.pages) * 4096

    def write(self, page: int, fields: dict[int, int]) -> int:
        if self.rmm.granules.get(page) == 0:
            self.rmm.memory.fill(page, 4096)
            for offset, value in fields.items():
                self.rmm.memory.write_u64(page + offset, value)
        return page

    # To begin with: a device that is so far trusted.

    def setup(self, steps: int) -> None:
        granules = iter(self.free())
        port, pdev = next(granules), next(granules)
        self.rmm.rmi(Rmi2.GRANULE_RANGE_DELEGATE, [DEVICE, DEVICE + 0x2_0000])
        for names, category in ((port, 1), (pdev, 3)):
            out = self.rmm.rmi(Rmi2.PDEV_CREATE, [names, self.pdev_page(category)])
            self.finish(out, [next(granules) for _ in range(3)])
        self.talk(Rmi2.PDEV_COMMUNICATE, [port])
        self.talk(Rmi2.PDEV_COMMUNICATE, [pdev])
        self.rmm.rmi(Rmi2.PDEV_SET_PUBKEY, [pdev, self.key_page()])
        self.talk(Rmi2.PDEV_COMMUNICATE, [pdev])
        if steps < 1:
            return
        handle = self.rmm.rmi(Rmi2.PDEV_STREAM_CONNECT, [self.stream_page(pdev, port)])[1]
        for end in (port, pdev, port, pdev):
            self.talk(Rmi2.PDEV_COMMUNICATE, [end])
        self.rmm.rmi(Rmi2.PDEV_STREAM_COMPLETE, [pdev, port, handle])
        table = [pa for pa in self.free() if pa % 8192 == 0 and pa + 4096 in set(self.free())][:1]
        rest = [pa for pa in self.free() if pa not in (table[0], table[0] + 4096)] if table else []
        if not table or len(rest) < 4:
            return
        out = self.rmm.rmi(Rmi2.PSMMU_ACTIVATE, [PSMMU, self.write(self.base, {})])
        self.finish(out, [table[0], table[0] + 4096, *rest[:2]])
        self.finish(self.rmm.rmi(Rmi2.PSMMU_ST_L2_CREATE, [PSMMU, 0]), rest[2:3])
        realms = [realm.rd for realm in self.rmm.realms.values() if realm.da]
        if steps < 2 or not realms:
            return
        names = [self.random.choice(realms), pdev, rest[3]]
        self.rmm.rmi(Rmi2.VDEV_CREATE, [*names, self.vdev_page(0)])
        self.talk(Rmi2.VDEV_COMMUNICATE, names)
        for call in (Rmi2.VDEV_LOCK, Rmi2.VDEV_START)[: steps - 2]:
            self.rmm.rmi(call, names)
            self.talk(Rmi2.VDEV_COMMUNICATE, names)

    def free(self) -> list[int]:
        """Delegated granules that nothing holds, those of the setup's own last."""
        states = self.rmm.granules.state[:96]
        return [self.base + n * 4096 for n in range(95, 7, -1) if states[n] == 1]

    def pdev_page(self, flags: int) -> int:
        fields = {PdevParams.FLAGS: flags, PdevParams.RID_TOP: len(SIDS)}
        return self.write(self.base, fields | {PdevParams.HASH_ALGO: self.random.randrange(3)})

    def key_page(self) -> int:
        key = self.device.key
        page = self.write(self.base, {PublicKeyParams.KEY_LEN: len(key)})
        self.rmm.memory.write(page, key)
        return page

    def stream_page(self, pdev: int, port: int) -> int:
        fields = {StreamParams.PDEV_1: pdev, StreamParams.PDEV_2: port}
        return self.write(self.base, fields | {StreamParams.STREAM_TYPE: 1})

    def vdev_page(self, sid: int) -> int:
        start = DEVICE + sid * 0x1_0000
        fields = {
            VdevParams.VDEV_ID: sid,
            VdevParams.TDI_ID: sid,
            VdevParams.NUM_ADDR_RANGE: 1,
            VdevParams.ADDR_RANGE: start,
            VdevParams.ADDR_RANGE + 8: start + 0x1_0000,
        }
        return self.write(self.page(), fields)

    # Conversations and operations.

    def talk(self, call: Rmi2, names: Sequence[int], messages: int = 100) -> None:
        """Carry so many messages, now and then broken ones."""
        memory, r = self.rmm.memory, self.random
        data, request, response = self.base, self.base + 4096, self.base + 8192
        if any(self.rmm.granules.get(page) for page in (data, request, response)):
            return
        broken = r.random() < 0.1
        fields = {DevCommData.REQ_ADDR: request, DevCommData.RESP_ADDR: response}
        self.write(data, fields)
        for _ in range(messages):
            out = self.rmm.rmi(call, [*names, data])
            flags = CommExitFlags.of(memory.read_u64(data + DevCommData.EXIT_FLAGS))
            if out[0] or not flags.REQ_SEND:
                return
            size = memory.read_u64(data + DevCommData.REQ_LEN)
            answer = bytearray(self.device.exchange(memory.read(request, size)))
            if broken and r.random() < 0.2:
                answer[r.randrange(len(answer))] ^= 1 << r.randrange(8)
                del answer[r.randrange(len(answer)) + 1 :]
            memory.write(response, answer)
            memory.write_u64(data + DevCommData.ENTER_STATUS, 2 if r.random() < 0.002 else 1)
            memory.write_u64(data + DevCommData.RESP_LEN, len(answer))

    def finish(self, out: tuple[int, ...], granules: Sequence[int]) -> None:
        """Give an operation these granules, and let it end."""
        given = list(granules)
        handle, request = (*out, 0, 0)[1:3]
        for _ in range(8):
            if out[0] & 0xFF != RmiStatus.INCOMPLETE:
                return
            out, request = self.step(out[0], handle, request, given)

    def step(
        self, result: int, handle: int, request: int, given: list[int]
    ) -> tuple[tuple[int, ...], int]:
        at = self.base + 12288
        if self.rmm.granules.get(at):
            return (0,), 0
        wanted = transfer(result)
        if wanted is Transfer.RECLAIM:
            return self.rmm.rmi(Rmi2.OP_MEM_RECLAIM, [handle, at, self.random.choice((1, 8))]), 0
        if wanted is Transfer.NONE:
            return self.rmm.rmi(Rmi2.OP_CONTINUE, [handle, 0]), 0
        count = MemoryRequest.BLK_COUNT.get(request)
        now = [given.pop(0) for _ in range(min(count, len(given)))]
        words = [AddrRange(COUNT=1, ADDR=pa).words[0] for pa in now]
        self.rmm.memory.table(at, len(words) or 1)[: len(words)] = words
        out = self.rmm.rmi(Rmi2.OP_MEM_DONATE, [handle, at, len(words)])
        return out, (*out, 0, 0)[2]

    def go_on(self) -> None:
        """Go on with something that is not finished."""
        r = self.random
        handles = list(self.rmm.operations)
        if handles and r.random() < 0.5:
            handle = r.choice(handles)
            operation = self.rmm.operations[handle]
            result = int(RmiStatus.INCOMPLETE) | operation.transfer << 8
            given = self.free() if r.random() < 0.8 else [self.pa() for _ in range(16)]
            self.step(result, handle, operation.request, given)
            return
        talking: list[tuple[Rmi2, list[int]]] = [
            (Rmi2.PDEV_COMMUNICATE, [pdev.pa])
            for pdev in self.rmm.pdevs.values()
            if pdev.talk is not None
        ]
        talking += [
            (Rmi2.VDEV_COMMUNICATE, names(vdev))
            for vdev in self.rmm.vdevs.values()
            if vdev.talk is not None
        ]
        if talking:
            call, named = r.choice(talking)
            self.talk(call, named, r.choice((1, STEPS, 100)))

    # One call.

    def likely(self, fid: int, rd: int) -> list[int] | None:
        """Arguments that fit, for a call about a device or an operation; None: another call."""
        r, rmm = self.random, self.rmm
        pdevs, vdevs = list(rmm.pdevs), list(rmm.vdevs.values())
        if fid == Rmi2.PDEV_CREATE:
            return [self.pa(), self.pdev_page(r.choice((1, 3, 3, r.randrange(16))))]
        if fid == Rmi2.PSMMU_ACTIVATE:
            return [PSMMU, self.write(self.page(), {})]
        if fid in (Rmi2.PSMMU_ST_L2_CREATE, Rmi2.PSMMU_ST_L2_DESTROY):
            return [PSMMU, r.choice((0, 0, 64, 1))]
        if fid == Rmi2.PSMMU_DEACTIVATE:
            return [PSMMU]
        if fid in (Rmi2.OP_CONTINUE, Rmi2.OP_CANCEL, Rmi2.OP_MEM_DONATE, Rmi2.OP_MEM_RECLAIM):
            handle = r.choice([*rmm.operations, 0, 1])
            return [handle, self.page() + 8 * r.randrange(512), r.randrange(5)]
        if not pdevs:
            return None
        if fid in OF_PDEV:
            return [r.choice(pdevs)]
        if fid == Rmi2.PDEV_COMMUNICATE:
            return [r.choice(pdevs), self.page()]
        if fid == Rmi2.PDEV_SET_PUBKEY:
            return [r.choice(pdevs), self.key_page()]
        if fid == Rmi2.PDEV_STREAM_CONNECT:
            return [self.stream_page(r.choice(pdevs), r.choice(pdevs))]
        if fid in OF_STREAM and rmm.streams:
            stream = r.choice(list(rmm.streams.values()))
            return [stream.endpoint, stream.port, stream.handle]
        if fid == Rmi2.VDEV_CREATE:
            return [rd, r.choice(pdevs), self.pa(), self.vdev_page(r.choice((0, 1, 2)))]
        if not vdevs:
            return None
        if fid in OF_VDEV or fid == Rmi2.VDEV_COMMUNICATE:
            return [*names(r.choice(vdevs)), self.page()]
        if fid == Rmi2.VDEV_COMPLETE and rmm.recs:
            return [r.choice(list(rmm.recs)), r.choice(vdevs).pa]
        return None

    def asked(self, fid: int, ipa: int, rec: Rec) -> list[int] | None:
        """Registers that fit, for an RSI call about a device; None: another call."""
        r = self.random
        known = [self.rmm.vdevs[pa] for pa in rec.realm.vdevs]
        vdev = r.choice(known) if known else None
        nonces = [vdev.lock_nonce, vdev.meas_nonce, vdev.report_nonce] if vdev else [0, 0, 0]
        named = vdev.vdev_id if vdev and r.random() < 0.9 else r.randrange(3)
        if fid == Rsi.VDEV_VALIDATE_MAPPING:
            return [fid, named, ipa, ipa + 8192, DEVICE + r.randrange(4) * 4096, 0, *nonces]
        if fid == Rsi.VDEV_DMA_ENABLE:
            return [fid, named, 0, 0, *nonces]
        if fid in (Rsi.VDEV_GET_INFO, Rsi.VDEV_DMA_DISABLE):
            return [fid, named, ipa]
        return None


def names(vdev: Vdev) -> list[int]:
    """Which three words name an assignment?"""
    return [vdev.realm.rd, vdev.pdev.pa, vdev.pa]
