"""Every rule has a recording that it must flag and one that it must not."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import pytest

from topbit.events import Event
from topbit.recording import DeviceFacts, Platform, Recording
from topbit.rules import RULES, check

S = 1 << 40
FAILED = (1 << 64) - 1
POOL = 0x76B00000
BUFFER = 0x43D92000
PAGE = 0x1000
HOST = 0x9_0000_0000  # physical pages of the host: HOST + IPA backs a shared IPA

REALM = Platform(
    realm=True,
    ipa_bits=41,
    ipa_bits_from="scenario",
    kernel="6.18.15",
    machine="model",
    ram=[(0x40000000, 1 << 30)],
    pools=[(POOL, 64 << 20)],
    devices={
        "disk": DeviceFacts(sid=0x10),
        "tdisp": DeviceFacts(sid=0x20, trusted=True),
        "virtio": DeviceFacts(sid=None, emulated=True),
        "narrow": DeviceFacts(sid=0x30, dma_mask=0xFFFFFFFF),
    },
)
LOG = dataclasses.replace(REALM, machine="log", one_clock=False)
DOORBELL = 0x8090040
INTERRUPTS = dataclasses.replace(REALM, msi_doorbells=[DOORBELL])
WIDE = dataclasses.replace(REALM, ipa_bits=52)
UNKNOWN_WIDTH = dataclasses.replace(REALM, ipa_bits=None)
SME = Platform(scheme="amd-sme", realm=False, policies={"c_bit": "47"})
PLAIN = Platform(scheme="none", realm=False)


def dma_map(address: int = POOL | S, device: str = "disk", **more: object) -> Event:
    facts = {"size": 64, "phys": BUFFER, "direction": "FROM_DEVICE"} | more
    return dataclasses.replace(Event("guest", "dma_map", device, address=address), **facts)  # type: ignore[arg-type]


def dma_unmap(address: int = POOL | S, device: str = "disk", size: int = 64) -> Event:
    return Event("guest", "dma_unmap", device=device, address=address, size=size)


def dma_alloc(address: int = BUFFER | S, device: str = "disk", **more: object) -> Event:
    facts = {"size": PAGE, "direction": "BIDIRECTIONAL"} | more
    return Event("guest", "dma_alloc", device=device, address=address, **facts)  # type: ignore[arg-type]


def helper(name: str, phys: int, address: int, device: str | None = None) -> Event:
    return Event("guest", "helper", device=device, attrs=name, phys=phys, address=address)


def convert(phys: int, status: str, size: int = PAGE, pa: int | None = None) -> Event:
    return Event("vmm", "convert", phys=phys, status=status, size=size, pa=pa)


def iommu_map(iova: int, pa: int, size: int = PAGE, sid: int = 0x10, status: str = "ok") -> Event:
    return Event("vmm", "iommu_map", address=iova, pa=pa, size=size, sid=sid, status=status)


def asked(phys: int, ripas: str) -> Event:
    return Event("rmm", "rmm_exit", phys=phys, size=PAGE, status="RIPAS_CHANGE", attrs=ripas)


def unshared(phys: int) -> Event:
    return Event("rmm", "rtt_unmap", address=phys | S, phys=phys, size=PAGE, attrs="unprotected")


def iommu_unmap(iova: int, size: int = PAGE, sid: int = 0x10, status: str = "ok") -> Event:
    return Event("vmm", "iommu_unmap", address=iova, size=size, sid=sid, status=status)


def access(
    address: int, status: str = "F_TRANSLATION", direction: str = "r", **more: object
) -> Event:
    facts = {"device": "disk", "sid": 0x10, "size": 64} | more
    return Event(
        "device",
        "access",
        address=address,
        status=status,
        direction=direction,
        **facts,  # type: ignore[arg-type]
    )


def smmu_event(address: int, status: str = "F_TRANSLATION", direction: str = "r") -> Event:
    return Event(
        "smmu",
        "smmu_event",
        sid=0x10,
        address=address,
        status=status,
        direction=direction,
        attrs="s2|IN",
    )


def set_memory(phys: int, status: str, size: int = PAGE) -> Event:
    return Event("guest", "set_memory", phys=phys, status=status, size=size)


@dataclass
class Case:
    """A recording that a rule must flag, and one that it must not."""

    rule: str
    agent: str
    bad: list[Event]
    good: list[Event]
    platform: Platform = field(default_factory=lambda: REALM)
    severity: str = "violation"
    count: int = 1
    device: str | None = "disk"
    says: str = ""


SHARED = [convert(POOL, "shared", pa=HOST + POOL), iommu_map(POOL | S, HOST + POOL)]

CASES = {
    "H1: the old order loses the page": Case(
        "H1",
        "guest",
        [
            helper("phys_to_dma_unencrypted", BUFFER, 0x80000000 | S),
            helper("dma_to_phys", FAILED, 0x80000000 | S),
        ],
        [
            helper("phys_to_dma_unencrypted", BUFFER, 0x80000000 | S),
            helper("dma_to_phys", BUFFER, 0x80000000 | S),
        ],
        device=None,
        says="c380931712d1",
    ),
    "H2: lookup with the bit set": Case(
        "H2",
        "guest",
        [helper("translate_dma_to_phys", FAILED, BUFFER | S)],
        [helper("translate_dma_to_phys", BUFFER, BUFFER)],
        device=None,
    ),
    "H3: unencrypted without the bit": Case(
        "H3",
        "guest",
        [helper("dma_addr_unencrypted", BUFFER, BUFFER)],
        [
            helper("dma_addr_unencrypted", BUFFER, BUFFER | S),
            helper("phys_to_dma_unencrypted", 1, FAILED),
        ],
        device=None,
    ),
    "H3: encrypted with the bit": Case(
        "H3",
        "guest",
        [helper("dma_addr_encrypted", BUFFER, BUFFER | S)],
        [helper("dma_addr_encrypted", BUFFER, BUFFER)],
        device=None,
    ),
    "H4: encrypted without C bit": Case(
        "H4",
        "guest",
        [helper("dma_addr_encrypted", BUFFER, BUFFER)],
        [
            helper("dma_addr_encrypted", BUFFER, BUFFER | 1 << 47),
            helper("dma_addr_unencrypted", BUFFER, BUFFER),
        ],
        platform=SME,
        device=None,
    ),
    "H5: a bit where there is none": Case(
        "H5",
        "guest",
        [helper("dma_addr_unencrypted", BUFFER, BUFFER | S)],
        [helper("dma_addr_unencrypted", BUFFER, BUFFER)],
        platform=PLAIN,
        device=None,
    ),
    "H6: canonical masks every high bit": Case(
        "H6",
        "guest",
        [helper("dma_addr_canonical", BUFFER | S | 1 << 45, BUFFER)],
        [helper("dma_addr_canonical", BUFFER | S | 1 << 45, BUFFER | 1 << 45)],
        device=None,
    ),
    "H7: bit 9 instead of bit 51": Case(
        "H7",
        "guest",
        [dma_alloc(0x7BC20200, size=10246), dma_map(FAILED, status="error")],
        [dma_alloc(0x7BC20000 | 1 << 51, size=10246), dma_map(POOL | 0x200 | 1 << 51)],
        platform=WIDE,
        says="bit 9 (0x200) instead of bit 51",
    ),
    "H7: 64K pages at 49 bits": Case(
        "H7",
        "guest",
        [dma_alloc(0x1_0000_4001_1000), dma_alloc(0x1_0000_4002_1000)],
        # 4K pages: one of them may well lie at an odd page.
        [dma_alloc(0x1_0000_4001_1000), dma_alloc(0x1_0000_4002_2000)],
        platform=dataclasses.replace(REALM, ipa_bits=49),
        count=2,
    ),
    "M1: plain address": Case(
        "M1",
        "guest",
        [dma_map(POOL)],
        [
            dma_map(),
            dma_alloc(),
            dma_map(FAILED, status="error"),
            dma_map(BUFFER, device="tdisp"),
            dma_map(0x10000000, attrs="MMIO"),
        ],
        says="bit 40, the shared bit, clear",
    ),
    "M1: RAM ends below the bit": Case(
        "M1", "guest", [dma_map(POOL)], [dma_map()], platform=UNKNOWN_WIDTH
    ),
    "M1: bits beyond the IPA space": Case(
        "M1",
        "guest",
        [dma_map(POOL | S | 1 << 45)],
        [dma_map()],
        says="beyond its 41-bit IPA space",
    ),
    "M2: unbounced": Case(
        "M2",
        "guest",
        [dma_map(BUFFER | S)],
        [dma_map(), dma_map(BUFFER | S, attrs="CC_SHARED"), dma_map(BUFFER, device="tdisp")],
    ),
    "M4: traced mask": Case(
        "M4",
        "guest",
        [Event("guest", "swiotlb_bounced", device="disk", mask=0xFFFFFFFF), dma_map()],
        [Event("guest", "swiotlb_bounced", device="disk", mask=FAILED), dma_map()],
    ),
    "M4: known mask": Case(
        "M4",
        "guest",
        [dma_alloc(device="narrow")],
        [dma_alloc(), dma_map(FAILED, device="narrow", status="error")],
        device="narrow",
    ),
    "M7: one buffer again and again": Case(
        "M7",
        "guest",
        [dma_map((POOL + n * PAGE) | S) for n in range(5)] + [dma_unmap(POOL | S)],
        # A receive queue: other buffers, still mapped at the end.
        [dma_map((POOL + n * PAGE) | S, phys=BUFFER + n * PAGE) for n in range(13)]
        + [dma_map(POOL + 20 * PAGE), dma_unmap(POOL + 20 * PAGE)],
        count=4,
    ),
    "M7: less certain in a trace with gaps": Case(
        "M7",
        "guest",
        [dma_map((POOL + n * PAGE) | S) for n in range(4)] + [dma_unmap((POOL + 9 * PAGE) | S)],
        [dma_map(), dma_unmap()],
        severity="warning",
        count=4,
    ),
    "M9: the mask cannot carry the bit": Case(
        "M9",
        "guest",
        [dma_map(FAILED, device="narrow", status="error")],
        [dma_map()],
        severity="warning",
        device="narrow",
        says="mask 0xffffffff cannot carry bit 40, the shared bit",
    ),
    "M9: nor can an allocation": Case(
        "M9",
        "guest",
        [dma_alloc(0, device="narrow", status="error")],
        [dma_alloc()],
        severity="warning",
        device="narrow",
    ),
    "V1: dma-ranges are undone by the bus": Case(
        "V1",
        "vmm",
        [convert(POOL, "shared"), dma_map((POOL - 0x40000000) | S)],
        [*SHARED, dma_map((POOL - 0x40000000) | S)],
        platform=dataclasses.replace(REALM, dma_ranges=[(0x40000000, 0, 1 << 30)]),
    ),
    "S1: too small": Case(
        "S1",
        "guest",
        [Event("guest", "swiotlb_full", device="disk", size=65536, attrs="total=512|used=480")],
        [dma_map()],
        severity="warning",
        says="1 MiB is too small",
    ),
    "V1: nothing mapped": Case(
        "V1",
        "vmm",
        [convert(POOL, "shared"), dma_map()],
        [*SHARED, dma_map(), dma_map(device="virtio"), dma_map(BUFFER, device="tdisp")],
    ),
    "V1: only the protected half": Case(
        "V1",
        "vmm",
        [convert(POOL, "shared"), iommu_map(POOL, HOST + POOL), dma_map()],
        [*SHARED, dma_map()],
        says="only the protected address",
    ),
    "V2: another page": Case(
        "V2",
        "vmm",
        [convert(POOL, "shared", pa=HOST + POOL), iommu_map(POOL | S, HOST + POOL + PAGE)],
        SHARED,
    ),
    "V3: stale mapping": Case(
        "V3",
        "vmm",
        [*SHARED, convert(POOL, "private")],
        [*SHARED, iommu_unmap(POOL | S), convert(POOL, "private")],
    ),
    "V3: unmapped just after the conversion": Case(
        "V3",
        "vmm",
        [*SHARED, convert(POOL, "private"), iommu_unmap(POOL | S, status="error")],
        [*SHARED, convert(POOL, "private"), iommu_unmap(POOL | S)],
    ),
    "V3: a private page is mapped": Case(
        "V3",
        "vmm",
        [convert(BUFFER, "private"), iommu_map(BUFFER, HOST)],
        [convert(BUFFER, "private"), iommu_map(BUFFER, HOST, sid=0x20)],
    ),
    "V4: two pages for one": Case(
        "V4",
        "vmm",
        [iommu_map(POOL, HOST), iommu_map(POOL | S, HOST + POOL)],
        [iommu_map(POOL, HOST + POOL), iommu_map(POOL | S, HOST + POOL)],
    ),
    "V7: shared although the map failed": Case(
        "V7",
        "vmm",
        [iommu_map(POOL | S, HOST, status="error"), convert(POOL, "shared")],
        [iommu_map(POOL | S, HOST, status="error"), convert(POOL, "error")],
    ),
    "V7: private although the unmap failed": Case(
        "V7",
        "vmm",
        [*SHARED, convert(POOL, "private"), iommu_unmap(POOL | S, status="error")],
        [*SHARED, iommu_unmap(POOL | S), convert(POOL, "private")],
    ),
    "V8: bit not masked": Case(
        "V8",
        "vmm",
        [
            Event(
                "vmm",
                "vmm_dma",
                device="virtio",
                address=POOL | S,
                phys=POOL | S,
                status="unmapped",
            )
        ],
        [
            Event(
                "vmm",
                "vmm_dma",
                device="virtio",
                address=POOL | S,
                phys=POOL,
                status="ok",
                attrs="shared",
            )
        ],
        device="virtio",
    ),
    "V8: private memory served": Case(
        "V8",
        "vmm",
        [
            Event(
                "vmm",
                "vmm_dma",
                device="virtio",
                address=BUFFER,
                phys=BUFFER,
                status="ok",
                attrs="private",
            )
        ],
        [Event("vmm", "vmm_dma", device="virtio", address=BUFFER, phys=BUFFER, status="private")],
        device="virtio",
    ),
    "F1: fault at a live alias": Case(
        "F1",
        "vmm",
        [dma_map(), access(POOL | S)],
        [dma_map(), access(POOL | S, "ok", attrs="shared")],
    ),
    "F1: from a queue, untraced device": Case(
        "F1",
        "vmm",
        [smmu_event(0x433CE000 | S), smmu_event(0x433CE004 | S)],
        [smmu_event(0x433CE000)],
        platform=LOG,
        count=2,
    ),
    "F2: plain address by the guest": Case(
        "F2", "guest", [dma_map(POOL), access(POOL)], [dma_map(), access(POOL | S)]
    ),
    "F2: the device drops the bit": Case(
        "F2",
        "device",
        [dma_map(), access(POOL)],
        [dma_map(), access(POOL | S)],
        says="dropped the shared bit",
    ),
    "F2: past the DMA API": Case(
        "F2",
        "guest",
        [dma_map(), access(BUFFER)],
        [dma_map(), access(POOL, device="tdisp", sid=0x20)],
        says="past the DMA API",
    ),
    "F3: use after unmap": Case(
        "F3",
        "device",
        [dma_map(), dma_unmap(), access(POOL | S)],
        [dma_map(), access(POOL | S), dma_unmap()],
        says="after it was unmapped",
    ),
    "F3: never given": Case(
        "F3",
        "device",
        [dma_map(), access((POOL + 64 * PAGE) | S)],
        [dma_map(), access(POOL | S)],
        says="never given",
    ),
    "F3: not certain in a log": Case(
        "F3",
        "device",
        [dma_alloc(), smmu_event((POOL + 64 * PAGE) | S)],
        [dma_map(), smmu_event((POOL + 64 * PAGE) | S)],
        platform=LOG,
        severity="warning",
    ),
    "F4: beyond the IPA space": Case(
        "F4",
        "device",
        [dma_map(), access(POOL | S | 1 << 50)],
        [dma_map(), access(POOL | S)],
    ),
    "F4: the guest gave it": Case(
        "F4",
        "guest",
        [dma_map(POOL | 1 << 50), access(POOL | 1 << 50)],
        [dma_map(), access(POOL | S)],
    ),
    "F5: write to a buffer to be read": Case(
        "F5",
        "device",
        [dma_map(direction="TO_DEVICE"), access(POOL | S, "F_PERMISSION", "w")],
        [dma_map(direction="TO_DEVICE"), access(POOL | S, "ok", "r")],
    ),
    "F5: read-only table": Case(
        "F5",
        "vmm",
        [dma_map(direction="FROM_DEVICE"), access(POOL | S, "F_PERMISSION", "w")],
        [dma_map(direction="FROM_DEVICE"), access(POOL | S, "ok", "w")],
    ),
    "F9: broken stream table": Case(
        "F9",
        "host",
        [access(POOL | S, "C_BAD_STE")],
        [access(POOL | S, "F_TRANSLATION")],
    ),
    "F6: an interrupt that is refused": Case(
        "F6",
        "vmm",
        [dma_map(), access(DOORBELL, direction="w")],
        [dma_map(), access(DOORBELL, "ok", direction="w", attrs=None)],
        platform=INTERRUPTS,
    ),
    "F6: in a log": Case(
        "F6",
        "vmm",
        [dma_map(), smmu_event(DOORBELL)],
        [dma_map(), smmu_event(POOL | S)],
        platform=dataclasses.replace(INTERRUPTS, machine="log", one_clock=False),
    ),
    "F8: the queue was full": Case(
        "F8",
        "host",
        [smmu_event(POOL | S), Event("smmu", "smmu_lost", sid=0x10, detail="the queue is full")],
        [smmu_event(POOL | S)],
        severity="warning",
        device=None,
    ),
    "R1: another width": Case(
        "R1",
        "rmm",
        [Event("rmm", "realm_config", address=1 << 39)],
        [Event("rmm", "realm_config", address=S)],
        device=None,
    ),
    "P5: a page of RAM is destroyed": Case(
        "P5",
        "host",
        [Event("rmm", "ripas", phys=BUFFER, size=PAGE, status="ok", attrs="DESTROYED")],
        [Event("rmm", "ripas", phys=BUFFER, size=PAGE, status="ok", attrs="EMPTY")],
        device=None,
    ),
    "P6: a shared page is unmapped": Case(
        "P6",
        "host",
        [asked(BUFFER, "EMPTY"), unshared(BUFFER)],
        [asked(BUFFER, "EMPTY"), asked(BUFFER, "RAM"), unshared(BUFFER)],
        device=None,
    ),
    "P1: encrypted under a live mapping": Case(
        "P1",
        "guest",
        [set_memory(BUFFER, "shared"), dma_alloc(), set_memory(BUFFER, "private")],
        [
            set_memory(BUFFER, "shared"),
            dma_alloc(),
            Event("guest", "dma_free", device="disk", address=BUFFER | S, size=PAGE),
            set_memory(BUFFER, "private"),
        ],
    ),
    "P1: mapped while private": Case(
        "P1",
        "guest",
        [set_memory(BUFFER, "private"), dma_alloc()],
        [set_memory(BUFFER, "private"), set_memory(BUFFER, "shared"), dma_alloc()],
    ),
    "P4: private memory reached": Case(
        "P4",
        "vmm",
        [access(BUFFER, "ok", attrs="private", pa=HOST)],
        [
            access(BUFFER | S, "ok", attrs="shared"),
            access(BUFFER, "ok", attrs="private", device="tdisp", sid=0x20),
        ],
    ),
    "P4: stopped by granule protection": Case(
        "P4", "vmm", [access(BUFFER, "GPF")], [access(BUFFER, "F_TRANSLATION")], says="stopped it"
    ),
    "A1: no invalidation": Case(
        "A1",
        "vmm",
        [*SHARED, iommu_unmap(POOL | S), access(POOL | S, "ok", attrs="shared")],
        [*SHARED, access(POOL | S, "ok", attrs="shared"), iommu_unmap(POOL | S)],
        says="CMD_TLBI",
    ),
    "A1: no invalidation, and granule protection stops it": Case(
        "A1",
        "vmm",
        [*SHARED, iommu_unmap(POOL | S), access(POOL | S, "GPF")],
        [*SHARED, iommu_unmap(POOL | S), access(POOL | S, "F_TRANSLATION")],
    ),
    "A2: use after unmap that no fault shows": Case(
        "A2",
        "device",
        [dma_map(), dma_unmap(), access(POOL | S, "ok", attrs="shared")],
        [dma_map(), access(POOL | S, "ok", attrs="shared"), dma_unmap()],
        says="let it through",
    ),
    "D1: wrong data": Case(
        "D1",
        "device",
        [Event("device", "payload", device="disk", address=POOL | S, status="wrong")],
        [Event("device", "payload", device="disk", address=POOL | S, status="ok")],
        severity="warning",
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_bad_recording_is_flagged(case: Case) -> None:
    checked = check(Recording.of_events(case.platform, case.bad))
    found = [finding for finding in checked.findings if finding.rule == case.rule]
    assert len(found) == 1, checked.findings
    (finding,) = found
    assert finding.agent == case.agent
    assert finding.severity == case.severity
    assert finding.count == case.count
    assert finding.device == case.device
    assert case.says in " ".join((finding.message, finding.seen, finding.mend))
    for part in (finding.seen, finding.expected, finding.mend, finding.source):
        assert part
    assert finding.evidence


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_good_recording_is_not_flagged(case: Case) -> None:
    recording = Recording.of_events(case.platform, case.good)
    checked = check(recording)
    assert [finding for finding in checked.findings if finding.rule == case.rule] == []


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_good_recording_is_really_checked(case: Case) -> None:
    """A rule that lacks something finds nothing either; that would prove nothing."""
    lack = RULES[case.rule].lacks(Recording.of_events(case.platform, case.good))
    # Where the good side of a rule is that nothing happened, nothing is there to be checked.
    assert lack == "" or case.rule in ("M7", "D1")


def test_what_follows_from_a_lie_of_the_rmm_is_not_the_guests_fault() -> None:
    told = Event("rmm", "realm_config", address=1 << 39)
    wrong = [dma_map(POOL | 1 << 39), helper("phys_to_dma", POOL, POOL | 1 << 39, "disk")]
    platform = dataclasses.replace(REALM, devices={"disk": DeviceFacts(sid=0x10)})
    assert {f.rule for f in check(Recording.of_events(platform, wrong)).findings} >= {"M1"}
    checked = check(Recording.of_events(platform, [told, *wrong]))
    assert {f.rule for f in checked.findings if f.severity == "violation"} == {"R1"}


def test_a_refused_interrupt_is_not_the_devices_fault() -> None:
    events = [dma_map(), access(DOORBELL, direction="w")]
    blamed = {f.rule: f.agent for f in check(Recording.of_events(INTERRUPTS, events)).findings}
    assert blamed == {"F6": "vmm"}
    unknown = check(Recording.of_events(REALM, events)).findings
    assert {f.rule for f in unknown} == {"F3"}  # which says that it may be a doorbell


def test_every_rule_has_its_recordings() -> None:
    assert {case.rule for case in CASES.values()} == set(RULES)


def test_every_rule_is_documented() -> None:
    for rule in RULES.values():
        assert rule.statement.endswith(".")
        assert rule.source
        assert (rule.check.__doc__ or "").splitlines()[0].rstrip().endswith("?")
