"""What came of the questions that a guest was asked (`asking`)?

What the DMA API did is read from the guest's trace and kernel log, as of any guest. The module says
what only it can see: the memory's place, and whether a device really got there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from topbit.addressing.dma_direct import DMA_MAPPING_ERROR
from topbit.linux.dma_messages import OOPS, in_short
from topbit.machine.qemu.guest.ask_module import SAYS, Op
from topbit.machine.qemu.guest.asking import Ask, size_of
from topbit.recording import Recording

_TIMED = re.compile(rf"\[ *(\d{{1,9}}\.\d{{6}})\] {SAYS} (\d{{1,6}}) (?:asks|mask)\b")
_ANSWER = re.compile(
    rf"{SAYS} (\d{{1,6}}) (?:mask (-?\d{{1,6}}) linear ([01]) phys ([0-9a-f]{{1,16}})"
    r" addr ([0-9a-f]{1,16})|back ([01])|(died))\b"
)

_Event: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of it?

    Attributes:
        mask_status: what dma_set_mask() returned.
        linear: the memory is in the kernel's linear map: coherent memory that is not was remapped.
        phys: the memory's physical address; as page tables have it, if it is not `linear`.
        mapped: physical and device address of each mapping, as the trace tells; empty: an error.
        bounced: the trace tells of a bounce buffer.
        said: what the kernel printed, in short.
        back: the device read there and wrote there; None: it was not told to.
    """

    mask_status: int
    linear: bool
    phys: int
    mapped: tuple[tuple[int, int], ...]
    bounced: bool
    said: str
    back: bool | None


KILLED = Answer(0, False, 0, (), False, OOPS, None)
"""The kernel itself met an abort, and killed who asked."""


@dataclass(frozen=True, slots=True)
class _Said:
    """What does the module say?"""

    status: int
    linear: bool
    phys: int
    addr: int


def answers(
    recording: Recording, asks: Sequence[Ask], names: Mapping[str, str]
) -> dict[int, Answer]:
    """What came of the questions, by number? Of those that nobody answered: nothing.

    Args:
        recording: of a run with `asking.script` as its command.
        asks, names: as there.
    """
    said: dict[int, _Said] = {}
    back: dict[int, bool] = {}
    found: dict[int, Answer] = {}
    for output in recording.of_kind("output")["detail"]:
        for number, status, linear, phys, addr, copied, died in _ANSWER.findall(output):
            if died:
                found[int(number)] = KILLED
            elif copied:
                back[int(number)] = copied == "1"
            else:
                told = _Said(int(status), linear == "1", int(phys, 16), int(addr, 16))
                said[int(number)] = told
    traced: dict[tuple[str, int], list[_Event]] = {}
    for event in _events(recording, "dma_map", "dma_alloc", "swiotlb_bounced"):
        traced.setdefault((event["device"], event["size"]), []).append(event)
    lines = _events(recording, "trouble", "swiotlb_full")
    windows = _windows(recording)
    for number, ask in enumerate(asks, 1):
        if number not in said:
            continue
        seen = traced.get((names[ask.device], size_of(number)), [])
        # Of a list that cannot be mapped the trace tells nothing.
        untold = ask.op is Op.MAP_SG and said[number].addr == DMA_MAPPING_ERROR
        if untold or any(_is_answer(event, ask) for event in seen):
            begun, *ended = windows.get(number, [0.0])
            during = [
                line["detail"]
                for line in lines
                if line["device"] == names[ask.device]
                and line["time"] is not None
                and begun <= line["time"] <= max(ended, default=begun)
            ]
            found[number] = _answer(ask, seen, during, said[number], back.get(number))
    return found


def began(recording: Recording) -> float | None:
    """When was the first question asked, by the clock of the guest's trace? None: none was."""
    return min((times[0] for times in _windows(recording).values()), default=None)


def _events(recording: Recording, *kinds: str) -> list[_Event]:
    columns = ("event", "device", "size", "phys", "address", "status", "detail", "time")
    return recording.of_kind(*kinds).select(columns).to_dicts()


def _windows(recording: Recording) -> dict[int, list[float]]:
    """When was each question asked, and when answered, by its number?"""
    found: dict[int, list[float]] = {}
    for text in recording.of_kind("output")["detail"]:
        for time, number in _TIMED.findall(text):
            found.setdefault(int(number), []).append(float(time))
    return found


def _is_answer(event: _Event, ask: Ask) -> bool:
    return bool(event["event"] == ("dma_alloc" if ask.op is Op.ALLOC else "dma_map"))


def _answer(
    ask: Ask, seen: Sequence[_Event], lines: Sequence[str], said: _Said, back: bool | None
) -> Answer:
    mapped = tuple(
        (said.phys if event["phys"] is None else event["phys"], event["address"])
        for event in seen
        if _is_answer(event, ask) and event["status"] != "error"
    )
    return Answer(
        said.status,
        said.linear,
        said.phys,
        mapped,
        bounced=any(event["event"] == "swiotlb_bounced" for event in seen),
        said=next(filter(None, map(in_short, lines)), ""),
        back=back if ask.moved_by and mapped else None,
    )
