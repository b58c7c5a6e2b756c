"""What does a VMM's log tell: facts, mappings and trouble? It asks every VMM's families."""

from __future__ import annotations

from topbit.events import Event
from topbit.readers.kernel_log.message import MESSAGE
from topbit.readers.vmm_log import kvmtool, qemu, rust_vmm

FAMILIES = (*qemu.FAMILIES, *kvmtool.FAMILIES, *rust_vmm.FAMILIES)
SIGNS = (*qemu.SIGNS, *kvmtool.SIGNS, *rust_vmm.SIGNS)
_READERS = [(needle, family.read) for family in FAMILIES for needle in family.needles]


def is_sign(line: str) -> bool:
    """Would only a VMM print this line, or something that started one?"""
    return any(sign in line for sign in SIGNS)


def read(text: str) -> Event | None:
    """Which event does a line of a VMM tell?"""
    for needle, reader in _READERS:
        at = text.find(needle)
        if at < 0:
            continue
        part = text if len(text) <= MESSAGE else text[max(at - MESSAGE // 2, 0) : at + MESSAGE]
        event = reader(part.strip())
        if event is not None:
            if event.event == "trouble":
                event.agent = "vmm"
            return event
    return None
