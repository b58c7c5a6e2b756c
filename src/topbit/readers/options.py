"""What does the user say about a run that its files do not tell?"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias, TypedDict

from topbit.arch.ipa import check_ipa_bits
from topbit.errors import UsageError

StrPath: TypeAlias = str | os.PathLike[str]


class ReadOptions(TypedDict, total=False):
    """What can a caller say besides the files? Any of them may be left out.

    Attributes:
        ipa_bits: width of the Realm's IPA space, 32 to 52; else it is inferred. It also says that
            the guest is a Realm.
        c_bit: number of the C bit of an AMD guest or host.
        trusted, viommu: devices that the guest has accepted (T=1), or that stand behind an IOMMU
            of its own.
        streams: StreamID -> device.
        guest, host, vmm, firmware: further files (or folders) of the run, of which the caller
            knows whose they are.
    """

    ipa_bits: int | None
    c_bit: int | None
    trusted: Iterable[str]
    viommu: Iterable[str]
    streams: Mapping[int, str]
    guest: Iterable[StrPath]
    host: Iterable[StrPath]
    vmm: Iterable[StrPath]
    firmware: Iterable[StrPath]


@dataclass(frozen=True, slots=True)
class Options:
    """What does the user say about a run?

    Attributes:
        ipa_bits: width of the Realm's IPA space. It also says that the guest is a Realm.
        c_bit: number of the C bit of an AMD guest or host.
        trusted: devices that the guest has accepted (T=1): their private addresses carry no
            shared bit.
        viommu: devices behind an IOMMU of the guest's own: their DMA addresses are IOVAs.
        streams: StreamID -> device.
        roles: file -> whose it is ("guest", "host", "vmm", "firmware").
    """

    ipa_bits: int | None = None
    c_bit: int | None = None
    trusted: tuple[str, ...] = ()
    viommu: tuple[str, ...] = ()
    streams: dict[int, str] = field(default_factory=dict)
    roles: dict[Path, str] = field(default_factory=dict)

    def check(self) -> None:
        """Refuse what cannot be.

        Raises:
            UsageError: a number is out of its range.
        """
        if self.ipa_bits is not None:
            check_ipa_bits(self.ipa_bits, where="--ipa-bits")
        if self.c_bit is not None and not 32 <= self.c_bit <= 63:
            raise UsageError(
                f"{self.c_bit} is no place of a C bit",
                where="--c-bit",
                hint="CPUID 0x8000001F tells it: 47 or 51 on today's machines",
            )
        for stream in self.streams:
            if not 0 <= stream < 1 << 32:
                raise UsageError(f"{stream:#x} is no StreamID", where="--stream")


def stream_option(text: str) -> tuple[int, str]:
    """Which stream is which device, of "0x8=0000:00:01.0"?

    Raises:
        UsageError: it has not that form.
    """
    sid, equals, device = text.partition("=")
    try:
        number = int(sid, 0)
    except ValueError:
        number = -1
    if not equals or not device or number < 0:
        raise UsageError(
            f"{text!r} tells no stream", where="--stream", hint="give --stream 0x8=0000:00:01.0"
        )
    return number, device
