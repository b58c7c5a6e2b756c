"""topbit explain: what does one address mean to each agent?"""

from __future__ import annotations

import argparse

from topbit.errors import UsageError

HELP = "say which half an address lies in and what each agent does with it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which arguments does `topbit explain` take?"""
    parser.add_argument("address", metavar="ADDRESS", help="e.g. 0x100433ce000")
    parser.add_argument(
        "--ipa-bits",
        metavar="N",
        type=int,
        help="width of the Realm's IPA space, 32 to 52; without it the address's own width",
    )
    parser.add_argument("--format", choices=("text", "json"), default="text", help="default: text")


def run(args: argparse.Namespace) -> int:
    """Explain one address."""
    from topbit import api
    from topbit.report.explain_form import render

    address = to_address(args.address)
    width, note = width_for(address, args.ipa_bits)
    print(render(api.explain(address, width), note, args.format), end="")
    return 0


def to_address(text: str) -> int:
    """Which address did the user write? Hexadecimal with or without 0x, as traces print it.

    Raises:
        UsageError: not a number, or more than 64 bits.
    """
    digits = text.lower().replace("_", "").removeprefix("0x")
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
