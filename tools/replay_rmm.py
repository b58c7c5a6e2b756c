"""Does `topbit.rmm` answer as TF-RMM did, call by call? Replays rmm10 vector files.

Compared: status and index of every call, the meaningful outputs, the entry and granule probes,
what RMI_REC_ENTER led to, and the valid words of a hardware walk (level, address, attributes).
Not compared: words of invalid entries, which each RMM encodes as it likes.
"""

from __future__ import annotations

import json
import lzma
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from topbit.arch.rmi import Ripas, Rmi, RmiStatus, RttState
from topbit.arch.rsi import Rsi, RsiStatus
from topbit.memory import PhysicalMemory
from topbit.rmm import Exit, Resume, Rmm, Sea, State, Translated
from topbit.rmm.s2tt import LAST

Record = dict[str, Any]
Difference = str

TOP_ALSO_WITH_RTT_ERROR = {"DATA_DESTROY", "RTT_DESTROY", "RTT_UNMAP_UNPROTECTED"}
RESPONSES = ("ACCEPT", "REJECT")


def read_lines(path: Path) -> Iterator[str]:
    """Which lines does a vector file (plain or .xz) hold?"""
    opener = lzma.open if path.suffix == ".xz" else open
    with opener(path, "rt", encoding="utf-8") as file:
        yield from file


def number(value: str | int) -> int:
    return value if isinstance(value, int) else int(value, 0)


