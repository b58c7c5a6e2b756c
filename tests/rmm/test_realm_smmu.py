"""What a trusted stream still translates, after each way in which a valid entry can go."""

from collections.abc import Callable

import pytest

from rmm_devices import BAR, BAR_SIZE, SID, VDEV_ID, assign, device_host
from rmm_host import BASE, PAGE, Host
from topbit.arch.rmi import Rmi, Rmi2
from topbit.arch.rmi_range import AddrRange, MapFlags
from topbit.arch.rsi import Rsi
from topbit.arch.smmuv3 import L1STD, EventType
from topbit.machine.model.realm_streams import RealmStreams
from topbit.rmm.realm_smmu import realm_ste
from topbit.rmm.state import PSMMU
from topbit.smmu import Smmu
from topbit.smmu.outcome import Fault, Ok, Terminated

BAR_IPA = 0x8000
HALF = 1 << 32
BLOCK = 0x20_0000
SINGLE = MapFlags(OADDR_TYPE=MapFlags.SINGLE).words[0]


def one(pa: int, state: int = AddrRange.DELEGATED) -> int:
    return AddrRange(COUNT=1, ADDR=pa, STATE=state).words[0]


def data(host: Host) -> int:
    if host.rmm.revision.name == "1.0":
        host.tables(HALF)
        host.ram([0, PAGE, 2 * PAGE])
    else:
        host.tables(0)
        host.ok(Rmi.RTT_INIT_RIPAS, host.rd, 0, PAGE)
        host.ok(Rmi2.RTT_DATA_MAP, host.rd, 0, PAGE, SINGLE, one(host.granule()))
    return 0


def shared(host: Host) -> int:
    host.tables(HALF)
    if host.rmm.revision.name == "1.0":
        host.ok(Rmi.RTT_MAP_UNPROTECTED, host.rd, HALF, 3, BASE | 0xD4)
    else:
        flags = SINGLE | MapFlags(MEMATTR=5, S2AP_READ=1, S2AP_WRITE=1).words[0]
        described = one(BASE, AddrRange.UNDELEGATED)
        host.ok(Rmi2.RTT_UNPROT_MAP, host.rd, HALF, HALF + PAGE, flags, described)
    return HALF


def shared_block(host: Host) -> int:
    host.tables(HALF, 2)
    host.ok(Rmi.RTT_MAP_UNPROTECTED, host.rd, HALF, 2, BASE + BLOCK | 0xD4)
    return HALF


def shared_pages(host: Host) -> int:
    shared_block(host)
    split(host)
    return HALF


def shared_root(host: Host) -> int:
    host.ok(Rmi.RTT_MAP_UNPROTECTED, host.rd, HALF, 1, BASE | 0xD4)
    return HALF


def registers(host: Host) -> int:
    host.rmm.granules.add_device_memory(BAR, BAR_SIZE)
    host.tables(0)
    host.ok(Rmi.REALM_ACTIVATE, host.rd)
    host.ok(Rmi2.GRANULE_RANGE_DELEGATE, BAR, BAR + PAGE)
    device = assign(host)
    host.ok(Rmi2.RTT_DEV_MAP, host.rd, device.vdev, BAR_IPA, BAR_IPA + PAGE, SINGLE, one(BAR))
    device.lock()
    host.enter()
    call = (Rsi.VDEV_VALIDATE_MAPPING, VDEV_ID, BAR_IPA, BAR_IPA + PAGE, BAR, 0)
    device.ask(*call, *device.nonces())
    host.ok(Rmi2.RTT_DEV_VALIDATE, host.rd, host.recs[0], BAR_IPA, BAR_IPA + PAGE)
    return BAR_IPA


def split(host: Host) -> None:
    host.ok(Rmi.RTT_CREATE, host.rd, host.granule(), HALF, 3)


def empty(host: Host, pages: int) -> None:
    host.enter()
    host.rsi(Rsi.IPA_STATE_SET, 0, pages * PAGE, 0, 0)
    host.ok(Rmi.RTT_SET_RIPAS, host.rd, host.recs[0], 0, pages * PAGE)


def unmap(call: Rmi2, ipa: int) -> Callable[[Host], object]:
    return lambda host: host.ok(call, host.rd, ipa, ipa + PAGE, MapFlags.NONE, 0)


def destroy_realm(host: Host) -> None:
    host.ok(Rmi.REC_DESTROY, host.recs[0])
    host.ok(Rmi.REALM_DESTROY, host.rd)


