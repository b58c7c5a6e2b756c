"""Does `topbit.rmm` answer as TF-RMM of July 2026 did, call by call? Replays rmm20 vector files.

Compared, besides what `replay_rmm` compares: what an unfinished operation asks for, the steps of
whole operations, how far a range call came, which memory an unmap gave back, which words an exit
wrote, what a Realm was told of a device. A call that ended with a leaf table or after one granule,
as TF-RMM's do, is asked for no more than that. How many COMMUNICATE calls a conversation takes is
each RMM's choice: they are made until nothing is left to say, against the modelled device.

Where TF-RMM does something of its own that is not imitated, `replay_deviations` says what is wanted
instead, and that is asserted.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from replay_deviations import wanted_instead
from replay_rmm import Difference, Record, Replay, number, read_lines
from rmi_pages import PAGES
from topbit.arch.rmi import Rmi, Rmi2, RmiStatus
from topbit.arch.rmi_da import CommExitFlags, DevCommData
from topbit.arch.rmi_params import RecExit
from topbit.arch.rmi_range import AddrRange, MapFlags, Transfer, transfer
from topbit.arch.rsi import Rsi, RsiStatus, VdevInfo
from topbit.devices.tdi import TrustedDevice
from topbit.memory import PhysicalMemory
from topbit.rmm import Exit, Resume, Rmm, State, Translated

MAPS = {"RTT_DATA_MAP", "RTT_UNPROT_MAP", "RTT_DEV_MAP"}
UNMAPS = {"RTT_DATA_UNMAP", "RTT_UNPROT_UNMAP", "RTT_DEV_UNMAP"}
GRANULE_RANGES = {"GRANULE_RANGE_DELEGATE", "GRANULE_RANGE_UNDELEGATE"}
RANGES = MAPS | UNMAPS | GRANULE_RANGES | {"RTT_INIT_RIPAS", "RTT_SET_RIPAS", "RTT_DEV_VALIDATE"}
LEAF_TABLE = 2 << 20
RUN, LIST, LAST_ENTRIES = 0x12000, 0x16000, 512
COMM_PAGES = 0x1E00_3000, 0x1E00_4000  # request and response of a conversation
MANY = 10_000


def number_of(call: str) -> int:
    return int(Rmi2[call] if call in Rmi2.__members__ else Rmi[call])


class Replay20(Replay):
    """Where do the answers of one RMM 2.0 differ from the recorded ones?"""

    def __init__(self, header: Record) -> None:
        self.device_memory = header["device"]
        self.smmus = [number(pa) for pa in header["psmmu"].values()]
        self.lock_nonce = 0
        self.info_at = 0
        self.delegated: list[int] = []
        self.skipping = False
        self.deviations: dict[str, int] = {}
        super().__init__(header["granules"]["tracked_count"])

    def begin(self) -> None:
        self.rmm = Rmm(
            PhysicalMemory(0, self.size),
            abi="2.0-beta0",
            breakpoints=1,
            watchpoints=1,
            psmmus=self.smmus,
        )
        base, size = (number(self.device_memory[key]) for key in ("base", "size"))
        self.rmm.granules.add_device_memory(base, size)
        self.device = TrustedDevice("endpoint", [0x100])
        self.skipping = False

    def play(self, record: Record) -> None:
        if "begin" in record:
            self.begin()
        elif "irq" in record:
            self.skipping = True  # until the next call is looked at
        elif "o" in record and self.skipping:
            self.interrupted(record)
        elif not self.skipping:
            other = wanted_instead(record)
            if other is not None:
                name, changed = other
                self.deviate(name)
                record = record | changed
            super().play(record)

    def probe(self, record: Record) -> None:
        """The entry; of device memory that is DESTROYED, its own address, where TF-RMM gives 0."""
        wanted = record["v"]
        if wanted[1:] != ["ASSIGNED_DEV", "DESTROYED", "0x0"]:
            super().probe(record)
            return
        self.deviate("D19")
        out = self.rmm.rmi(Rmi.RTT_READ_ENTRY, [number(v) for v in record["p"]])
        self.expect(record, "entry", self.entry(out)[:3], wanted[:3])
        mapped = self.rmm.granules.has(out[3], State.DEV_MAPPED)
        self.expect(record, "its address is the device's", mapped, True)

    def granule(self, pa: int) -> str:
        state = super().granule(pa)
        is_device = state == "UNTRACKED" and self.rmm.granules.is_device_memory(pa)
        return "DEV_NS" if is_device else state

    def interrupted(self, record: Record) -> None:
        """A call that TF-RMM interrupted: it is done as a whole, and the sequence ends there."""
        self.deviate("D12")
        out = self.rmm.rmi(number_of(record["o"]), [number(a) for a in record["a"]])
        self.expect(record, "status", RmiStatus(out[0] & 0xFF).name, "SUCCESS")
        if self.expect(record, "progress", out[1], number(record["a"][2])):
            self.skipping = True
        self.play_nothing_more()

    def play_nothing_more(self) -> None:
        self.play = lambda record: self.resume_at(record)  # type: ignore[method-assign]

    def resume_at(self, record: Record) -> None:
        if "begin" in record:
            del self.play
            self.play(record)

    def deviate(self, name: str) -> None:
        self.deviations[name] = self.deviations.get(name, 0) + 1

    # One call, or one operation.

    def call(self, record: Record) -> None:
        name = record["o"]
        if name.endswith("COMMUNICATE"):
            self.communicate(record)
        elif "steps" in record:
            self.operation(record)
        elif "loop" in record:
            self.loop(record)
        elif name == "REC_ENTER":
            self.enter(record)
        else:
            self.single(record)

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

    def single(self, record: Record) -> None:
        name, args = record["o"], self.prepare(record)
        x = [number(x) for x in record.get("x", [])]
        if record["s"] == "SUCCESS" and name in RANGES and x and "n" not in record:
            at = 4 if name == "RTT_DEV_MAP" else {2: 1}.get(len(args), 3 if len(args) == 4 else 2)
            at = 3 if name == "RTT_DEV_MAP" else at
            if x[0] < args[at] and (name in GRANULE_RANGES or x[0] % LEAF_TABLE == 0):
                args[at] = x[0]
        out: tuple[int, ...] = ()
        steps = [number(d) for d in record.get("d", [0] * len(args))]
        for turn in range(record.get("n", 1)):
            made = [a + turn * d for a, d in zip(args, steps, strict=True)]
            out = self.rmm.rmi(number_of(name), made)
            if name == "GRANULE_RANGE_DELEGATE" and not out[0]:
                self.delegated.append(made[0])
        if not self.expect_status(record, out) or "n" in record:
            return
        if record["s"] == "INCOMPLETE":
            self.incomplete(record, out)
        elif name in UNMAPS:
            self.unmapped(record, args, out)
        elif name in ("RTT_READ_ENTRY", "RTT_DESTROY", "RTT_FOLD"):
            padded = [*record.get("x", []), "0x0", "0x0"][: 1 if name == "RTT_FOLD" else 2]
            self.outputs(record if name == "RTT_READ_ENTRY" else record | {"x": padded}, out)
        elif record["s"] == "SUCCESS" or name == "VDEV_UNLOCK":
            padded = x + [0] * (len(out) - 1 - len(x))
            self.expect(record, "outputs", list(out[1:]), padded)

    def expect_status(self, record: Record, out: tuple[int, ...]) -> bool:
        low = out[0] & 0xFF
        got = (RmiStatus(low).name, 0 if low == RmiStatus.INCOMPLETE else out[0] >> 8)
        return self.expect(record, "status", got, (record["s"], record.get("i", 0)))

    def incomplete(self, record: Record, out: tuple[int, ...]) -> None:
        x = [number(x) for x in record.get("x", [])]
        self.expect(record, "request", transfer(out[0]).name, record["m"])
        self.expect(record, "cancel", out[0] >> 10 & 1, record["cancel"])
        if record["o"] == "OP_MEM_RECLAIM":
            given = self.pages_of(LIST if "list_out" in record else 0, out[1])
            wanted = [number(w) for w in record.get("list_out", [])]
            if "list_out" in record:
                self.expect(record, "reclaimed", given, memory_of(wanted))
            return
        self.expect(record, "outputs", list(out[1:]), x + [0] * (len(out) - 1 - len(x)))

    def pages_of(self, at: int, count: int) -> list[int]:
        return memory_of([self.rmm.memory.read_u64(at + 8 * i) for i in range(count)] if at else [])

    def unmapped(self, record: Record, args: list[int], out: tuple[int, ...]) -> None:
        """How far did it come, and which memory did it give back, however cut into ranges?"""
        if record["s"] != "SUCCESS":
            return
        x = [number(x) for x in record.get("x", [])] + [0] * 3
        self.expect(record, "out_top", out[1], x[0])
        kind = MapFlags.OADDR_TYPE.get(args[3])
        if kind == MapFlags.SINGLE:
            self.expect(record, "out_range", memory_of([out[2]]), memory_of([x[1]]))
        elif kind == MapFlags.LIST:
            listed = [number(word) for word in record.get("list_out", [])][: x[2]]
            self.expect(record, "list", self.pages_of(args[4], out[3]), memory_of(listed))

    # What a host does to the end.

    def loop(self, record: Record) -> None:
        name, args = record["o"], self.prepare(record)
        at = {"RTT_DEV_MAP": 2, "RTT_SET_RIPAS": 2, "RTT_DEV_VALIDATE": 2}.get(name, 1)
        at = 0 if name in GRANULE_RANGES else at
        freed: list[int] = []
        out: tuple[int, ...] = ()
        for _ in range(MANY):
            out = self.rmm.rmi(number_of(name), args)
            if out[0] or out[1] <= args[at]:
                break
            if name in UNMAPS:
                kind = MapFlags.OADDR_TYPE.get(args[3])
                freed += memory_of([out[2]]) if kind == MapFlags.SINGLE else []
                freed += self.pages_of(args[4], out[3]) if kind == MapFlags.LIST else []
            if name in MAPS:
                self.advance(args, out[1] - args[at])
            args[at] = out[1]
            if args[at] >= args[at + 1]:
                break
        self.expect_status(record, out)
        self.expect(record, "reached", args[at], number(record["reached"]))
        if "freed" in record:
            wanted = [
                page
                for pa, size in record["freed"]
                for page in range(number(pa), number(pa) + number(size), 4096)
            ]
            self.expect(record, "freed", sorted(freed), sorted(wanted))

    def advance(self, args: list[int], size: int) -> None:
        """Take what was mapped from the front of the descriptors."""
        if MapFlags.OADDR_TYPE.get(args[-2]) == MapFlags.SINGLE:
            args[-1] = advanced(args[-1], size)[0] or 0
            return
        while size:
            word = self.rmm.memory.read_u64(args[-1])
            rest, size = advanced(word, size)
            if rest is not None:
                self.rmm.memory.write_u64(args[-1], rest)
                return
            args[-1] += 8
            args[-2] -= MapFlags(LIST_COUNT=1).words[0]

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

    # The Realm.

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


def advanced(word: int, size: int) -> tuple[int | None, int]:
    """What is left of a descriptor after `size` bytes of it, and of the bytes after it?"""
    described = AddrRange.of(word)
    block = 4096 << 9 * described.SIZE
    done = min(size // block, described.COUNT)
    described.ADDR += done * block
    described.COUNT -= done
    return (described.words[0] if described.COUNT else None), size - done * block


def memory_of(descriptors: list[int]) -> list[int]:
    """Which 4 KiB pages do range descriptors name? Sorted."""
    pages: list[int] = []
    for word in descriptors:
        size = AddrRange.COUNT.get(word) * (4096 << 9 * AddrRange.SIZE.get(word))
        pages += range(AddrRange.ADDR.get(word), AddrRange.ADDR.get(word) + size, 4096)
    return sorted(pages)


def returned(resume: Resume | Exit) -> list[str]:
    """How is told what a call returned that had waited for the host?"""
    if isinstance(resume, Exit) or not resume.regs:
        return []
    status = RsiStatus(resume.regs[0]).name
    if len(resume.regs) == 1:
        return [status]
    return [status, hex(resume.regs[1]), ("ACCEPT", "REJECT")[resume.regs[2]]]


def replay(path: str | Path) -> tuple[int, list[Difference]]:
    """How many results of one rmm20 file were compared, and which differ?"""
    run = run_of(path)
    return run.compared, run.differences


def run_of(path: str | Path) -> Replay20:
    """How did the replay of one rmm20 file go?"""
    lines = read_lines(Path(path))
    run = Replay20(json.loads(next(lines)))
    for line in lines:
        run.play(json.loads(line))
    return run