class Replay:
    """Where do the answers of one RMM differ from the recorded ones?"""

    def __init__(self, tracked: int) -> None:
        self.size = tracked * 0x1000
        self.compared = 0
        self.differences: list[Difference] = []
        self.begin()

    def begin(self) -> None:
        self.rmm = Rmm(PhysicalMemory(0, self.size))

    def expect(self, record: Record, what: str, got: object, wanted: object) -> bool:
        self.compared += 1
        if got != wanted:
            self.differences.append(f"{json.dumps(record)}: {what} is {got!r}, recorded {wanted!r}")
        return got == wanted

    def play(self, record: Record) -> None:
        if "begin" in record:
            self.begin()
        elif "o" in record:
            self.call(record)
        elif "p" in record:
            self.probe(record)
        elif "g" in record:
            self.expect(record, "granule", self.granule(number(record["g"])), record["v"])
        elif "w" in record:
            self.walk(record)

    def granule(self, pa: int) -> str:
        return State(self.rmm.granules.get(pa)).name

    def call(self, record: Record) -> None:
        name, rmm = record["o"], self.rmm
        args = self.arguments(record)
        steps = [number(d) for d in record.get("d", [0] * len(args))]
        if "f" in record or name == "REC_ENTER":
            self.store(args[1], number(record.get("f", 0)).to_bytes(8, "little"))
        for turn in range(record.get("n", 1)):
            out = rmm.rmi(Rmi[name], [a + turn * d for a, d in zip(args, steps, strict=True)])
        wanted = (record["s"], record.get("i", 0))
        got = (RmiStatus(out[0] & 0xFF).name, out[0] >> 8)
        if not self.expect(record, "status", got, wanted) or "n" in record:
            return
        self.outputs(record, out)
        if name == "REC_ENTER" and record["s"] == "SUCCESS":
            self.entered(record, args[0])

    def arguments(self, record: Record) -> list[int]:
        args, parameters = record["a"], None
        if record["o"] == "REALM_CREATE":
            parameters = args[1]
            self.realm_parameters(parameters)
        elif record["o"] == "REC_CREATE":
            parameters = args[2]
            self.rec_parameters(parameters)
        return [number(a["params_pa"] if isinstance(a, dict) else a) for a in args]

    def store(self, pa: int, data: bytes | bytearray) -> None:
        """What the host stores where no memory of its own is goes nowhere: the call must tell."""
        mine = self.rmm.granules.get(pa & ~0xFFF) == State.NS
        if mine and self.rmm.memory.contains(pa, len(data)):
            self.rmm.memory.write(pa, data)

    def realm_parameters(self, p: Record) -> None:
        page = bytearray(4096)
        struct.pack_into("<Q", page, 0x0, number(p["flags0"]))
        page[0x8] = p["s2sz"] & 0xFF
        page[0x18], page[0x20], page[0x30] = p["num_bps"], p["num_wps"], p["hash_algo"]
        struct.pack_into("<H", page, 0x800, p["vmid"])
        struct.pack_into("<Qq", page, 0x808, number(p["rtt_base"]), p["rtt_level_start"])
        struct.pack_into("<I", page, 0x818, p["rtt_num_start"])
        self.store(number(p["params_pa"]), page)

    def rec_parameters(self, p: Record) -> None:
        page = bytearray(4096)
        aux = [number(pa) for pa in p["aux"]]
        struct.pack_into("<Q", page, 0x0, number(p["flags"]))
        struct.pack_into("<Q", page, 0x100, number(p["mpidr"]))
        struct.pack_into(f"<{len(aux) + 1}Q", page, 0x800, len(aux), *aux)
        self.store(number(p["params_pa"]), page)

    def outputs(self, record: Record, out: tuple[int, ...]) -> None:
        if record["o"] == "RTT_READ_ENTRY":
            self.expect(record, "entry", self.entry(out), record.get("x", []))
            return
        wanted = [number(x) for x in record.get("x", [])]
        if record["s"] == "SUCCESS":
            self.expect(record, "outputs", list(out[1 : 1 + len(wanted)]), wanted)
        elif record["o"] in TOP_ALSO_WITH_RTT_ERROR and record["s"] == "ERROR_RTT":
            self.expect(record, "top", out[len(wanted)], wanted[-1])

    def probe(self, record: Record) -> None:
        rd, ipa, level = (number(v) for v in record["p"])
        out = self.rmm.rmi(Rmi.RTT_READ_ENTRY, [rd, ipa, level])
        failed = [RmiStatus(out[0] & 0xFF).name, out[0] >> 8]
        self.expect(record, "entry", failed if out[0] else self.entry(out), record["v"])

    def entry(self, out: tuple[int, ...]) -> list[object]:
        if out[0]:
            return []
        return [out[1], RttState(out[2]).name, Ripas(out[4]).name, hex(out[3])]

    def walk(self, record: Record) -> None:
        realm = next(iter(self.rmm.realms.values()))
        ipa = number(record["w"])
        got = []
        for level in range(realm.start_level, LAST + 1):
            walk = realm.rtt.walk(ipa, level)
            got.append([walk.level, hex(walk.entry) if walk.entry & 1 else "invalid"])
            if walk.level < level:
                got.pop()
                break
        wanted = [[lv, w if number(w) & 1 else "invalid"] for lv, w in record["v"]]
        self.expect(record, "words", got, wanted)

    def entered(self, record: Record, rec: int) -> None:
        rmm = self.rmm
        resume = rmm.rec(rec).resume
        if "resume" in record:
            regs = resume.regs if isinstance(resume, Resume) else {}
            got = [RsiStatus(regs[0]).name, hex(regs[1]), RESPONSES[regs[2]]] if regs else []
            self.expect(record, "resume", got, record["resume"])
        act = record.get("act")
        if act is None:
            outcome: list[object] = ["IDLE"]
        elif act[0] == "ACCESS":
            outcome = self.access(rec, number(act[1]), act[2], act[3])
        else:
            outcome = self.service(rec, act)
        self.expect(record, "outcome", outcome, record["out"])
        if rmm.rec(rec).running:
            rmm.interrupt(rec)

    def access(self, rec: int, ipa: int, kind: Any, size: int) -> list[object]:
        got = self.rmm.access(rec, ipa, kind, size)
        if isinstance(got, Translated):
            return ["OK", hex(got.pa), int(got.ns)]
        if isinstance(got, Sea):
            return ["SEA", got.fsc]
        return [*self.exit(got), got.esr & 0x3F]

    def exit(self, got: Exit) -> list[object]:
        if got.reason.name == "SYNC":
            return ["EXIT", "SYNC", hex(got.esr), hex(got.far), hex(got.hpfar)]
        ripas = Ripas(got.ripas).name
        return ["EXIT", got.reason.name, hex(got.range_base), hex(got.range_top), ripas]

    def service(self, rec: int, act: list[Any]) -> list[object]:
        name = act[0].removeprefix("RSI_")
        arguments = [number(a) for a in act[1:]]
        got = self.rmm.rsi(rec, [Rsi[name], *arguments])
        if isinstance(got, Exit):
            return self.exit(got)
        status = RsiStatus(got.regs[0]).name
        if status != "SUCCESS":
            return ["RETURN", status]
        if name == "IPA_STATE_GET":
            return ["RETURN", status, hex(got.regs[1]), Ripas(got.regs[2]).name]
        if name == "REALM_CONFIG":
            place = self.rmm.access(rec, arguments[0], "r")
            assert isinstance(place, Translated)
            width, algorithm = struct.unpack("<QQ", self.rmm.memory.read(place.pa, 16))
            return ["RETURN", status, {"ipa_width": width, "hash_algo": algorithm}]
        return ["RETURN", status, *(hex(v) for k, v in got.regs.items() if k)]


def replay(path: str | Path) -> tuple[int, list[Difference]]:
    """How many results of one rmm10 file were compared, and which differ?"""
    lines = read_lines(Path(path))
    header = json.loads(next(lines))
    run = Replay(header["granules"]["tracked_count"])
    for line in lines:
        run.play(json.loads(line))
    return run.compared, run.differences
