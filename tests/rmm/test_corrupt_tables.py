"""Tables whose bytes are wrong: a defined answer, and no granule changes hands by them."""

import numpy as np
import pytest

from rmm_host import BASE, PAGE, Host
from topbit.arch.rmi import Rmi, Rmi2, RttState
from topbit.arch.rmi_range import MapFlags
from topbit.arch.rsi import Rsi
from topbit.rmm import Exit, Sea, State, Translated
from topbit.rmm.s2tt import LAST, UNASSIGNED_NS

MIB = 1 << 20
END = BASE + 16 * MIB
ERROR_RTT_3 = 4 | 3 << 8
NS_PAGE = BASE + 8 * PAGE
SINGLE = MapFlags(OADDR_TYPE=MapFlags.SINGLE).words[0]
NOWHERE = (BASE - PAGE, END, 0, (1 << 48) - PAGE, NS_PAGE)


@pytest.fixture
def host() -> Host:
    host = Host()
    host.create()
    host.rec()
    host.tables(host.realm.space.shared_bit)
    host.ram([0, PAGE, 2 * PAGE])
    host.enter()
    return host


def word(host: Host, ipa: int, level: int = LAST) -> int:
    return BASE + 8 * host.realm.rtt.walk(ipa, level).word


def states(host: Host) -> np.ndarray:
    return host.rmm.granules.state.copy()


@pytest.mark.parametrize("pa", NOWHERE)
def test_a_word_that_leads_to_no_table_reads_as_unassigned(host: Host, pa: int) -> None:
    half = host.realm.space.shared_bit
    for ipa in (0, half):
        at = word(host, ipa, 2)
        host.memory.write_u64(at, pa | 3)
        assert host.realm.rtt.walk(ipa, LAST)[::2] == (2, UNASSIGNED_NS if ipa else 2 << 1)
    out = host.ok(Rmi.RTT_READ_ENTRY, host.rd, 0, LAST)
    assert out == (0, 2, int(RttState.UNASSIGNED), 0, 2)
    assert host.status(Rmi.DATA_DESTROY, host.rd, 0) == 4 | 2 << 8
    assert host.status(Rmi.RTT_DESTROY, host.rd, 0, 3) == 4 | 2 << 8
    assert host.status(Rmi.RTT_FOLD, host.rd, 0, 3) == 4 | 2 << 8
    assert host.status(Rmi.RTT_UNMAP_UNPROTECTED, host.rd, half, 3) == 4 | 2 << 8
    assert isinstance(host.rmm.access(host.recs[0], 0, "r"), Exit)
    host.enter()
    assert host.returns(Rsi.IPA_STATE_GET, 0, PAGE) == (0, PAGE, 2)
    # and the host may put a table there again
    host.ok(Rmi.RTT_CREATE, host.rd, host.granule(), 0, 3)


@pytest.mark.parametrize("pa", NOWHERE)
@pytest.mark.parametrize("bits", [0x8, 0xA, 0x18, 0x4D9 | 2, 0x7DB])
def test_no_granule_changes_hands_by_a_wrong_address(host: Host, pa: int, bits: int) -> None:
    host.memory.write_u64(word(host, 0), pa | bits)
    before = states(host)
    rec = host.recs[0]
    assert host.status(Rmi.DATA_DESTROY, host.rd, 0) == ERROR_RTT_3
    found = host.rmm.access(rec, 0, "w")
    assert isinstance(found, Sea | Exit)
    if isinstance(found, Exit):
        host.enter()
    for call in (Rsi.REALM_CONFIG, Rsi.HOST_CALL):
        host.rmm.rsi(rec, [call, 0])
        if not host.rmm.rec(rec).running:
            host.enter()
    for top in (PAGE, 3 * PAGE):
        host.rsi(Rsi.IPA_STATE_SET, 0, top, 1, 1)
        assert host.status(Rmi.RTT_SET_RIPAS, host.rd, rec, 0, top) in (0, ERROR_RTT_3)
        host.enter()
        assert not isinstance(host.rmm.access(rec, 0, "w"), Translated)
        if not host.rmm.rec(rec).running:
            host.enter()
    assert (states(host) == before).all()
    assert not any(host.memory.read(NS_PAGE, PAGE))


def test_a_host_call_whose_page_went_wrong_waits_for_the_host(host: Host) -> None:
    host.rsi(Rsi.HOST_CALL, 0)
    host.memory.write_u64(word(host, 0), NS_PAGE | 0x7DB)
    host.ok(Rmi.REC_ENTER, host.recs[0], BASE + PAGE)
    assert isinstance(host.rmm.rec(host.recs[0]).resume, Exit)
    assert not any(host.memory.read(NS_PAGE, PAGE))


@pytest.mark.parametrize("pa", NOWHERE)
@pytest.mark.parametrize("flavor", [Rmi2.RTT_DATA_UNMAP, Rmi2.RTT_DEV_UNMAP])
@pytest.mark.parametrize("level", [1, 2, 3])
def test_range_calls_free_only_what_is_mapped(pa: int, flavor: Rmi2, level: int) -> None:
    host = Host(abi="2.0")
    host.create()
    host.tables(0, level)
    kinds = (0x08, 0x18) if level == 3 else (0x08, 0x18, 0x7D9, 0x7C5)
    for bits in kinds:
        host.memory.write_u64(word(host, 0, level), pa | bits)
        before = states(host)
        out = host.status(flavor, host.rd, 0, 1 << 30, SINGLE, 0)
        assert out == 4 | level << 8
        assert (states(host) == before).all()


def test_no_entry_frees_the_root_of_a_realm(host: Host) -> None:
    root, rd = host.granule(), host.granule()
    host.ok(Rmi.REALM_CREATE, rd, host.params(33, 1, 1, root, vmid=2))
    host.memory.write_u64(word(host, 0, 1), root | 3)
    assert host.status(Rmi.RTT_DESTROY, host.rd, 0, 2) == 4 | 2 << 8
    host.memory.table(root, 512)[:] = 0
    assert host.status(Rmi.RTT_FOLD, host.rd, 0, 2) == 4 | 2 << 8
    assert host.rmm.granules.get(root) == State.RTT


def test_two_entries_for_one_granule_free_it_once(host: Host) -> None:
    first = host.memory.read_u64(word(host, 0))
    host.memory.write_u64(word(host, PAGE), first)
    host.ok(Rmi.DATA_DESTROY, host.rd, 0)
    assert host.status(Rmi.DATA_DESTROY, host.rd, PAGE) == ERROR_RTT_3
    assert host.rmm.access(host.recs[0], PAGE, "r") == Sea(0x10)


def test_a_protected_leaf_leads_only_to_memory_of_a_realm(host: Host) -> None:
    good = host.memory.read_u64(word(host, 0))
    rec = host.recs[0]
    assert isinstance(host.rmm.access(rec, 0, "w"), Translated)
    for pa in (*NOWHERE, host.rd, host.realm.rtt.base, rec):
        host.memory.write_u64(word(host, 0), good & 0xFFF | pa)
        assert host.rmm.access(rec, 0, "w") == Sea(0x10)


def test_one_table_that_stands_everywhere_does_not_keep_a_call_busy() -> None:
    host = Host(abi="2.0")
    host.create(48, 0)
    host.tables(0)
    rtt = host.realm.rtt
    for level in (0, 1, 2):
        first = rtt.walk(0, level)
        rtt.rest_of_table(first.word)[: 256 if level == 0 else 512] = first.entry
    out = host.ok(Rmi2.RTT_DATA_UNMAP, host.rd, 0, 1 << 47, 0, 0)
    assert 64 << 30 <= out[1] < 1 << 47
