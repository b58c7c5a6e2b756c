"""How is the meaning of one address shown?"""

from __future__ import annotations

import dataclasses
import json

from topbit.addressing.explain import Meaning, fmt, pte_form
from topbit.arch.ipa import IpaSpace


def render(meaning: Meaning, note: str, form: str) -> str:
    """Which text (or JSON document) explains the address? `note`: how its width is known."""
    address, ipa_bits = meaning.address, meaning.ipa_bits
    space = IpaSpace(ipa_bits)
    bit = space.bit_number
    if form == "json":
        data = dataclasses.asdict(meaning)
        for key in ("address", "canonical", "alias"):
            data[key] = None if data[key] is None else fmt(data[key])
        data["shared_bit"] = bit
        data["agents"] = dict(meaning.agents)
        return json.dumps(data, indent=2) + "\n"
    lines = [f"{fmt(address)} in an IPA space of {ipa_bits} bits (shared bit: bit {bit})"]
    if note:
        lines.append(f"  note        {note}")
    if meaning.half == "outside":
        lines.append(f"  half        none: it lies above the IPA space ({fmt(space.size)})")
        if meaning.looks_like:
            lines.append(
                f"  looks like  an alias under {meaning.looks_like} bits, of "
                f"{fmt(IpaSpace(meaning.looks_like).protected(address))}"
            )
    else:
        state = "set: shared memory" if meaning.half == "unprotected" else "clear: private memory"
        other = "protected" if meaning.half == "unprotected" else "unprotected"
        lines += [
            f"  half        {meaning.half} (bit {bit} {state})",
            f"  canonical   {fmt(meaning.canonical)}   the page as Linux names it",
            f"  alias       {fmt(meaning.alias or 0)}   the same page in the {other} half",
        ]
    if meaning.looks_like is None and (wrong := pte_form(ipa_bits)):
        lines.append(
            f"  beware      kernels with 52-bit PAs set 0x{wrong:x} instead of bit {bit} in DMA "
            "addresses (PROT_NS_SHARED in page-table form)"
        )
    width = max(len(who) for who, _ in meaning.agents)
    lines += [f"  {who:<{width}}  {what}" for who, what in meaning.agents]
    return "\n".join(lines) + "\n"
