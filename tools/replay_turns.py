"""What is one record and takes several turns, when calls of RMM 2.0 are replayed?

An operation that asks for memory, a conversation with a device, an entry of a REC and what the
Realm does in it; and what the host writes into its pages before.
"""

from __future__ import annotations

import struct
from typing import Any

from replay_rmm import Record, Replay, number
from rmi_pages import PAGES
from topbit.arch.rmi import Rmi, Rmi2, RmiStatus
from topbit.arch.rmi_da import CommExitFlags, DevCommData
from topbit.arch.rmi_params import RecExit
from topbit.arch.rmi_range import AddrRange, Transfer, transfer
from topbit.arch.rsi import Rsi, RsiStatus, VdevInfo
from topbit.devices.tdi import TrustedDevice
from topbit.rmm import Exit, Resume, Translated

LIST, LAST_ENTRIES = 0x16000, 512
COMM_PAGES = 0x1E00_3000, 0x1E00_4000  # request and response of a conversation
MANY = 10_000


def number_of(call: str) -> int:
    return int(Rmi2[call] if call in Rmi2.__members__ else Rmi[call])


class Turns(Replay):
    """What host, device and Realm do in turns.

    Attributes:
        device: what answers to conversations.
        lock_nonce: the Realm's device's, as it was told last.
        info_at: the IPA where it was told.
        delegated: granules, in the order in which the host gave them.
    """

    device: TrustedDevice

    def __init__(self, tracked: int) -> None:
        self.lock_nonce = 0
        self.info_at = 0
        self.delegated: list[int] = []
        super().__init__(tracked)

    def prepare(self, record: Record) -> list[int]:
        """Write what the host has in its pages before the call; which arguments has it?"""
        name, args = record["o"], [number(a) for a in record["a"]]
        if name in PAGES and "params" in record:
            pages = PAGES[name](record["params"], self)
            self.store(args[pages[0]], pages[1])
        if name == "RMM_CONFIG_SET":
            words = [number(w) for w in record.get("note", "words: 0x0, 0x0")[12:].split(", ")]
            if "note" in record:
                self.store(args[0], struct.pack("<2Q", *words))
            else:
                self.store(args[0], bytes(16))
        if "list" in record:
            at = args[-2] if name == "OP_MEM_DONATE" else args[-1]
            words = [number(word) for word in record["list"]]
            self.store(at, struct.pack(f"<{len(words)}Q", *words))
        elif name == "OP_MEM_DONATE" and record["s"] == "INCOMPLETE":
            last = self.delegated[-args[2] :] if args[2] else []
            words = [AddrRange(COUNT=1, ADDR=pa).words[0] for pa in last]
            self.store(args[1], struct.pack(f"<{len(words)}Q", *words))
        return args

    def expect_status(self, record: Record, out: tuple[int, ...]) -> bool:
        low = out[0] & 0xFF
        got = (RmiStatus(low).name, 0 if low == RmiStatus.INCOMPLETE else out[0] >> 8)
        return self.expect(record, "status", got, (record["s"], record.get("i", 0)))

    def operation(self, record: Record) -> None:
        """A whole stateful operation; the host does what it is asked for."""
        name, args = record["o"], self.prepare(record)
        donations = [number(pa) for pa in record.get("params", {}).get("aux", [])]
        told: list[str] = []
        out = self.rmm.rmi(number_of(name), args)
        handle = out[1] if len(out) > 1 else 0
        told.append(f"{name} {outcome(out)}")
        donated = iter([s for s in record["steps"] if s["o"] == "OP_MEM_DONATE"])
        while out[0] & 0xFF == RmiStatus.INCOMPLETE:
            wanted = transfer(out[0])
            if wanted == Transfer.DONATE:
                step = next(donated, None)
                listed = [] if step is None else step.get("list", [])
                if donations:
                    words = [AddrRange(COUNT=1, ADDR=pa).words[0] for pa in donations]
                else:
                    words = [number(word) for word in listed]
                self.store(LIST, struct.pack(f"<{len(words)}Q", *words))
                out = self.rmm.rmi(Rmi2.OP_MEM_DONATE, [handle, LIST, len(words)])
                told.append(f"OP_MEM_DONATE {outcome(out)}")
                if step is None:
                    break
            elif wanted == Transfer.RECLAIM:
                out = self.rmm.rmi(Rmi2.OP_MEM_RECLAIM, [handle, LIST, LAST_ENTRIES])
                told.append(f"OP_MEM_RECLAIM {outcome(out)}")
            else:
                out = self.rmm.rmi(Rmi2.OP_CONTINUE, [handle, 0])
                told.append(f"OP_CONTINUE {outcome(out)}")
        self.expect_status(record, out)
        wanted_steps = [
            f"{s['o']} {s['s']}" + (f" {s['m']}" if "m" in s else "") for s in record["steps"]
        ]
        self.expect(record, "steps", told, wanted_steps)

    def communicate(self, record: Record) -> None:
        args = [number(a) for a in record["a"]]
        memory, data = self.rmm.memory, args[-1]
        request, response = COMM_PAGES
        memory.fill(data, 4096)
        memory.write(data + DevCommData.REQ_ADDR, struct.pack("<2Q", request, response))
        out: tuple[int, ...] = ()
        for _ in range(MANY):
            out = self.rmm.rmi(number_of(record["o"]), args)
            flags = CommExitFlags.of(memory.read_u64(data + DevCommData.EXIT_FLAGS))
            if out[0] or not flags.REQ_SEND:
                break
            size = memory.read_u64(data + DevCommData.REQ_LEN)
            answer = self.device.exchange(memory.read(request, size))
            memory.write(response, answer)
            memory.write_u64(data + DevCommData.ENTER_STATUS, 1)
            memory.write_u64(data + DevCommData.RESP_LEN, len(answer))
        self.expect_status(record, out)

    def enter(self, record: Record) -> None:
        args = [number(a) for a in record["a"]]
        self.store(args[1], number(record.get("f", 0)).to_bytes(8, "little"))
        out = self.rmm.rmi(Rmi.REC_ENTER, args)
        if not self.expect_status(record, out) or record["s"] != "SUCCESS":
            return
        rec = args[0]
        resume = self.rmm.rec(rec).resume
        if "resume" in record:
            self.expect(record, "resume", returned(resume), record["resume"])
        act = record.get("act")
        if isinstance(resume, Exit):
            outcome_: list[Any] = self.exit(resume)
        elif act is None:
            outcome_ = ["SEA", None] if resume.sea else ["IDLE"]
        elif act[0] == "ACCESS":
            outcome_ = self.access(rec, number(act[1]), act[2], act[3])
        elif act[0].startswith("PSCI"):
            got = self.rmm.rsi(rec, [0x8400_0008])
            outcome_ = ["EXIT", "PSCI", *map(hex, got.gprs)] if isinstance(got, Exit) else []
        else:
            outcome_ = self.service(rec, [self.named(value) for value in act])
        self.expect(record, "outcome", outcome_, record["out"])
        if "exit_words" in record:
            words = [number(w) for pair in record["exit_words"] for w in pair]
            wanted = dict(zip(words[::2], words[1::2], strict=True))
            page = self.rmm.memory.read(args[1] + RecExit.BASE, 4096 - RecExit.BASE)
            own = struct.unpack(f"<{len(page) // 8}Q", page)
            self.expect(record, "exit", {8 * i: w for i, w in enumerate(own) if w}, wanted)
        if "info_words" in record:
            self.told_of_the_device(record)
        if self.rmm.rec(rec).running:
            self.rmm.interrupt(rec)

    def named(self, value: Any) -> Any:
        if isinstance(value, str) and value.startswith("lock_nonce"):
            return hex(self.lock_nonce + (1 if value.endswith("+1") else 0))
        return value

    def exit(self, got: Exit) -> list[object]:
        if got.reason.name == "VDEV_REQUEST":
            return ["EXIT", "VDEV_REQUEST", hex(got.vdev_id)]
        if got.reason.name == "DEV_MEM_MAP":
            where = (got.vdev_id, got.range_base, got.range_top, got.dev_mem_pa)
            return ["EXIT", "DEV_MEM_MAP", *map(hex, where)]
        return super().exit(got)

    def service(self, rec: int, act: list[Any]) -> list[object]:
        name = act[0].removeprefix("RSI_")
        arguments = [number(a) for a in act[1:]]
        if name == "VDEV_GET_INFO":
            self.info_at = arguments[1]
        if name not in ("FEATURES", "VERSION", "REALM_CONFIG"):
            return super().service(rec, act)
        got = self.rmm.rsi(rec, [Rsi[name], *arguments])
        if isinstance(got, Exit):
            return self.exit(got)
        status = RsiStatus(got.regs[0]).name
        if status != "SUCCESS":
            return ["RETURN", status]
        if name == "REALM_CONFIG":
            place = self.rmm.access(rec, arguments[0], "r")
            assert isinstance(place, Translated)
            words = struct.unpack("<3Q", self.rmm.memory.read(place.pa, 24))
            names = ("ipa_width", "hash_algo", "num_aux_planes")
            return ["RETURN", status, dict(zip(names, words, strict=True))]
        return ["RETURN", status, *(hex(got.regs.get(i, 0)) for i in (1, 2))]

    def told_of_the_device(self, record: Record) -> None:
        realm = next(iter(self.rmm.realms.values()))
        rec = next(iter(realm.recs))
        place = self.rmm.access(rec, self.info_at, "r")
        if not isinstance(place, Translated):
            self.expect(record, "the page of the device's information", place, "mapped")
            return
        info = self.rmm.memory.read(place.pa, VdevInfo.SIZE)
        words = struct.unpack("<64Q", info)
        self.lock_nonce = words[VdevInfo.LOCK_NONCE // 8]
        own = [[hex(8 * i), hex(w)] for i, w in enumerate(words[:16]) if w]
        wanted = [[at, self.named(value)] for at, value in record["info_words"]]
        self.expect(record, "info", own, wanted)
        size = VdevInfo.DIGEST_SIZE
        digests = [
            hex(at)
            for at in range(VdevInfo.VCA_DIGEST, VdevInfo.VSMMU_ADDR, size)
            if any(info[at : at + size])
        ]
        self.expect(record, "digests", digests, record["info_digests"])


def outcome(out: tuple[int, ...]) -> str:
    """How is a step told? Its status, and what it asks for."""
    status = RmiStatus(out[0] & 0xFF)
    return (
        f"{status.name} {transfer(out[0]).name}" if status is RmiStatus.INCOMPLETE else status.name
    )


def returned(resume: Resume | Exit) -> list[str]:
    """How is told what a call returned that had waited for the host?"""
    if isinstance(resume, Exit) or not resume.regs:
        return []
    status = RsiStatus(resume.regs[0]).name
    if len(resume.regs) == 1:
        return [status]
    return [status, hex(resume.regs[1]), ("ACCEPT", "REJECT")[resume.regs[2]]]
