"""Does `topbit.rmm` answer what Arm's RMM compliance suite asserts? Replays acs10 vector files.

Compared: status and index of every call. Where the suite asserts an answer, that one is wanted; in
preparation and tear-down the recorded one, without which the suite cannot go on; and ERROR_REC of
the entries whose GIC state two tests of the suite hold to be wrong without saying so in a table.
What the Realm does between entry and exit is played as recorded, and its answers are compared, but
for the lengths of attestation tokens.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from replay_rmm import Difference, Record, number, read_lines
from topbit.arch import psci
from topbit.arch.psci import Psci
from topbit.arch.rmi import Rmi, RmiStatus
from topbit.arch.rmi_params import RecEnter
from topbit.arch.rsi import HostCall, Rsi
from topbit.memory import PhysicalMemory
from topbit.rmm import Exit, Rmm, Sea, Translated

BAD_GIC_STATE = {"gic_hcr_invalid", "gic_ctrl_list_invalid"}
FUNCTIONS = {
    **{f"RSI_{call.name}": int(call) for call in Rsi},
    "PSCI_VERSION": int(Psci.VERSION),
    "PSCI_FEATURES": int(Psci.FEATURES),
    "PSCI_CPU_SUSPEND": int(Psci.CPU_SUSPEND_64),
    "PSCI_CPU_OFF": int(Psci.CPU_OFF),
    "PSCI_CPU_ON": int(Psci.CPU_ON_64),
    "PSCI_AFFINITY_INFO": int(Psci.AFFINITY_INFO_64),
    "PSCI_SYSTEM_OFF": int(Psci.SYSTEM_OFF),
    "PSCI_SYSTEM_RESET": int(Psci.SYSTEM_RESET),
    "SMCCC_VERSION": psci.SMCCC_VERSION,
}


class Replay:
    """Where does one RMM answer otherwise than the suite wants?"""

    def __init__(self, base: int, size: int) -> None:
        self.base, self.size = base, size
        self.compared = 0
        self.asserted = 0
        self.differences: list[Difference] = []
        self.test = ""
        self.rmm = Rmm(PhysicalMemory(base, size))

    def expect(self, record: Record, what: str, got: object, wanted: object) -> bool:
        self.compared += 1
        if got != wanted:
            text = json.dumps(record)[:300]
            self.differences.append(f"{self.test}: {text}: {what} {got!r}, wanted {wanted!r}")
        return got == wanted

    def play(self, record: Record) -> None:
        if "begin" in record:
            self.test = record["begin"]
            self.rmm = Rmm(PhysicalMemory(self.base, self.size))
        elif "o" in record and not record["o"].startswith("0x"):
            self.call(record)

    def call(self, record: Record) -> None:
        args = [number(a) for a in record["a"]]
        page = record.get("p")
        if page is not None:
            PAGES[record["o"]](self, args, page)
        out = self.rmm.rmi(Rmi[record["o"]], args)
        got = [out[0] & 0xFF, out[0] >> 8]
        wanted = record.get("e")
        self.asserted += wanted is not None
        if wanted is None and self.test in BAD_GIC_STATE and page and "gicv3_hcr" in page:
            wanted = [int(RmiStatus.ERROR_REC), 0]
        if wanted is None and self.test in BAD_GIC_STATE and page and "gicv3_lrs" in page:
            wanted = [int(RmiStatus.ERROR_REC), 0]
        self.expect(record, "answer", got, wanted or [record["s"], record.get("i", 0)])
        if record["o"] == "REC_ENTER" and not out[0]:
            self.entered(record, args[0])

    def entered(self, record: Record, rec: int) -> None:
        rmm = self.rmm
        for act in record.get("realm", []):
            if not rmm.rec(rec).running:
                self.expect(record, "the REC runs", False, True)
                return
            if "rsi" in act:
                self.service(record, rec, act)
            elif "access" in act:
                self.access(record, rec, act)
            if act.get("irq"):
                rmm.interrupt(rec)
        if rmm.rec(rec).running:
            rmm.interrupt(rec)

    def service(self, record: Record, rec: int, act: Record) -> None:
        name, args = act["rsi"], [number(a) for a in act["a"]]
        function = FUNCTIONS[name] if name in FUNCTIONS else number(name)
        if name == "RSI_HOST_CALL":
            self.host_call(rec, args[0], act)
        got = self.rmm.rsi(rec, [function, *args])
        if act.get("exit") or isinstance(got, Exit):
            self.expect(record, name, isinstance(got, Exit), bool(act.get("exit")))
            return
        wanted = {int(k): number(v) for k, v in act["r"].items()}
        if "ATTESTATION" in name or "MEASUREMENT_READ" in name:  # the contents are topbit's own
            self.expect(record, name, got.regs[0], wanted[0])
        else:
            self.expect(record, name, got.regs, wanted)

    def host_call(self, rec: int, ipa: int, act: Record) -> None:
        """Put the Realm's structure where it says that it stands, if it can."""
        if ipa % HostCall.SIZE or "imm" not in act:
            return
        place = self.rmm.access(rec, ipa, "w", 8)
        if isinstance(place, Translated):
            words = [number(act["imm"]), *(number(g) for g in act["g"])]
            self.rmm.memory.write(place.pa, struct.pack(f"<{len(words)}Q", *words))

    def access(self, record: Record, rec: int, act: Record) -> None:
        got = self.rmm.access(rec, number(act["access"]), act["k"], number(act.get("size", 8)))
        if isinstance(got, Translated):
            wanted = [number(act.get("pa", -1)), act.get("ns")]
            self.expect(record, "access", [got.pa, got.ns], wanted)
        elif isinstance(got, Sea):
            self.expect(record, "access", got.fsc, act.get("sea"))
        else:
            self.expect(record, "access leaves", True, act.get("exit"))

    # Parameter pages.

    def store(self, pa: int, fields: dict[int, tuple[str, Any]]) -> None:
        page = bytearray(4096)
        for at, (form, value) in fields.items():
            values = [number(v) for v in value] if isinstance(value, list) else [number(value)]
            struct.pack_into(f"<{len(values)}{form}", page, at, *values)
        if self.rmm.memory.contains(pa, len(page)) and not pa & 7:
            self.rmm.memory.write(pa, page)

    def realm_page(self, args: list[int], p: Record) -> None:
        names = {0x0: "flags", 0x8: "s2sz_raw", 0x10: "sve_vl", 0x18: "num_bps", 0x20: "num_wps",
                 0x28: "pmu_num_ctrs", 0x30: "hash_algo", 0x800: "vmid", 0x808: "rtt_base",
                 0x818: "rtt_num_start", 0x820: "flags1"}  # fmt: skip
        fields = {at: ("Q", p[name]) for at, name in names.items()}
        fields[0x810] = ("q", p["rtt_level_start"])
        self.store(args[1], fields)

    def rec_page(self, args: list[int], p: Record) -> None:
        names = {0x0: "flags", 0x100: "mpidr", 0x200: "pc", 0x300: "gprs", 0x800: "num_aux",
                 0x808: "aux"}  # fmt: skip
        self.store(args[2], {at: ("Q", p[name]) for at, name in names.items()})

    def run_page(self, args: list[int], p: Record) -> None:
        names = {RecEnter.FLAGS: "flags", RecEnter.GPRS: "gprs", RecEnter.GICV3_HCR: "gicv3_hcr",
                 RecEnter.GICV3_HCR + 8: "gicv3_lrs"}  # fmt: skip
        self.store(args[1], {at: ("Q", p[name]) for at, name in names.items() if name in p})


PAGES: dict[str, Callable[[Replay, list[int], Record], None]] = {
    "REALM_CREATE": Replay.realm_page,
    "REC_CREATE": Replay.rec_page,
    "REC_ENTER": Replay.run_page,
}


def replay(path: str | Path) -> tuple[int, list[Difference]]:
    """How many answers of one acs10 file were compared, and which differ?"""
    lines = read_lines(Path(path))
    memory = json.loads(next(lines))["memory"]
    run = Replay(number(memory["base"]), number(memory["size"]))
    for line in lines:
        run.play(json.loads(line))
    return run.compared, run.differences
