"""Which platform do the files of a run tell together?

The guest's files alone tell the guest's facts; where there is no guest, the only machine's do.
Every fact keeps where it came from, and what is concluded from addresses says so.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from topbit.readers import infer, owners, schemes
from topbit.readers.boot import PRINTK_CLOCKS, Boot
from topbit.readers.infer import Width
from topbit.readers.kernel_log.facts import LogFacts
from topbit.readers.options import Options
from topbit.recording import DeviceFacts, Platform, Reading

if TYPE_CHECKING:
    import polars

GIVE_DEVICES = ["dma_map", "dma_alloc", "swiotlb_bounced"]
"""The events of a guest that name its devices."""


@dataclass(slots=True)
class Told:
    """What do the kernel logs of one machine tell together?

    Attributes:
        facts: all of them.
        sources: fact -> "file:line", or the file where a fact has no line.
    """

    facts: LogFacts
    sources: dict[str, str]


def told_by(boots: list[Boot]) -> Told:
    """What do these logs of one machine tell? The fullest first; others add what it lacks."""
    facts, sources = LogFacts(), {}
    for boot in sorted(
        boots, key=lambda boot: (boot.facts.realm, boot.facts.seen_lines), reverse=True
    ):
        other = boot.facts
        if facts.kernel and other.kernel and facts.kernel != other.kernel:
            continue  # another boot, of which this run tells nothing
        for name in (field.name for field in dataclasses.fields(LogFacts)):
            mine, theirs = getattr(facts, name), getattr(other, name)
            if name == "devices":
                facts.devices = {**theirs, **mine}
            elif not mine and theirs:
                setattr(facts, name, theirs)
                line = other.told_at.get(name)
                sources[name] = boot.source if line is None else f"{boot.source}:{line}"
    return Told(facts, sources)


def platform_of(
    guests: list[Boot],
    hosts: list[Boot],
    others: list[Boot],
    events: polars.DataFrame,
    options: Options,
    behind: set[str],
) -> Platform:
    """Which platform do the files tell?

    Args:
        guests, hosts, others: what they tell, by whose they are.
        events: of all of them, in which the guest's are of the agent "guest".
        options: what the user says.
        behind: devices behind an IOMMU of the guest's own, going by its trace.
    """
    told = told_by(guests)
    of_host = told_by(hosts)
    checked = told if guests or options.ipa_bits is not None else of_host
    facts = checked.facts
    platform = Platform(
        kernel=facts.kernel,
        pools=list(facts.pools),
        ram=list(facts.ram or facts.whole_ram),
        devices={name: dataclasses.replace(device) for name, device in facts.devices.items()},
        msi_doorbells=list(facts.doorbells),
        machine="log",
        one_clock=False,
    )
    for fact in ("kernel", "pools"):
        if fact in checked.sources:
            platform.origins[fact] = checked.sources[fact]
    if platform.ram:
        name = "ram" if facts.ram else "whole_ram"
        platform.origins["ram"] = checked.sources.get(name, "kernel log")
    _set_devices(platform, events, options)
    owners.mark_viommu(platform, behind)
    _tell_losses(platform, [*guests, *hosts, *others], events)
    why_a_realm = _set_scheme(platform, checked, others, events, options)
    _set_width(platform, facts, others, events, options)
    platform.notes += why_a_realm
    _set_c_bit(platform, [*guests, *others, *hosts], options)
    return platform


def _set_devices(platform: Platform, events: polars.DataFrame, options: Options) -> None:
    import polars

    column = polars.col
    of_guest = (column("agent") == "guest") & column("event").is_in(GIVE_DEVICES)
    names = events.lazy().filter(of_guest).select(column("device").unique(maintain_order=True))
    for name in names.collect().to_series().to_list():
        if name and name not in platform.devices:
            platform.devices[name] = DeviceFacts()
    for what, given in (("trusted", options.trusted), ("viommu", options.viommu)):
        platform.notes += [
            f"--{what} {name} was given, but nothing in the guest's files names such a device"
            for name in given
            if name not in platform.devices
        ]
    for name in options.trusted:
        platform.devices.setdefault(name, DeviceFacts()).trusted = True
        platform.origins[f"trusted {name}"] = "option"
    for name in options.viommu:
        platform.devices.setdefault(name, DeviceFacts()).behind_iommu = True
        platform.origins[f"viommu {name}"] = "option"
    for sid, name in options.streams.items():
        for facts in platform.devices.values():
            if facts.sid == sid:
                facts.sid = None
        platform.devices.setdefault(name, DeviceFacts()).sid = sid
        platform.origins[f"stream {name}"] = "option"


def _guests_own(platform: Platform, events: polars.DataFrame) -> polars.DataFrame:
    """Which of the guest's DMA events have addresses of its own kind, and no IOVAs?"""
    import polars

    column = polars.col
    left_out = [
        name for name, facts in platform.devices.items() if facts.behind_iommu or facts.trusted
    ]
    kept = column("agent") == "guest"
    if left_out:
        kept &= ~column("device").is_in(left_out).fill_null(False)
    return events if events.select(kept.all()).item() else events.filter(kept)


