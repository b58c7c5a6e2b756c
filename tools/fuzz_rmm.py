#!/usr/bin/env python3
"""Does any value in any argument bring the RMM out of its rules?

    python tools/fuzz_rmm.py --calls 1000000 --seed N

Makes random RMI and RSI calls and Realm accesses, half of them near to valid, half arbitrary,
with random bytes in parameter pages, lists, run pages and device messages, on all revisions, with
unfinished operations and conversations with devices (`fuzz_devices`). Every answer must be a
defined status, and the invariants of `rmm_invariants` must hold all the time. In every other life
of the RMM its translation tables get random words and bit flips too: then ownership is lost, but
answers stay defined and nothing beyond the granules in use is written. Ends with the number of
calls and of kinds of answers; an exception or a broken invariant ends it with 1.
"""

from __future__ import annotations

import argparse
import random
import sys
import traceback
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "src"))

from fuzz_arguments import BASE, DEVICE, DEVICE_SIZE, GRANULES, NS_PAGES, SIZE, U64, Arguments
from fuzz_devices import DeviceFuzz
from rmm_invariants import check
from topbit.arch.rmi import Rmi, Rmi2, RmiStatus
from topbit.arch.rmi_range import AddrRange, MapFlags
from topbit.arch.rsi import Rsi
from topbit.memory import PhysicalMemory
from topbit.rmm import Exit, Resume, Rmm, Sea, State, Translated
from topbit.rmm.device import MappingRequest
from topbit.rmm.realm import Realm, Rec, RipasChange
from topbit.rmm.rsi.psci import FUNCTIONS
from topbit.rmm.rsi.vdev import VdevRequest

UNTOUCHED = BASE + SIZE // 2  # from here on no call is about any granule
CHECK_EVERY = 500
RESTART_EVERY = 400


