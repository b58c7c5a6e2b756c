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
from pathlib import Path

from replay_deviations import wanted_instead
from replay_rmm import Difference, Record, number, read_lines
from replay_turns import LIST, MANY, Turns, number_of
from topbit.arch.rmi import Rmi, RmiStatus
from topbit.arch.rmi_range import AddrRange, MapFlags, transfer
from topbit.devices.tdi import TrustedDevice
from topbit.memory import PhysicalMemory
from topbit.rmm import Rmm, State

MAPS = {"RTT_DATA_MAP", "RTT_UNPROT_MAP", "RTT_DEV_MAP"}
UNMAPS = {"RTT_DATA_UNMAP", "RTT_UNPROT_UNMAP", "RTT_DEV_UNMAP"}
GRANULE_RANGES = {"GRANULE_RANGE_DELEGATE", "GRANULE_RANGE_UNDELEGATE"}
RANGES = MAPS | UNMAPS | GRANULE_RANGES | {"RTT_INIT_RIPAS", "RTT_SET_RIPAS", "RTT_DEV_VALIDATE"}
LEAF_TABLE = 2 << 20


class Replay20(Turns):
    """Where do the answers of one RMM 2.0 differ from the recorded ones?"""

    def __init__(self, header: Record) -> None:
        self.device_memory = header["device"]
        self.smmus = [number(pa) for pa in header["psmmu"].values()]
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
