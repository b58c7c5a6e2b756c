"""What must be true of an RMM after any sequence of calls? Found out from its tables alone.

    check(rmm)

raises AssertionError with the first granule or entry that breaks an invariant:
- every granule of a Realm belongs to one Realm, once, and is in the state of its use;
- no granule is in a state without an owner;
- a valid protected entry leads to Realm memory, a valid unprotected one says NS = 1;
- a valid entry of the Realm stream table is that of a device which its Realm trusts, and leads to
  the table of that Realm, which has not ended;
- the host cannot touch a granule that is not NS.
"""

from __future__ import annotations

from collections import Counter

from topbit.arch.gpt import PAS
from topbit.arch.rmi import Ripas, RttState
from topbit.arch.rmi_da import VdevState
from topbit.arch.smmuv3 import STE, STE_BYTES
from topbit.rmm import Rmm, State
from topbit.rmm.granules import GRANULE
from topbit.rmm.realm import Realm, RealmState
from topbit.rmm.realm_smmu import STES, realm_ste
from topbit.rmm.s2tt import ENTRIES, LAST, SHIFTS, UNASSIGNED_NS


def check(rmm: Rmm) -> None:
    granules = rmm.granules
    uses: Counter[tuple[int, State]] = Counter()
    for realm in rmm.realms.values():
        uses[realm.rd, State.RD] += 1
        for i in range(realm.rtt.roots):
            uses[realm.rtt_base + i * GRANULE, State.RTT] += 1
        _tables(realm, uses)
    for rec in rmm.recs.values():
        uses[rec.pa, State.REC] += 1
        uses.update((pa, State.REC_AUX) for pa in rec.aux)
    _devices(rmm, uses)
    for operation in rmm.operations.values():
        uses.update((pa, State(operation.state)) for pa in operation.taken)
        uses.update([(operation.owner, State.PARTIAL)] if operation.owner is not None else [])
    for (pa, state), count in uses.items():
        assert count == 1, f"{pa:#x} is used {count} times as {state.name}"
        assert granules.get(pa) == state, f"{pa:#x} is {granules.get(pa)}, used as {state.name}"
    owned = Counter(state for _, state in uses)
    for state in State:
        if state in (State.NS, State.DELEGATED, State.ROOT, State.UNTRACKED):
            continue
        if state in (State.DEV_DELEGATED, State.DEV_MAPPED):
            continue
        found = int((granules.state == state).sum())
        assert found == owned[state], f"{found} granules are {state.name}, {owned[state]} owned"
    for pa, _ in uses:
        if granules.contains(pa, GRANULE):
            assert granules.check("host", pa, 8, PAS.NS) is not None, f"host may touch {pa:#x}"


def _devices(rmm: Rmm, uses: Counter[tuple[int, State]]) -> None:
    """Who owns the granules of devices, and does every valid stream walk the right Realm?"""
    for pdev in rmm.pdevs.values():
        uses[pdev.pa, State.PDEV] += 1
        uses.update((pa, State.PDEV_AUX) for pa in pdev.aux)
        assert pdev.vdevs == sum(vdev.pdev is pdev for vdev in rmm.vdevs.values())
    streams = {vdev.tdi_id: vdev for vdev in rmm.vdevs.values()}
    assert len(streams) == len(rmm.vdevs), "two devices have one stream"
    for vdev in rmm.vdevs.values():
        uses[vdev.pa, State.VDEV] += 1
        assert rmm.realms[vdev.realm.rd].vdevs[vdev.pa] == vdev.vdev_id
        trusted = vdev.state == VdevState.STARTED and not vdev.unlocking
        assert not vdev.dma or (trusted and vdev.realm.state == RealmState.ACTIVE), vdev
    for psmmu in rmm.psmmus.values():
        uses.update((pa, State.INTERNAL) for pa in (*psmmu.level1, *psmmu.queues))
        for first, table in psmmu.level2.items():
            uses[table, State.PSMMU_ST_L2] += 1
            for n in range(STES):
                ste = STE.unpack(rmm.memory.read(table + n * STE_BYTES, STE_BYTES))
                owner = streams.get(first + n)
                valid = owner is not None and owner.dma
                assert bool(ste.V) == valid, f"stream {first + n:#x}: {ste}"
                if owner is not None and valid:
                    assert ste == realm_ste(owner.realm)


def _tables(realm: Realm, uses: Counter[tuple[int, State]]) -> None:
    rtt, memory = realm.rtt, realm.rtt.memory
    top = rtt.space.size
    pending = [(rtt.base, rtt.start_level, 0, rtt.roots * ENTRIES)]
    while pending:
        table, level, base, count = pending.pop()
        words = memory.table(table, count)
        used = min(count, (top - base) >> SHIFTS[level])
        split = min(max((rtt.space.shared_bit - base) >> SHIFTS[level], 0), used)
        assert not words[used:].any(), "an entry beyond the IPA space is not zero"
        assert (words[:split] != UNASSIGNED_NS).all(), "unassigned, of the wrong half"
        assert words[split:used].all(), "unassigned, of the wrong half"
        quiet = (words == 0) | (words == UNASSIGNED_NS)
        for i in (~quiet).nonzero()[0].tolist():
            word = int(words[i])
            ipa = base + (i << SHIFTS[level])
            entry = rtt.decode(word, level)
            where = f"entry {word:#x} of IPA {ipa:#x}, level {level}"
            if entry.state == RttState.TABLE:
                assert level < LAST
                uses[entry.oa, State.RTT] += 1
                pending.append((entry.oa, level + 1, ipa, ENTRIES))
            elif ipa >= rtt.space.shared_bit:
                assert entry.ns, f"{where}: unprotected, NS = 0"
            else:
                assert not entry.ns, f"{where}: protected, NS = 1"
                _protected(entry.state, entry.ripas, entry.valid, where)
                if entry.state != RttState.UNASSIGNED:
                    dev = entry.state == RttState.ASSIGNED_DEV
                    state = State.DEV_MAPPED if dev else State.DATA
                    pages = range(entry.oa, entry.oa + (1 << SHIFTS[level]), GRANULE)
                    uses.update((pa, state) for pa in pages)


def _protected(state: RttState, ripas: Ripas, valid: bool, where: str) -> None:
    accessible = (RttState.ASSIGNED, Ripas.RAM), (RttState.ASSIGNED_DEV, Ripas.DEV)
    assert valid == ((state, ripas) in accessible), f"{where}: {state.name} {ripas.name}"
