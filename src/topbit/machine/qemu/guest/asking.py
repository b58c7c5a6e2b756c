"""How are many questions asked of the DMA API in one guest, and what came of each?

Each question is a module of its own (`ask_module`), which the guest's shell loads and unloads. What
the API did is read from the guest's trace and kernel log, as of any guest; the module says what
only it can see: the buffer's place, and whether a device really got there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from topbit.addressing.dma_direct import DMA_MAPPING_ERROR
from topbit.arch.ipa import IpaSpace
from topbit.linux.dma_attrs import NO_ATTRS, DmaAttr
from topbit.machine.qemu.guest import edu
from topbit.machine.qemu.guest.ask_module import COPY, NAME, SAYS, Op
from topbit.recording import Recording

FOLDER = "ask"
DRIVER = "uio_pci_generic"
"""A driver that only makes a device's owner known: with it the kernel sets the device's DMA up."""
SIZE, SIZE_STEP = 512, 16
"""Each question is about memory of a size of its own, by which traces tell it from the others."""
SAID = {"bounce_overflow": "swiotlb overflow", "dma_overflow": "DMA addr overflow"}
"""What a kernel's line means in short, by the status of its event."""
FULL = "swiotlb full"
OOPS = "kernel oops"
"""The kernel itself met an abort, and killed the asking process."""
NONE = DMA_MAPPING_ERROR
"""What the module says for an address if there was an error."""
_ASKED = re.compile(rf"\[ *(\d{{1,9}}\.\d{{6}})\] {SAYS} \d{{1,6}} asks\b")
_ANSWER = re.compile(
    rf"{SAYS} (\d{{1,6}}) (?:mask (-?\d{{1,6}}) linear ([01]) phys ([0-9a-f]{{1,16}})"
    r" addr ([0-9a-f]{1,16})"
    r"|back ([01])|(died))\b"
)


@dataclass(frozen=True, slots=True)
class Ask:
    """What does which device ask for?

    Attributes:
        device: the scenario's name of it.
        op: the function of the DMA API.
        mask_bits: width of its masks.
        attrs: of the mapping.
        atomic: where nobody may sleep.
        moved_by: the `edu` that then reads and writes there; empty: none does.
    """

    device: str
    op: Op
    mask_bits: int = 64
    attrs: DmaAttr = NO_ATTRS
    atomic: bool = False
    moved_by: str = ""


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


def size_of(number: int) -> int:
    """Of which size is the memory of question `number`? Bytes."""
    return SIZE + SIZE_STEP * number


def script(asks: Sequence[Ask], names: Mapping[str, str], space: IpaSpace) -> str:
    """Which shell text asks them all, the first being number 1?

    Args:
        asks: the questions.
        names: the kernel's names of the scenario's devices.
        space: the Realm's.
    """
    lines = [
        "mount -t debugfs debug /sys/kernel/debug",
        f"for file in /{FOLDER}/driver/*.ko; do insmod $file; done",
        "ask() {",  # a line that the kernel prints once comes again
        "    echo 1 >/sys/kernel/debug/clear_warn_once",
        '    [ "$died" ] && return',
        f"    insmod /{FOLDER}/$1.ko",
        f"    [ $? -gt 128 ] && {{ died=1; echo '{SAYS}' $1 died; return; }}",
        '    [ "$2" ] && moves $1',
        f"    rmmod {NAME}",
        "}",
        "moves() {",
        f"    addr=$(dmesg | sed -n 's/.*{SAYS} '$1' mask .* addr //p' | tail -n 1)",
        "    [ $addr = ffffffffffffffff ] && return",
        "    move 0x$addr 0x40000 1",
        f"    move 0x40000 $(printf 0x%x $((0x$addr + {COPY}))) 3",
        "}",
    ]
    ready = ""
    for device in dict.fromkeys(ask.device for ask in asks):
        numbered = [(number, ask) for number, ask in enumerate(asks, 1) if ask.device == device]
        mover = next((ask.moved_by for _, ask in numbered if ask.moved_by), "")
        if mover != ready:
            lines.append(edu.shell(names[mover], space, edu.AWAITED))
            ready = mover
        lines += _own(names[device])
        lines += [f"ask {number} {ask.moved_by}".rstrip() for number, ask in numbered]
    return "\n".join([*lines, f"dmesg | grep '{SAYS}'"]) + "\n"


def _own(name: str) -> list[str]:
    """How is a device made to be asked for by nobody else, and known to the kernel?"""
    if name.startswith("0000:"):
        return [
            f"echo {DRIVER} >/sys/bus/pci/devices/{name}/driver_override",
            f"echo {name} >/sys/bus/pci/drivers_probe",
        ]
    return []


def answers(
    recording: Recording, asks: Sequence[Ask], names: Mapping[str, str]
) -> dict[int, Answer]:
    """What came of the questions, by number? Of those that nobody answered: nothing.

    Args:
        recording: of a run with `script` as its command.
        asks, names: as there.
    """
    said: dict[int, tuple[int, bool, int, int]] = {}
    back: dict[int, bool] = {}
    found: dict[int, Answer] = {}
    for output in recording.of_kind("output")["detail"]:
        for number, status, linear, phys, addr, copied, died in _ANSWER.findall(output):
            if died:
                found[int(number)] = Answer(0, False, 0, (), False, OOPS, None)
            elif copied:
                back[int(number)] = copied == "1"
            else:
                said[int(number)] = (int(status), linear == "1", int(phys, 16), int(addr, 16))
    events = recording.of_kind("dma_map", "dma_alloc", "swiotlb_bounced", "swiotlb_full", "trouble")
    by_place: dict[tuple[str, int], list[dict[str, object]]] = {}
    for event in events.select("event", "device", "size", "phys", "address", "status").iter_rows(
        named=True
    ):
        by_place.setdefault((event["device"], event["size"]), []).append(event)
    for number, ask in enumerate(asks, 1):
        seen = by_place.get((names[ask.device], size_of(number)), [])
        traced = any(_is_answer(event, ask) for event in seen)
        # Of a list that cannot be mapped the trace tells nothing.
        if number in said and (traced or (ask.op is Op.MAP_SG and said[number][3] == NONE)):
            found[number] = _answer(ask, seen, said[number], back.get(number))
    return found


def began(recording: Recording) -> float | None:
    """When was the first question asked, by the clock of the guest's trace? None: none was."""
    outputs = recording.of_kind("output")["detail"]
    return min((float(time) for text in outputs for time in _ASKED.findall(text)), default=None)


def _is_answer(event: Mapping[str, object], ask: Ask) -> bool:
    return event["event"] == ("dma_alloc" if ask.op is Op.ALLOC else "dma_map")


def _answer(
    ask: Ask,
    seen: Sequence[Mapping[str, object]],
    said: tuple[int, bool, int, int],
    back: bool | None,
) -> Answer:
    status, linear, phys, _ = said
    words = [SAID.get(str(e["status"]), "") for e in seen if e["event"] == "trouble"]
    words += [FULL for e in seen if e["event"] == "swiotlb_full"]
    mapped = tuple(
        (phys if e["phys"] is None else _number(e["phys"]), _number(e["address"]))
        for e in seen
        if _is_answer(e, ask) and e["status"] != "error"
    )
    return Answer(
        status,
        linear,
        phys,
        mapped,
        bounced=any(e["event"] == "swiotlb_bounced" for e in seen),
        said=next(filter(None, words), ""),
        back=back if ask.moved_by and mapped else None,
    )


def _number(value: object) -> int:
    assert isinstance(value, int)
    return value
