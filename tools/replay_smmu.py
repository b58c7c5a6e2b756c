"""Does the SMMU model give the results that smmu-s2 vectors record?

Vectors come from QEMU 10.0.2's SMMUv3, with the architecture's result beside it where the two
differ. The model has caches and follows the specification, so for each access it must give

- `r` where nothing is noted (the implementation and the architecture agree);
- `r` or `arch` where a stale cache entry was in use (`why` = stale);
- `arch`, or a member of `allowed`, where the implementation deviates (`why` = deviation).

docs/qemu-deviations.md lists two places where the vectors' own rule departs from IHI0070; they
are `input_beyond_ias` and `WITHOUT_HTTU` here.
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from topbit.arch.smmuv3 import STE, Command, EventType, Opcode
from topbit.arch.smmuv3_regs import CR0, Reg
from topbit.memory import PhysicalMemory
from topbit.smmu import Fault, Ok, Outcome, Smmu

OAS_BITS = 44
STRTAB = 0x4000_0000
CMDQ = 0x4001_0000
PAGE_MASK = 0xFFF
WITHOUT_HTTU = ~(STE.S2HA.mask | STE.S2HD.mask)  # the implementation ignores both


class Bench:
    """One SMMU as every case finds it: enabled, empty caches, a linear table of 256 STEs."""

    def __init__(self, memory: PhysicalMemory) -> None:
        self.memory = memory
        self.written: set[int] = set()

    def start(self, case: dict[str, Any]) -> None:
        for page in self.written:
            self.memory.fill(page, 4096)
        self.written.clear()
        self.smmu = Smmu(self.memory, oas_bits=OAS_BITS)
        self.smmu.write_reg(Reg.STRTAB_BASE, STRTAB)
        self.smmu.write_reg(Reg.STRTAB_BASE_CFG, 8)
        self.smmu.write_reg(Reg.CMDQ_BASE, CMDQ | 4)
        self.smmu.write_reg(Reg.CR0, CR0.SMMUEN | CR0.CMDQEN)
        self.store(case["tables"])
        for sid, words in case["stes"]:
            self.ste(sid, words)

    def store(self, words: list[list[str]]) -> None:
        for pa, value in words:
            self._put(int(pa, 0), int(value, 0))

    def _put(self, pa: int, value: int) -> None:
        self.written.add(pa & ~PAGE_MASK)
        self.memory.write_u64(pa, value)

    def ste(self, sid: int, words: list[str]) -> None:
        for i, word in enumerate(words):
            value = int(word, 0) & (WITHOUT_HTTU if i == STE.S2HA.word else -1)
            self._put(STRTAB + 64 * sid + 8 * i, value)

    def command(self, name: str, *args: Any) -> None:
        numbers = [int(a, 0) if isinstance(a, str) else a for a in args]
        match name, numbers:
            case "CFGI_STE", [sid]:
                command = Command(Opcode=Opcode.CFGI_STE, StreamID=sid, Leaf=1)
            case "CFGI_ALL", []:
                command = Command(Opcode=Opcode.CFGI_STE_RANGE, Range=31)
            case "TLBI_S2_IPA", [vmid, ipa]:
                command = Command(Opcode=Opcode.TLBI_S2_IPA, VMID=vmid, Address=ipa & ~PAGE_MASK)
            case "TLBI_S12_VMALL", [vmid]:
                command = Command(Opcode=Opcode.TLBI_S12_VMALL, VMID=vmid)
            case "TLBI_NSNH_ALL", []:
                command = Command(Opcode=Opcode.TLBI_NSNH_ALL)
            case _:
                raise ValueError(f"unknown command in a vector: {name} {args}")
        for entry in (command, Command(Opcode=Opcode.SYNC)):
            prod = self.smmu.read_reg(Reg.CMDQ_PROD)
            pa = CMDQ + 16 * (prod & 15)
            self.written.add(CMDQ)
            self.memory.write(pa, entry.pack())
            self.smmu.write_reg(Reg.CMDQ_PROD, (prod + 1) & 31)

    def access(self, sid: int, address: int, size: int, rw: str) -> Outcome:
        return self.smmu.access(sid, address, size, rw == "w")


def as_result(outcome: Outcome) -> dict[str, Any]:
    """How does an outcome of the model look in a vector?"""
    if isinstance(outcome, Ok):
        return {"pa": outcome.pa}
    if not isinstance(outcome, Fault):
        return {"terminated": 1}
    record = outcome.event
    event: dict[str, Any] = {"type": record.name, "sid": record.StreamID}
    if record.Type != EventType.C_BAD_STE:
        event |= {
            "rnw": record.RnW,
            "s2": record.S2,
            "cls": record.CLASS,
            "addr": record.InputAddr,
        }
        if record.Type == EventType.F_WALK_EABT:
            event["fetch"] = record.FetchAddr
        else:
            event["ipa"] = record.IPA
    return {"event": event}


def as_numbers(result: Any) -> Any:
    """A vector's result with its hex strings as numbers."""
    if isinstance(result, dict):
        return {key: as_numbers(value) for key, value in result.items()}
    if isinstance(result, str) and result.startswith("0x"):
        return int(result, 0)
    return result


