"""Can any bytes or register values make the SMMU model raise, or leave its memory?

    python tools/fuzz_smmu.py --accesses 1000000 --seed 1

Every round fills a small memory with random words, most of them plausible descriptors, STEs and
commands that point into it, writes random registers, and makes accesses of every kind. Every
outcome must be a defined one, and the batch paths must agree with each other.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "src"))

from topbit.arch.smmuv3 import L1STD, STE, Config, EventRecord, Opcode
from topbit.arch.smmuv3_regs import CR0, Reg
from topbit.memory import PhysicalMemory
from topbit.smmu import Fault, Ok, Smmu, Terminated
from topbit.smmu.outcome import Outcome
from topbit.smmu.translate import Translator

BASE = 0x4000_0000
SIZE = 0x8_0000
STRTAB = BASE
REALM_STRTAB = BASE + 0x4000
CMDQ = BASE + 0x1_0000
EVENTQ = BASE + 0x1_8000
TABLES = BASE + 0x2_0000
REGISTERS = [*Reg, 0x4, 0x1C, 0x84, 0x94, 0xA4, 0x1234, 0x100B0]
OAS = (32, 40, 44, 48, 48, 48, 52, 52)
REASONS = {"abort", "streamid", "unrecorded", "gbpa", "oas", "gpf", "bus"}
ACCESSES_PER_ROUND = 200


class Fuzz:
    """One generator of hostile rounds, and what came of them."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.arrays = np.random.default_rng(seed)
        self.memory = PhysicalMemory(BASE, SIZE)
        self.outcomes: Counter[str] = Counter()
        self.done = 0

    def round(self, accesses: int) -> None:
        """One random machine and so many accesses."""
        rng = self.rng
        gpc = self._gpc if rng.random() < 0.3 else None
        smmu = Smmu(
            self.memory, gpc=gpc, oas_bits=rng.choice(OAS), sid_bits=rng.choice((6, 8, 16, 32))
        )
        self._fill(smmu)
        self._registers(smmu)
        for _ in range(accesses):
            chance = rng.random()
            if chance < 0.02:
                self._disturb(smmu)
            elif chance < 0.023:
                self._batch(smmu)
            else:
                self._access(smmu)
            self.done += 1

    def _gpc(self, pa: int, size: int, write: bool, pas: int) -> object | None:
        pages = range(pa >> 12, (pa + size - 1 >> 12) + 1)
        return "refused" if any(page % 7 == 3 for page in pages) else None

    def _fill(self, smmu: Smmu) -> None:
        """Random words; then descriptors that point into memory, STEs and commands."""
        memory, arrays = self.memory, self.arrays
        count = memory.words.size
        memory.words[:] = arrays.integers(0, 1 << 64, count, dtype=np.uint64, endpoint=False)
        plausible = arrays.random(count) < 0.8
        pages = arrays.integers(TABLES >> 12, (BASE + SIZE) >> 12, count, dtype=np.uint64)
        bits = arrays.integers(0, 1 << 12, count, dtype=np.uint64) | np.uint64(1)
        bits |= np.where(arrays.random(count) < 0.7, np.uint64(2), np.uint64(0))
        descriptors = pages << np.uint64(12) | bits
        memory.words[plausible] = descriptors[plausible]
        for sid in range(64):
            if self.rng.random() < 0.85:
                memory.write(STRTAB + 64 * sid, self._ste().pack())
        for index in range(64):
            command = self.rng.choice((*Opcode, 0, 0x7F, 0xFF)) | self.rng.getrandbits(24) << 8
            memory.write_u64(CMDQ + 16 * index, command | self.rng.getrandbits(32) << 32)

    def _ste(self) -> STE:
        rng = self.rng
        shift, code = rng.choice(((12, 0), (14, 2), (16, 1)))
        level = rng.choice((0, 1, 2) if shift == 12 else (1, 2, 3))
        lowest = shift + (3 - level) * (shift - 3) + 1
        bits = max(25, min(48, rng.randint(lowest, lowest + shift)))
        ste = STE(
            V=1,
            Config=rng.choice((Config.S2,) * 8 + (0, 1, 4, 5, 7)),
            S2VMID=rng.randint(0, 3),
            S2T0SZ=64 - bits,
            S2SL0=(2 if shift == 12 else 3) - level,
            S2TG=code,
            S2PS=rng.randint(0, 7),
            S2AA64=1,
            S2AFFD=rng.randint(0, 1),
            S2R=rng.randint(0, 1),
            S2DS=rng.randint(0, 1),
            S2SL0_2=int(rng.random() < 0.1),
            S2TTB=rng.randrange(TABLES, BASE + SIZE, 4096),
        )
        if rng.random() < 0.05:
            word = rng.randrange(STE.WORDS)
            ste.words[word] ^= 1 << rng.randrange(64)
        return ste

    def _registers(self, smmu: Smmu) -> None:
        rng = self.rng
        smmu.write_reg(Reg.STRTAB_BASE, STRTAB if rng.random() < 0.96 else rng.getrandbits(64))
        two_level = rng.random() < 0.1
        config = 6 | (6 << 6 | 1 << 16 if two_level else 0)
        smmu.write_reg(Reg.STRTAB_BASE_CFG, config if rng.random() < 0.96 else rng.getrandbits(32))
        smmu.write_reg(Reg.CMDQ_BASE, CMDQ | 6 if rng.random() < 0.96 else rng.getrandbits(64))
        smmu.write_reg(Reg.EVENTQ_BASE, EVENTQ | 6 if rng.random() < 0.96 else rng.getrandbits(64))
        enabled = CR0.SMMUEN | CR0.CMDQEN | CR0.EVENTQEN
        smmu.write_reg(Reg.CR0, enabled if rng.random() < 0.95 else rng.getrandbits(32))
        smmu.write_reg(Reg.CR2, rng.getrandbits(2))
        smmu.enable_realm(REALM_STRTAB, 16, 6)
        self.memory.write_u64(REALM_STRTAB, L1STD(Span=7, L2Ptr=REALM_STRTAB + 0x2000).words[0])
        for sid in range(16):
            self.memory.write(REALM_STRTAB + 0x2000 + 64 * sid, self._ste().pack())

    def _disturb(self, smmu: Smmu) -> None:
        """Any register written with any value, read back; commands; tables changed."""
        rng = self.rng
        for _ in range(3):
            register = rng.choice(REGISTERS)
            smmu.write_reg(register, rng.getrandbits(64), rng.choice((4, 8, None)))
            value = smmu.read_reg(rng.choice(REGISTERS))
            assert 0 <= value < 1 << 64
        smmu.write_reg(Reg.CR0, CR0.SMMUEN | CR0.CMDQEN | CR0.EVENTQEN)
        smmu.write_reg(Reg.GERRORN, smmu.read_reg(Reg.GERROR))
        smmu.write_reg(Reg.CMDQ_PROD, rng.randrange(128))
        smmu.write_reg(Reg.EVENTQ_CONS, rng.getrandbits(32))
        for _ in range(20):
            self.memory.write_u64(rng.randrange(TABLES, BASE + SIZE, 8), rng.getrandbits(64))
        smmu.invalidate_realm(rng.randint(0, 3), rng.choice((None, rng.getrandbits(52))))

    def _address(self) -> int:
        rng = self.rng
        kind = rng.random()
        if kind < 0.5:
            return rng.getrandbits(rng.randint(12, 48))
        if kind < 0.9:
            return rng.randrange(BASE, BASE + SIZE) | rng.choice((0, 1 << rng.randint(30, 51)))
        return rng.getrandbits(64)

    def _access(self, smmu: Smmu) -> None:
        rng = self.rng
        sid = rng.randrange(16) if rng.random() < 0.95 else rng.getrandbits(32)
        realm = rng.random() < 0.2
        kind = rng.random()
        if kind < 0.9:
            outcome = smmu.access(
                sid, self._address(), rng.choice((1, 4, 64, 8192)), rng.random() < 0.5, realm=realm
            )
        elif kind < 0.95:
            _, outcome = smmu.read(sid, self._address(), rng.randrange(10000), realm=realm)
        else:
            data = rng.randbytes(rng.randrange(10000))
            _, outcome = smmu.write(sid, self._address(), data, realm=realm)
        self.outcomes[self._check(smmu, outcome)] += 1

    def _check(self, smmu: Smmu, outcome: Outcome) -> str:
        """Is this one of the defined outcomes? Returns its name."""
        match outcome:
            case Ok(pa=pa, size=size):
                assert 0 <= pa < 1 << smmu.registers.oas_bits
                assert 1 <= size <= 4096
                return "ok"
            case Terminated(reason=reason):
                assert reason in REASONS
                return f"terminated: {reason}"
            case Fault(event=event):
                assert not event.name.startswith("0x")
                assert EventRecord.unpack(event.pack()) == event
                return event.name
        raise AssertionError(outcome)

    def _batch(self, smmu: Smmu) -> None:
        """Reference and fast path agree while nothing is stale."""
        sid, write = self.rng.randrange(64), self.rng.random() < 0.5
        iovas = np.array([self._address() for _ in range(50)], np.uint64)
        smmu.caches.tlb.invalidate_all(False)
        translator = Translator(smmu)
        reference = translator.translate(sid, iovas, write, reference=True)
        fast = translator.translate(sid, iovas, write)
        assert np.array_equal(reference[0], fast[0])
        assert np.array_equal(reference[1], fast[1])
        for iova, pa, code in zip(iovas[:4].tolist(), *fast, strict=False):
            outcome = smmu.access(sid, iova, 1, write)
            assert isinstance(outcome, Ok) == (code == 0)
            assert not isinstance(outcome, Ok) or outcome.pa == pa


def fuzz(accesses: int, seed: int) -> Counter[str]:
    """What came of so many accesses? Raises if one of them did what must not happen."""
    fuzz = Fuzz(seed)
    while fuzz.done < accesses:
        fuzz.round(min(ACCESSES_PER_ROUND, accesses - fuzz.done))
        if sys.stderr.isatty():
            print(f"\r{fuzz.done:,} accesses", end="", file=sys.stderr)
    return fuzz.outcomes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--accesses", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    outcomes = fuzz(options.accesses, options.seed)
    for name, count in outcomes.most_common():
        print(f"{count:10,}  {name}")
    print(f"{options.accesses:,} accesses, seed {options.seed}: every outcome was a defined one")


if __name__ == "__main__":
    main()