def stream(host: Host, smmu: Smmu) -> None:
    """A Realm stream table of one entry, for the Realm, elsewhere than the RMM would have it."""
    level1 = host.granule(3, align=4 * PAGE, delegate=False)
    host.memory.write_u64(level1, L1STD(Span=7, L2Ptr=level1 + 2 * PAGE).words[0])
    host.memory.write(level1 + 2 * PAGE + 64 * SID, realm_ste(host.realm).pack())
    smmu.enable_realm(level1, 16, 6)


Way = tuple[str, Callable[[Host], int], Callable[[Host], object]]
WAYS: dict[str, Way] = {
    "DATA_DESTROY": ("1.0", data, lambda h: h.ok(Rmi.DATA_DESTROY, h.rd, 0)),
    "SET_RIPAS of a page": ("1.0", data, lambda h: empty(h, 1)),
    "SET_RIPAS of pages": ("1.0", data, lambda h: empty(h, 3)),
    "RTT_UNMAP_UNPROTECTED": (
        "1.0", shared, lambda h: h.ok(Rmi.RTT_UNMAP_UNPROTECTED, h.rd, HALF, 3),
    ),
    "RTT_DESTROY": ("1.0", shared, lambda h: h.ok(Rmi.RTT_DESTROY, h.rd, HALF, 3)),
    "RTT_CREATE below a block": ("1.0", shared_block, split),
    "RTT_FOLD": ("1.0", shared_pages, lambda h: h.ok(Rmi.RTT_FOLD, h.rd, HALF, 3)),
    "REALM_DESTROY": ("1.0", shared_root, destroy_realm),
    "RTT_DATA_UNMAP": ("2.0", data, unmap(Rmi2.RTT_DATA_UNMAP, 0)),
    "RTT_UNPROT_UNMAP": ("2.0", shared, unmap(Rmi2.RTT_UNPROT_UNMAP, HALF)),
    "RTT_DEV_UNMAP": ("2.0", registers, unmap(Rmi2.RTT_DEV_UNMAP, BAR_IPA)),
}  # fmt: skip


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("told", [True, False])
def test_the_smmu_forgets_what_it_is_told_to_forget(name: str, told: bool) -> None:
    abi, make, remove = WAYS[name]
    host = Host(abi=abi)  # type: ignore[arg-type]
    host.create(da=abi == "2.0")
    host.rec()
    smmu = Smmu(host.memory)
    streams = RealmStreams(smmu)
    ipa = make(host)
    vmid = host.realm.vmid
    stream(host, smmu)
    assert isinstance(smmu.access(SID, ipa, realm=True), Ok)
    host.rmm.smmu = streams if told else None
    remove(host)
    remembered = smmu.caches.tlb.lookup(True, vmid, ipa) is not None
    assert remembered != told
    if name not in ("RTT_CREATE below a block", "RTT_FOLD", "REALM_DESTROY"):
        assert isinstance(smmu.access(SID, ipa, realm=True), Fault if told else Ok)


def test_the_smmu_walks_what_the_rmm_writes_into_donated_memory() -> None:
    host = device_host()
    smmu = Smmu(host.memory)
    host.rmm.smmu = RealmStreams(smmu)
    ipa = shared(host)
    assert smmu.access(SID, ipa, realm=True) == Terminated("gbpa"), "no SMMU is active"
    device = assign(host)
    psmmu = next(iter(host.rmm.psmmus.values()))
    entry = psmmu.level2[0] + 64 * SID

    def valid() -> bool:
        outcome = smmu.access(SID, ipa, realm=True)
        assert isinstance(outcome, Ok) or outcome.event.Type == EventType.C_BAD_STE  # type: ignore
        assert isinstance(outcome, Ok) == bool(host.memory.read_u64(entry) & 1)
        return isinstance(outcome, Ok)

    device.lock()
    device.start()
    host.enter()
    assert not valid()
    assert device.enable((1, 0, 0)) == 5
    assert not valid(), "refused"
    assert device.enable() == 0
    assert valid()
    assert host.memory.read(entry, 64) == realm_ste(host.realm).pack()
    assert device.disable() == 0
    assert not valid()
    device.enable()
    assert valid()
    device.unlock()
    assert not valid()
    host.ok(Rmi2.VDEV_DESTROY, *device.names)
    assert not valid()
    assert host.memory.read(entry, 64) == bytes(64)


def test_a_level_2_table_in_use_stays() -> None:
    host = device_host()
    device = assign(host)
    destroy = (Rmi2.PSMMU_ST_L2_DESTROY, PSMMU, SID & -64)
    assert host.status(*destroy) == 6
    host.ok(Rmi2.VDEV_DESTROY, *device.names)
    assert host.operate(*destroy)[0] == 0