class Fuzz(Arguments):
    """One RMM and a stream of calls on it."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.answers: Counter[str] = Counter()
        self.corrupted = True
        self.restart()

    def restart(self) -> None:
        self.corrupted = not self.corrupted
        self.memory = PhysicalMemory(BASE, SIZE)
        self.rmm = Rmm(self.memory, abi=self.random.choice(("1.0", "2.0-beta0", "2.0-bet3")))
        self.rmm.granules.add_device_memory(DEVICE, DEVICE_SIZE)
        self.devices = DeviceFuzz(self.rmm, self.random, self.pa, BASE, NS_PAGES)
        if self.rmm.revision.ranges:
            self.rmm.rmi(Rmi2.RMM_ACTIVATE)
        known = [*Rmi, *Rmi2] if self.rmm.revision.ranges else list(Rmi)
        usual = [fid for fid in known if fid.name.startswith(("RTT", "DATA", "REC_ENTER"))]
        devices = [fid for fid in known if fid.name.startswith(("OP_", "PDEV", "VDEV", "PSMMU"))]
        self.fids = [int(fid) for fid in (*known, *usual, *usual, *devices, *[Rmi.REC_ENTER] * 10)]
        self.setup()

    def setup(self) -> None:
        """A Realm to begin with, most of the time; random calls seldom make one."""
        r = self.random
        for i in range(8, GRANULES):
            if not self.rmm.revision.ranges:
                self.rmm.rmi(Rmi.GRANULE_DELEGATE, [BASE + i * 4096])
        top = BASE + (GRANULES - 16) * 4096
        if self.rmm.revision.ranges:
            self.rmm.rmi(Rmi2.GRANULE_RANGE_DELEGATE, [BASE + 8 * 4096, top])
        for rd in (8, 20)[: r.randrange(1, 3)]:
            self.realm_page(0, root=rd + 8)
            self.rmm.rmi(Rmi.REALM_CREATE, [BASE + rd * 4096, BASE])
            aux = 48 if rd == 8 else 64
            self.rec_page(0, aux=aux)
            self.memory.write_u64(BASE + 0x100, 0)
            out = self.rmm.rmi(Rmi.REC_CREATE, [BASE + rd * 4096, BASE + (rd + 1) * 4096, BASE])
            if self.rmm.revision.ranges:
                self.devices.finish(out, [BASE + (aux + i) * 4096 for i in range(16)])
            realm = self.rmm.realms.get(BASE + rd * 4096)
            table = BASE + (rd + 2) * 4096
            for ipa in (0, realm.space.shared_bit) if realm else ():
                for level in range(realm.start_level + 1 if realm else 4, 4):
                    done = self.rmm.rmi(Rmi.RTT_CREATE, [BASE + rd * 4096, table, ipa, level])
                    table += 4096 if done == (0,) else 0
            if r.random() < 0.7:
                self.rmm.rmi(Rmi.RTT_INIT_RIPAS, [BASE + rd * 4096, 0, 4096 * r.randrange(9)])
            if realm:
                self.populate(realm)
            if r.random() < 0.7:
                self.rmm.rmi(Rmi.REALM_ACTIVATE, [BASE + rd * 4096])
        if self.rmm.revision.ranges and r.random() < 0.7:
            self.devices.setup(r.choice((0, 1, 2, 3, 4, 4, 4, 4)))

    def populate(self, realm: Realm) -> None:
        """A few pages of data and of unprotected memory, so that calls find something."""
        for page in range(self.random.randrange(5)):
            ipa, alias = page * 4096, page * 4096 + realm.space.shared_bit
            data, shared = BASE + (GRANULES - 17 - page) * 4096, BASE
            if self.rmm.granules.get(data) != State.DELEGATED:
                continue
            if not self.rmm.revision.ranges:
                self.rmm.rmi(Rmi.DATA_CREATE_UNKNOWN, [realm.rd, data, ipa])
                self.rmm.rmi(Rmi.RTT_MAP_UNPROTECTED, [realm.rd, alias, 3, shared | 0xD4])
                continue
            one = MapFlags(OADDR_TYPE=MapFlags.SINGLE, MEMATTR=5).words[0]
            described = AddrRange(COUNT=1, ADDR=data).words[0]
            self.rmm.rmi(Rmi2.RTT_DATA_MAP, [realm.rd, ipa, ipa + 4096, one & 3, described])
            described = AddrRange(COUNT=1, ADDR=shared, STATE=1).words[0]
            self.rmm.rmi(Rmi2.RTT_UNPROT_MAP, [realm.rd, alias, alias + 4096, one, described])

    def noise(self) -> None:
        """Random bytes in a host page: parameters, a descriptor list, flags of a run page."""
        r, page = self.random, self.random.randrange(NS_PAGES)
        if self.rmm.granules.get(BASE + page * 4096):
            return
        kind = r.randrange(4)
        if kind == 0:
            self.realm_page(page)
        elif kind == 1:
            self.rec_page(page)
        elif kind == 2:
            words = [self.descriptor() for _ in range(16)]
            self.memory.table(BASE + page * 4096, 16)[:] = words
        else:
            self.memory.write(BASE + page * 4096, r.randbytes(4096))

    def corrupt(self) -> None:
        """Another word, or other bits of a word, somewhere in a translation table."""
        r = self.random
        tables = (self.rmm.granules.state == State.RTT).nonzero()[0].tolist()
        if not tables:
            return
        entry = r.choice((0, 0, 1, 2, 3, 4, 511, r.randrange(512)))
        at = BASE + r.choice(tables) * 4096 + 8 * entry
        word = self.memory.read_u64(at)
        for _ in range(r.randrange(1, 4)):
            word ^= 1 << r.randrange(64)
        kind = r.random()
        if kind < 0.4:
            table = BASE + r.choice(tables) * 4096
            word = r.choice((self.pa(), table, BASE - 4096, BASE + SIZE))
            word |= r.choice((3, 3, 1, 8, 10, 24, r.randrange(4096))) | r.randrange(2) << 55
        elif kind < 0.7:
            word = r.getrandbits(64) if r.random() < 0.5 else r.getrandbits(48) | r.randrange(64)
        self.memory.write_u64(at, word)

    def check(self) -> None:
        """What must be true now?"""
        if not self.corrupted:
            check(self.rmm)
        known = {State(state) for state in set(self.rmm.granules.state.tolist())}
        assert State.UNTRACKED not in known
        assert not any(self.memory.read(UNTOUCHED, BASE + SIZE - UNTOUCHED)), "stray write"

    def rmi(self) -> None:
        r = self.random
        rare = (Rmi.REALM_DESTROY, Rmi.REC_DESTROY, Rmi2.REALM_TERMINATE, Rmi2.PDEV_ABORT,
                Rmi2.VDEV_ABORT, Rmi2.VDEV_DESTROY, Rmi2.PSMMU_ST_L2_DESTROY)  # fmt: skip
        fid = r.choice(self.fids) if r.random() < 0.98 else r.getrandbits(64)
        if fid in rare and r.random() < 0.95:
            fid = Rmi.REC_ENTER
        args = (
            self.likely(fid) if r.random() < 0.7 else [self.value() for _ in range(r.randrange(7))]
        )
        out = self.rmm.rmi(fid, args)
        assert all(isinstance(x, int) and 0 <= x <= U64 for x in out), (fid, args, out)
        if out[0] == U64:
            self.answers["NOT_SUPPORTED"] += 1
            return
        assert out[0] >> 16 == 0, (hex(fid), args, out)
        self.answers[RmiStatus(out[0] & 0xFF).name] += 1

    def realm(self) -> None:
        """Something that a running REC does, if one runs."""
        r = self.random
        running = [rec.pa for rec in self.rmm.recs.values() if rec.running]
        if not running:
            return self.rmi()
        rec = r.choice(running)
        kind = r.random()
        if kind < 0.3:
            ipa = self.ipa() | r.randrange(4096) if r.random() < 0.9 else r.getrandbits(64)
            esr = r.getrandbits(32) if r.random() < 0.3 else None
            got: object = self.rmm.access(
                rec, ipa, r.choice(("r", "w", "x")), r.choice((1, 2, 4, 8, 16)),
                value=r.getrandbits(64), esr=esr,
            )  # fmt: skip
            assert isinstance(got, Translated | Sea | Exit)
        elif kind < 0.9:
            likely = [Rsi.IPA_STATE_SET] * 20
            if self.rmm.recs[rec].realm.vdevs:
                likely += [Rsi.VDEV_DMA_ENABLE] * 20 + [Rsi.VDEV_VALIDATE_MAPPING] * 10
            fid = r.choice((*Rsi, *FUNCTIONS, *likely))
            if r.random() < 0.5:
                base = self.ipa()
                regs = [fid, base, base + r.randrange(4) * 4096, r.randrange(2), r.randrange(2)]
                regs = self.devices.asked(fid, base, self.rmm.recs[rec]) or regs
            else:
                regs = [fid, *(self.value() for _ in range(r.randrange(12)))]
            if fid in (0x8400_0008, 0x8400_0009) and r.random() < 0.95:
                return None
            got = self.rmm.rsi(rec, regs)
            assert isinstance(got, Resume | Exit)
            if isinstance(got, Resume):
                assert all(0 <= x <= U64 for x in got.regs.values())
        else:
            got = self.rmm.interrupt(rec)
        self.answers[type(got).__name__] += 1
        if r.random() < 0.7:
            self.answer_request(self.rmm.recs[rec])
        return None

    def answer_request(self, rec: Rec) -> None:
        """What a host would do next, where a Realm asked for something."""
        pending = rec.pending
        if isinstance(pending, VdevRequest) and self.rmm.vdevs:
            vdev = self.random.choice([*rec.realm.vdevs, *self.rmm.vdevs])
            self.rmm.rmi(Rmi2.VDEV_COMPLETE, [rec.pa, vdev])
            self.rmm.rmi(Rmi.REC_ENTER, [rec.pa, rec.run])
            if self.rmm.recs[rec.pa].pending is not pending and not rec.running:
                self.answer_request(rec)
        if isinstance(pending, (RipasChange, MappingRequest)):
            change = isinstance(pending, RipasChange)
            fid = Rmi.RTT_SET_RIPAS if change else Rmi2.RTT_DEV_VALIDATE
            out = self.rmm.rmi(fid, [rec.realm.rd, rec.pa, pending.progress, pending.top])
            self.answers[fid.name if out[0] == 0 else RmiStatus(out[0] & 0xFF).name] += 1

    def run(self, calls: int) -> None:
        for i in range(calls):
            if i % RESTART_EVERY == RESTART_EVERY - 1:
                self.check()
                self.restart()
            kind = self.random.random()
            if self.corrupted and kind < 0.1:
                self.corrupt()
            if kind < 0.05:
                self.noise()
            if kind < 0.1 and self.rmm.revision.ranges:
                self.devices.go_on()
            elif kind < 0.75:
                self.rmi()
            else:
                self.realm()
            if i % CHECK_EVERY == 0:
                self.check()
        self.check()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    fuzz = Fuzz(options.seed)
    try:
        fuzz.run(options.calls)
    except Exception:
        traceback.print_exc()
        print(f"seed {options.seed}: failed", file=sys.stderr)
        return 1
    counts = ", ".join(f"{name} {n}" for name, n in fuzz.answers.most_common())
    print(f"{options.calls} calls, no exception, invariants hold; answers: {counts}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
