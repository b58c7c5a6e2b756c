"""What do all families of messages have in common: how is a message read into an event?"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from topbit.errors import InputError
from topbit.events import Event

HEX = r"(?:0x)?([0-9a-fA-F]{1,16})(?![0-9a-fA-Fx])"
"""A number of 64 bits, with 0x or without."""
DEC = r"(\d{1,19})(?!\d)"
"""A decimal number that 64 bits hold (19 digits always do)."""
PCI = re.compile(r"(?:0x)?(?:([0-9a-f]{4,8}):)?(?:0x)?([0-9a-f]{2}):(?:0x)?([0-9a-f]{2})\.([0-7])")
NAME = re.compile(r"[\w.:@+,/-]{1,80}")
MESSAGE = 1500
"""Characters of a message that are looked at; printk's lines are no longer than 1024."""


class Unreadable(InputError):
    """Which message of a family is cut off or mangled?"""

    def __init__(self) -> None:
        super().__init__("the message is cut off or mangled")


@dataclass(frozen=True, slots=True)
class Family:
    """Which messages belong together?

    Attributes:
        needles: one of them stands in every message of the family.
        read: the event that a message tells, or None for one that tells of no trouble. It raises
            Unreadable where the message is cut off or mangled.
    """

    needles: tuple[str, ...]
    read: Callable[[str], Event | None]


def trouble(status: str, text: str, **columns: Any) -> Event:
    """Which event does a message of this kind of trouble make? Of whom, is told later."""
    return Event("guest", "trouble", status=status, detail=text, **columns)


def number(text: str | None) -> int | None:
    """What is a hexadecimal number, if there is one?"""
    return None if text is None else int(text, 16)


def device_before(text: str, mark: str) -> str | None:
    """Which device does a message of dev_err() and its like name, before `mark`?

    dev_err() prints "driver device: message".
    """
    at = text.find(mark)
    words = text[max(at - 200, 0) : max(at, 0)].rstrip().rstrip(":").split()
    if at <= 0 or not words or text[:at].rstrip()[-1:] != ":":
        return None
    name = words[-1].rpartition("]")[2]
    return name if NAME.fullmatch(name) else None


def pci_name(text: str) -> str:
    """What is the kernel's full name of a PCI device that a message names in short?"""
    match = PCI.fullmatch(text)
    if match is None:
        return text
    domain, bus, slot, function = match.groups()
    return f"{domain or '0000'}:{bus}:{slot}.{function}"


def attributes(**values: object) -> str | None:
    """What is the `attrs` column of these values, those that are None left out?"""
    told = [f"{key}={value}" for key, value in values.items() if value is not None]
    return "|".join(told) or None