def _set_scheme(
    platform: Platform, told: Told, boots: list[Boot], events: polars.DataFrame, options: Options
) -> list[str]:
    """Which scheme is it, is it a Realm, and how is that known? Returns what must be noted."""
    notes: list[str] = []
    known = schemes.scheme_of(told.facts)
    vmm = _vmm_said(boots)
    own = _guests_own(platform, events)
    if known == ("arm-pkvm", "bouncing") and infer.from_pattern(own) is not None:
        known = None  # its log only lost the line that names the RSI version
    pattern = infer.from_pattern(own) if known is None else None
    if known is not None and known[0] == "arm-cca":
        platform.realm = True
        platform.origins["realm"] = told.sources.get("realm", "kernel log")
    elif options.ipa_bits is not None and known is not None and known[0] not in ("none", ""):
        platform.realm = False
        platform.origins["realm"] = source = told.sources.get(known[1], "kernel log")
        notes.append(f"--ipa-bits was given, but {source} tells of {known[0]}: no Realm")
    elif options.ipa_bits is not None:
        platform.realm, platform.origins["realm"] = True, "option"
        known = ("arm-cca", "")
        notes.append("taken for a Realm because --ipa-bits was given; no log says so")
    elif known is None and vmm is not None:
        platform.realm, platform.origins["realm"] = True, f"{vmm[0]}:{vmm[2]}"
    elif known is None and pattern is not None:
        platform.realm = True
        platform.origins["realm"] = f"inferred: {pattern.why}"
        notes.append("taken for a Realm because of its DMA addresses; no log says so")
    elif known is not None:
        platform.realm = False
        platform.origins["realm"] = told.sources.get(known[1], "kernel log")
    else:
        platform.readings += schemes.readings_of(told.facts) or infer.readings_of(own)
    if known is not None:
        platform.scheme = known[0]
        source = told.sources.get(known[1], "")
        platform.origins["scheme"] = source or platform.origins["realm"]
    elif platform.realm:
        platform.origins["scheme"] = platform.origins["realm"]
    return notes


def _set_width(
    platform: Platform,
    facts: LogFacts,
    boots: list[Boot],
    events: polars.DataFrame,
    options: Options,
) -> None:
    if not platform.realm:
        return
    own = _guests_own(platform, events)
    sids = {device.sid for device in facts.devices.values() if device.sid is not None}
    inferred = (
        infer.from_maps(own, platform.ram)
        or infer.from_early_console(facts.earlycon, facts.uarts)
        or (infer.from_faults(events, platform.ram, sids) if platform.certain("realm") else None)
    )
    said = _vmm_said(boots)
    if options.ipa_bits is not None:
        platform.ipa_bits, platform.origins["ipa_bits"] = options.ipa_bits, "option"
        _contradict(platform, options.ipa_bits, inferred, said)
    elif said is not None:
        platform.ipa_bits, platform.origins["ipa_bits"] = said[1], f"{said[0]}:{said[2]}"
    elif inferred is not None:
        platform.ipa_bits = inferred.ipa_bits
        platform.origins["ipa_bits"] = f"inferred: {inferred.why}"
        platform.readings += inferred.readings


def _vmm_said(boots: list[Boot]) -> tuple[str, int, int] | None:
    """What does a VMM's log say of a Realm's width: (file, ipa_bits, line)?"""
    return next(((boot.source, *boot.vmm_ipa_bits) for boot in boots if boot.vmm_ipa_bits), None)


def _contradict(
    platform: Platform, given: int, inferred: Width | None, said: tuple[str, int, int] | None
) -> None:
    """Say where the files contradict what the user says."""
    if inferred is not None and inferred.ipa_bits != given:
        why = f"ipa_bits {inferred.ipa_bits} is inferred: {inferred.why}"
    elif said is not None and said[1] != given:
        why = f"{said[0]}:{said[2]} says {said[1]}"
    else:
        return
    platform.notes.append(f"--ipa-bits {given} was given, but {why}")
    platform.readings += [
        Reading("ipa_bits", str(given), "--ipa-bits says it", "the VMM's log or command line"),
        Reading("ipa_bits", "another", why, "the VMM's log or command line"),
    ]


def _set_c_bit(platform: Platform, boots: list[Boot], options: Options) -> None:
    if options.c_bit is not None:
        platform.c_bit, platform.origins["c_bit"] = options.c_bit, "option"
        return
    for boot in boots:
        if boot.facts.c_bit is not None:
            platform.c_bit = boot.facts.c_bit
            platform.origins["c_bit"] = f"{boot.source}:{boot.facts.told_at['c_bit']}"
            return


def _tell_losses(platform: Platform, boots: list[Boot], events: polars.DataFrame) -> None:
    """Say what is not there: lines that could not be read, events and messages that were lost."""
    import polars

    platform.unparsed = [boot.unparsed for boot in boots if boot.unparsed]
    platform.lost_events = sum(boot.lost_events for boot in boots)
    of_pool = (polars.col("status") == "suppressed").fill_null(False)
    counts = events.filter(of_pool)["attrs"].drop_nulls().to_list()
    suppressed = sum(
        int(attrs.rpartition("count=")[2] or 0) for attrs in counts if "swiotlb" in attrs
    )
    if suppressed:
        platform.notes.append(
            f'{suppressed} more "swiotlb buffer is full" messages were suppressed by the '
            "kernel's rate limit"
        )
    if platform.lost_events:
        platform.notes.append(
            f"{platform.lost_events} trace events were lost before they were read"
        )
    platform.notes += [note for boot in boots for note in boot.notes]
    if any(boot.facts.seen_lines for boot in boots):
        platform.notes += [
            f"{boot.source}: its times are of the clock {boot.clock}, the kernel log's are not: "
            "they cannot be compared"
            for boot in boots
            if boot.clock not in ("", *PRINTK_CLOCKS)
        ]
