"""topbit explain: what does an address, a line or an event record mean, and what became of it?"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from topbit.errors import UsageError

if TYPE_CHECKING:
    from topbit.addressing.explain import Meaning
    from topbit.events import Event
    from topbit.recording import Recording

HELP = "say what an address, a log line or an SMMU event record means, and what became of it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which arguments does `topbit explain` take?"""
    parser.add_argument(
        "what",
        metavar="ADDRESS|LINE|RECORD",
        nargs="+",
        help="an address (0x100433ce000), a line of a log or a trace in quotes, or the words of a "
        "raw SMMU event record (4 of 64 bits, 8 of 32 bits, or 32 bytes)",
    )
    parser.add_argument(
        "--in",
        metavar="FILE",
        dest="files",
        nargs="+",
        type=Path,
        help="tell what became of the address in this recording, or in these logs and traces",
    )
    parser.add_argument(
        "--ipa-bits",
        metavar="N",
        type=int,
        help="width of the Realm's IPA space, 32 to 52; without it the recording's, or the "
        "address's own width",
    )
    parser.add_argument("--format", choices=("text", "json"), default="text", help="default: text")


def run(args: argparse.Namespace) -> int:
    """Explain what was asked; 0.

    Raises:
        UsageError: it is no address, line or record, or the width of the IPA space is missing.
        InputError: a file cannot be read, or a record cannot be.
    """
    from topbit import api
    from topbit.report.explain_form import Explanation, render, wrapped

    text, said, tells = " ".join(args.what).strip(), None, ""
    event = event_of(args.what)
    if event is not None:
        address = address_of(event)
    elif is_line(args.what):
        from topbit.readers.one_line import fact_of
        from topbit.rules.finding import Evidence

        fact = fact_of(text)
        if fact is None:
            raise UsageError(
                "tells no event of DMA that a reader knows",
                where=text[:60],
                hint="give one whole line, in quotes, or the 4 or 8 words of an event record",
            )
        tells, address = fact
        said = Evidence(text)
    else:
        address = to_address(text)
    recordings = api.read(args.files, ipa_bits=args.ipa_bits) if args.files else []
    if event is not None:
        from topbit.recording.trouble import TROUBLE_KINDS, trouble_of
        from topbit.rules.wording import evidence_of

        if recordings and event.device is None and event.sid is not None:
            event.device = recordings[-1].platform.device_of_sid(event.sid)
        said = evidence_of({name: getattr(event, name) for name in event.__slots__})
        if event.event in TROUBLE_KINDS:
            tells = trouble_of(event.event, event.status).tells
    stories = []
    if recordings and address is not None:
        from topbit.report.story import story_of

        stories = [story_of(recording, address) for recording in recordings]
    meaning, note = meaning_of(address, args.ipa_bits, recordings, event, said=said is not None)
    told = Explanation(address, meaning, note, said, tells, stories)
    shown = render(told, args.format)
    if args.format == "text" and sys.stdout.isatty():
        shown = wrapped(shown, shutil.get_terminal_size().columns)
    print(shown, end="")
    return 0


def is_line(words: list[str]) -> bool:
    """Is it a line, and no address?"""
    return len(words) > 1 or " " in words[0].strip()


def event_of(words: list[str]) -> Event | None:
    """Which event does a line or a raw record tell? None if the words are an address, or no event.

    Raises:
        InputError: a record is of no type that IHI0070 defines.
    """
    if not is_line(words):
        return None
    from topbit.readers.one_line import events_of, record_of

    text = " ".join(words)
    record = record_of(text.split())
    if record is not None:
        return record
    events = events_of(text)
    return next(
        (event for event in events if address_of(event) is not None), next(iter(events), None)
    )


def address_of(event: Event) -> int | None:
    """Which address is an event about: the device's, or else the guest's?"""
    return event.phys if event.address is None else event.address


def meaning_of(
    address: int | None,
    ipa_bits: int | None,
    recordings: list[Recording],
    event: Event | None,
    *,
    said: bool,
) -> tuple[Meaning | None, str]:
    """What does the address mean, and what must be said about the width?

    Args:
        address: the address, if there is one.
        ipa_bits: the width that the user gave.
        recordings: what was read beside it.
        event: the event that the address stands in, if it is one.
        said: it stands in a line or record, of which there is something to say without the width.

    Raises:
        UsageError: the width is not known, and there is nothing else to say.
    """
    from topbit.addressing.explain import SPECIAL, explain

    if address is None:
        return None, ""
    known = recordings[-1].platform.ipa_bits if recordings else None
    if ipa_bits is None and known is not None:
        return explain(address, known), "the recording's width"
    if ipa_bits is None and address in SPECIAL:
        return None, ""
    unknown = "in which half it lies is not known without --ipa-bits N"
    if ipa_bits is None and said and not shows_a_width(address, event):
        return None, unknown
    try:
        width, note = width_for(address, ipa_bits)
    except UsageError:
        if not said and not recordings:
            raise
        return None, unknown
    return explain(address, width), note


def shows_a_width(address: int, event: Event | None) -> bool:
    """May the highest bit of an address that stands in a line be a Realm's shared bit?

    A guest's own addresses have none, nor have those below 4 GiB, where its memory is; the bit
    lies above every buffer. What a log tells of trouble may be of any machine.
    """
    if event is None or event.event == "trouble" or event.address is None:
        return False
    return address >> 32 > 0 and (event.phys or 0) >> (address.bit_length() - 1) == 0


def to_address(text: str) -> int:
    """Which address did the user write? Hexadecimal with or without 0x, as traces print it.

    What stands around it in the line that it was copied from ("dma_addr=…,") is left out.

    Raises:
        UsageError: not a number, or more than 64 bits.
    """
    digits = text.lower().rpartition("=")[2].strip("[]{}(),;.").replace("_", "").removeprefix("0x")
    try:
        value = int(digits, 16)
    except ValueError:
        raise UsageError(f"{text!r} is no address", hint="write it as 0x100433ce000") from None
    if digits.startswith("-") or value >> 64:
        raise UsageError(f"{text} does not fit 64 bits", hint="write at most 16 hex digits")
    return value


def width_for(address: int, ipa_bits: int | None) -> tuple[int, str]:
    """Which IPA width is meant, and what must be said about the choice?

    Raises:
        UsageError: none is given, and the address has no bit that could be the shared bit.
    """
    if ipa_bits is not None:
        return ipa_bits, ""
    from topbit.addressing.explain import fmt
    from topbit.arch.ipa import IPA_BITS_MAX, IPA_BITS_MIN

    width = address.bit_length()
    if not IPA_BITS_MIN <= width <= IPA_BITS_MAX:
        raise UsageError(
            f"{fmt(address)} does not show the width of the IPA space",
            where="--ipa-bits",
            hint="give it; the guest's RSI_REALM_CONFIG.ipa_width, or the VMM's setting",
        )
    return width, f"assuming that its top bit, bit {width - 1}, is the shared bit"
