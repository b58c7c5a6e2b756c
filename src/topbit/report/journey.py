"""Which way did one address go: guest memory, DMA address, SMMU or VMM, host memory?

Of a finding, as far as its evidence tells; what is not recorded is said, not guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from topbit.recording import Platform, Recording
from topbit.recording.schema import ERROR, OK
from topbit.replay.columns import MAPS, canonical_of, is_beyond_ipa_space, lies_in
from topbit.report.evidence_events import Key, key_of
from topbit.rules.finding import Finding
from topbit.rules.wording import address

State: TypeAlias = Literal["good", "bad", "unknown"]
Row: TypeAlias = "dict[str, Any]"

USES = ("access", "smmu_event", "vmm_dma", "trouble")
BLAMED = {"guest": 1, "device": 1, "vmm": 2, "smmu": 2, "host": 3, "rmm": 3, "firmware": 3}
"""Agent -> the step, from 0, at which it chose wrong."""


@dataclass(frozen=True, slots=True)
class Step:
    """What happened at one place of the way?

    Attributes:
        place: "guest memory", "DMA address", ...
        value: the address there, or how it ended; empty if nothing is known.
        note: what there is to say of it.
        state: it went on, it did not, or nothing tells.
        blamed: the agent at fault chose here.
    """

    place: str
    value: str
    note: str
    state: State
    blamed: bool = False


def journey(recording: Recording, finding: Finding, events: dict[Key, int]) -> tuple[Step, ...]:
    """Which way did the address of a finding go? Empty if its evidence has none.

    `events`: which event each piece of evidence is (`evidence_events.events_of`).
    """
    numbers = [events[key_of(p)] for p in finding.evidence if key_of(p) in events]
    rows = [row for row in map(recording.row, numbers) if row["address"] is not None]
    mapping = _first(rows, MAPS)
    use = _first(rows, USES)
    if mapping is None and use is None:
        return ()
    value = (use or mapping or {})["address"]
    steps = [
        _memory(recording.platform, mapping, value),
        _dma_address(recording.platform, value),
        _gate(use),
        *_end(use),
    ]
    blamed = BLAMED[finding.agent] if finding.severity == "violation" else None
    return tuple(
        Step(s.place, s.value, s.note, s.state, number == blamed) for number, s in enumerate(steps)
    )


def _first(rows: Sequence[Row], kinds: Iterable[str]) -> Row | None:
    return next((row for row in rows if row["event"] in kinds), None)


def _memory(platform: Platform, mapping: Row | None, value: int) -> Step:
    page = canonical_of(platform, value)
    bounced = "a bounce buffer" if lies_in(page, platform.pools) else "the page that it means"
    if mapping is None:
        return Step("guest memory", address(page), f"{bounced}; no map recorded", "unknown")
    if mapping["status"] == ERROR:
        return Step("guest memory", address(mapping["phys"] or page), "the map failed", "bad")
    if mapping["phys"] is None or mapping["phys"] == page:
        return Step("guest memory", address(page), "the driver's own buffer", "good")
    note = f"bounced: {address(page)} is the copy"
    return Step("guest memory", address(mapping["phys"]), note, "good")


def _dma_address(platform: Platform, value: int) -> Step:
    if platform.space is None:
        return Step("DMA address", address(value), "the IPA space's width is unknown", "unknown")
    if is_beyond_ipa_space(platform, value):
        return Step("DMA address", address(value), "beyond the IPA space", "bad")
    state = "set" if platform.has_shared_bit(value) else "clear"
    half = platform.space.half(value)
    note = f"{half} half: bit {platform.space.bit_number} {state}"
    return Step("DMA address", address(value), note, "good")


def _gate(use: Row | None) -> Step:
    if use is None:
        return Step("SMMU, stage 2", "", "no use of it recorded", "unknown")
    place = "VMM, memory slot" if use["event"] == "vmm_dma" else "SMMU, stage 2"
    stream = "" if use["sid"] is None else f"StreamID 0x{use['sid']:x}"
    way = {"r": "read", "w": "write"}.get(use["direction"] or "", "")
    note = ", ".join(part for part in (stream, way) if part)
    if use["status"] == OK:
        return Step(place, "translated", note, "good")
    return Step(place, use["status"] or "refused", note, "bad")


def _end(use: Row | None) -> list[Step]:
    if use is None:
        return [Step("host memory", "", "not recorded", "unknown")]
    if use["status"] != OK:
        note = "" if use["pa"] is None else f"refused at {address(use['pa'])}"
        return [Step("host memory", "not reached", note, "bad")]
    kind = f"{use['attrs']} memory" if use["attrs"] else ""
    place = "" if use["pa"] is None else address(use["pa"])
    return [Step("host memory", place or "reached", kind, "good")]
