"""Reports of every kind that a form must show: good and bad, empty, several, hostile, many."""

from __future__ import annotations

import dataclasses

from report_made import REALM, boot, finding
from topbit.events import Event
from topbit.recording import DeviceFacts, Platform, Reading
from topbit.recording.platform import FileFacts, Unparsed
from topbit.report.boot import BootReport
from topbit.rules.finding import Evidence, NotChecked, Unjudged
from topbit.rules.rule import RULES

S = 1 << 40
HOSTILE = (
    "</script><script>alert(1)</script><img src=x onerror=alert(1)>\x1b[2J\x00\x9b1m\r\n"
    "# not ok 1 ]]> --> <LAVA_SIGNAL_TESTCASE TEST_CASE_ID=x RESULT=pass> ``` | ** \u202e"
)
NO_TEXT = HOSTILE + "\ud800"
"""A lone surrogate, as a file name may hold one, cannot be written as UTF-8."""
MANY = 10_000

GUEST = Evidence("dma_map nvme0 ...", "logs/trace one.txt", 812, "guest")
QUEUE = Evidence("smmu_event ...", "logs/eventq.bin", 3, "smmu")
LOGS = dataclasses.replace(
    REALM,
    kernel="6.14.0",
    ram=[(0x4000_0000, 1 << 30)],
    pools=[(0x76B0_0000, 64 << 20)],
    files=[FileFacts(GUEST.source), FileFacts(QUEUE.source, kind="event queue")],
    unparsed=[Unparsed(GUEST.source, 2, 7, "dma_map_phys: 00")],
    devices={"nvme0": DeviceFacts(sid=8)},
)
EVENTS = (
    Event("guest", "dma_map", device="nvme0", address=S | 0x76B0_1000, phys=0x43D9_2000, size=64),
    Event("smmu", "smmu_event", sid=8, address=S | 0x76B0_1000, status="F_TRANSLATION"),
    Event("guest", "dma_unmap", device="nvme0", address=S | 0x76B0_1000, size=64),
)
F1 = finding(
    rule="F1",
    agent="vmm",
    message="the VMM did not map the unprotected alias",
    device="nvme0",
    count=16,
    seen="nvme0 read 0x0000010076b01000: F_TRANSLATION",
    expected="a stage-2 mapping",
    evidence=[GUEST, QUEUE],
    hint="map it",
    source="cover letter",
)
UNCHECKED = [NotChecked(rule.id, rule.statement, "no event # of it") for rule in RULES.values()]
UNFINISHED = dataclasses.replace(REALM, machine="qemu", unfinished="the guest is stuck")
EVIL = dataclasses.replace(
    LOGS,
    kernel=HOSTILE,
    notes=[NO_TEXT],
    files=[FileFacts(NO_TEXT)],
    unparsed=[Unparsed(HOSTILE, 1, 1, HOSTILE)],
    devices={HOSTILE: DeviceFacts(sid=8, driver=HOSTILE)},
    origins={"kernel": NO_TEXT},
    unfinished=NO_TEXT,
    machine="qemu",
)
EVIL_FINDING = finding(
    message=NO_TEXT,
    device=HOSTILE,
    seen=HOSTILE,
    expected=HOSTILE,
    evidence=[Evidence(HOSTILE, HOSTILE, 1, "guest")],
    hint=HOSTILE,
)
EVIL_EVENT = Event("guest", "dma_map", device=HOSTILE, address=S | 0x76B0_1000, source=HOSTILE)

OPEN = boot(LOGS, [finding("warning", message="x", readings=["a", "b"])])
OPEN.checked.unjudged.append(Unjudged("timeout", "A device did not answer.", 3, GUEST))
OPEN.checked.undecided.append(Reading("realm", "yes", "who is it", "its kernel log"))
OPEN.checked.damaged.append("t.dat")
BLIND = boot(LOGS)
BLIND.checked.judged = False

KINDS: dict[str, list[BootReport]] = {
    "ok": [boot(LOGS, recorded=EVENTS[:1])],
    "violation": [boot(LOGS, [F1, finding("warning"), finding("note")], recorded=EVENTS)],
    "not checked": [boot(LOGS, [], UNCHECKED[2:])],
    "inconclusive": [OPEN],
    "nothing judged": [BLIND],
    "unfinished": [boot(UNFINISHED)],
    "empty": [boot(Platform())],
    "two boots": [boot(LOGS, [F1], recorded=EVENTS), boot(LOGS, recorded=EVENTS[:1])],
    "hostile": [
        boot(EVIL, [EVIL_FINDING], [NotChecked("F1", HOSTILE, HOSTILE)], recorded=[EVIL_EVENT])
    ],
    "many": [
        boot(LOGS, [dataclasses.replace(F1, device=f"nvme{number}") for number in range(MANY)])
    ],
}
