"""What is known of the platform, how is it known, and what of the input could not be read?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import PurePath

from topbit.recording import Platform
from topbit.rules.wording import address, shared_bit_name


def platform_lines(platform: Platform) -> Iterator[str]:
    """Which lines tell the facts, each with where it comes from?"""
    kernel = platform.kernel or "unknown kernel"
    if kernel[0].isdigit():  # else firmware, or a kernel that is only proposed
        kernel = f"Linux {kernel}"
    if platform.kernel:
        kernel += _from(platform, "kernel")
    guest = {True: "a Realm", False: "no Realm", None: "not known whether a Realm"}[platform.realm]
    guest += _from(platform, "realm")
    if platform.scheme != "arm-cca":
        guest = f"scheme {platform.scheme}{_from(platform, 'scheme')}"
    yield f"{kernel_of(platform):<8} {kernel}, {guest}"
    if platform.space is not None:
        origin = _from(platform, "ipa_bits")
        yield f"IPA      {platform.ipa_bits} bits{origin}: {shared_bit_name(platform)}"
    elif platform.realm:
        yield "IPA      width unknown (--ipa-bits N tells it)"
    if platform.c_bit is not None:
        yield f"C bit    bit {platform.c_bit}{_from(platform, 'c_bit')}"
    for name, fact, ranges in (("RAM", "ram", platform.ram), ("swiotlb", "pools", platform.pools)):
        for base, size in ranges:
            yield (
                f"{name:<8} {address(base)}-{address(base + size - 1)}, {_amount(size)}"
                + _from(platform, fact)
            )
    changed = platform.changed_policies()
    if changed:
        yield "settings " + ", ".join(f"{key}={value}" for key, value in changed.items())
    if platform.unfinished:
        yield f"ended    {platform.unfinished}"
    for note in platform.notes:
        yield f"note     {note}"


def kernel_of(platform: Platform) -> str:
    """Whose kernel is the platform's, "guest" or "host"?

    A host's if a host's log alone told it, if a host was asked about alone, or under SME.
    """
    origin = platform.origins.get("kernel", "")
    told = (file.role for file in platform.files if f"{origin}:".startswith(f"{file.name}:"))
    roles = {file.role for file in platform.files}
    alone = "guest" not in roles and "host" in roles and not platform.realm
    host = next(told, "") == "host" or alone or platform.scheme == "amd-sme"
    return "host" if host else "guest"


def unread_lines(platform: Platform) -> Iterator[str]:
    """Which lines tell what looked like events and could not be read?"""
    for entry in platform.unparsed:
        # Only text has lines, which are counted from 1.
        lines, place = ("lines", f" at line {entry.line}") if entry.line else ("places", "")
        yield (
            f"unparsed {entry.count} {lines} of {entry.source} look like events and could not "
            f"be read, the first{place}: {entry.text}"
        )


def _from(platform: Platform, fact: str) -> str:
    """Where does a fact come from, in brackets behind a blank? Empty if nothing tells."""
    origin = platform.origins.get(fact, "")
    if origin == "option":
        origin = f"--{fact.replace('_', '-')}" if fact in ("ipa_bits", "c_bit") else "an option"
    if origin in ("", "scenario", "recording"):
        # Of a run all facts come from its scenario.
        return f" ({origin})" * (fact == "ipa_bits" and bool(origin))
    return f" ({_short(platform, origin)})"


def _short(platform: Platform, origin: str) -> str:
    """How is "folder/file:12" or "folder/file" written?

    Without the folder, where one file alone has that name.
    """
    names = Counter(PurePath(file.name).name for file in platform.files)
    for file in platform.files:
        name = PurePath(file.name).name
        if f"{origin}:".startswith(f"{file.name}:") and names[name] == 1:
            return name + origin[len(file.name) :]
    return origin


def _amount(size: int) -> str:
    for unit, shift in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >= 1 << shift and not size % (1 << shift):
            return f"{size >> shift} {unit}"
    return f"{size} bytes"