def input_beyond_ias(expected: Any, got: Any, access: list[Any]) -> bool:
    """Is the difference only that of an input address that exceeds IAS?

    IHI0070 3.4: where stage 1 is bypassed, an input address beyond IAS is a *stage 1* address
    size fault, always recorded. The vectors' rule says a stage 2 translation fault, which
    STE.S2R = 0 leaves unrecorded.
    """
    sid, address, _, rw = access
    fault = {
        "type": "F_ADDR_SIZE",
        "sid": sid,
        "rnw": int(rw == "r"),
        "s2": 0,
        "cls": 2,
        "addr": int(address, 0),
        "ipa": 0,
    }
    if not int(address, 0) >> OAS_BITS or got != {"event": fault}:
        return False
    return "terminated" in expected or expected.get("event", {}).get("type") == "F_TRANSLATION"


def permitted(step: dict[str, Any]) -> list[Any]:
    """Which results may the model give? Empty: the architecture leaves it open."""
    why = step.get("why")
    if why is None:
        return [as_numbers(step["r"])]
    arch = as_numbers(step["arch"])
    if arch == {"unspecified": 1}:
        return []
    if why == "stale":
        return [as_numbers(step["r"]), arch]
    return [arch, *(as_numbers(other) for other in step.get("allowed", []))]


def records(path: str | Path) -> Iterator[dict[str, Any]]:
    """Which JSON objects does a plain or .xz vector file hold?"""
    data = Path(path).read_bytes()
    text = lzma.decompress(data) if str(path).endswith(".xz") else data
    for line in text.decode().splitlines():
        if line.strip():
            yield json.loads(line)


def replay(path: str | Path) -> tuple[int, list[str]]:
    """How many accesses were compared, and which differ? One line per difference."""
    compared = 0
    differences = []
    bench = Bench(PhysicalMemory(0x4000_0000, 0x2000_0000))
    for case in records(path):
        if "header" in case:
            continue
        bench.start(case)
        for number, step in enumerate(case["steps"]):
            if "write" in step:
                bench.store(step["write"])
            elif "ste" in step:
                bench.ste(*step["ste"])
            elif "cmd" in step:
                bench.command(*step["cmd"])
            elif "access" in step:
                sid, address, size, rw = step["access"]
                got = as_result(bench.access(sid, int(address, 0), size, rw))
                wanted = permitted(step)
                if not wanted:
                    continue
                compared += 1
                if got not in wanted and not any(
                    input_beyond_ias(want, got, step["access"]) for want in wanted
                ):
                    differences.append(
                        f"case {case['case']} step {number} {step['access']}: "
                        f"model {got}, vector {wanted}"
                    )
            else:
                raise ValueError(f"unknown step in case {case['case']}: {sorted(step)}")
    return compared, differences
