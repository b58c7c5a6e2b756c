"""Which recordings do these files make?

The files are those of one run: the last boot of each text file, the event queues and the traces
belong together. Earlier boots in a log are recordings of their own.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from topbit.arch.ipa import check_ipa_bits
from topbit.errors import InputError, UsageError
from topbit.events import Event
from topbit.readers import infer, smmu_queue
from topbit.readers.kernel_log import LogFacts
from topbit.readers.source import files_of, open_source
from topbit.readers.text import Boot, read_text
from topbit.readers.trace_dat.reader import PRINTK_CLOCKS, read_trace_dat
from topbit.recording import DeviceFacts, Platform, Recording
from topbit.scenario.settings import unusual


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """How does reading a million events stay linear? Each collection would walk all of them."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _ignore(lines: int) -> None:
    """Who wants to know how far reading is? Nobody."""


def read(
    paths: list[Path],
    *,
    ipa_bits: int | None = None,
    progress: Callable[[int], None] = _ignore,
) -> list[Recording]:
    """Which recordings do the files make: one for each boot, the last boot last?

    Args:
        paths: files or folders of one run; or one recording.
        ipa_bits: width of the Realm's IPA space, if the user knows it. It also says that the
            guest is a Realm where no log says otherwise.
        progress: is told how many more lines were read, now and then.

    Raises:
        InputError: a file is missing, damaged, not UTF-8, or tells nothing.
        UsageError: ipa_bits is out of 32..52 or contradicts a recording.
    """
    if ipa_bits is not None:
        check_ipa_bits(ipa_bits, where="--ipa-bits")
    with _no_garbage_collection():
        return _read(paths, ipa_bits, progress)


def _read(
    paths: list[Path], ipa_bits: int | None, progress: Callable[[int], None]
) -> list[Recording]:
    runs: list[list[Boot]] = []
    queued: list[Event] = []
    queues: list[str] = []
    recorded: list[Recording] = []
    files = files_of(paths)
    for path in files:
        source = open_source(path)
        if source.kind == "recording":
            recorded.append(_recorded(path, ipa_bits))
        elif source.kind == "event queue":
            queued += smmu_queue.parse(source.name, source.data)
            queues.append(source.name)
        elif source.kind == "trace.dat":
            runs.append([read_trace_dat(source, progress)])
        else:
            runs.append(read_text(source, progress))
    if recorded:
        if len(files) > 1:
            raise UsageError(
                "a recording is checked alone", where=str(files[0]), mend="give one .parquet file"
            )
        return recorded
    told = [run for run in runs if any(not boot.empty for boot in run)]
    if not told and not queues:
        raise InputError(
            "holds no DMA trace event, no kernel log and no SMMU event",
            where=", ".join(str(path) for path in files),
            mend="give /sys/kernel/tracing/trace or a trace.dat with the dma and swiotlb events "
            "on, dmesg, or an event queue dump",
        )
    earlier = [[boot] for run in told for boot in run[:-1] if not boot.empty]
    last = [run[-1] for run in told]
    recordings = [_join(boots, [], ipa_bits) for boots in earlier]
    return [*recordings, _join(last, queued, ipa_bits)]


def _recorded(path: Path, ipa_bits: int | None) -> Recording:
    recording = Recording.read(path)
    platform = recording.platform
    if ipa_bits is not None:
        if platform.ipa_bits is not None and platform.ipa_bits != ipa_bits:
            raise UsageError(
                f"{ipa_bits} contradicts the recording, which has {platform.ipa_bits}",
                where="--ipa-bits",
            )
        platform.ipa_bits, platform.origins["ipa_bits"] = ipa_bits, "option"
    if platform.changed is None:  # topbit 0.1 stored the settings alone
        platform.changed = unusual(platform.policies)
    return recording


def _join(boots: list[Boot], queued: list[Event], ipa_bits: int | None) -> Recording:
    """Which recording do the logs and traces of one run make together?"""
    events: list[Event] = []
    copies: set[int] = set()
    # The file with the most trace lines is the best copy, among equals the one that is nothing
    # but a trace; others only add what it lacks.
    for boot in sorted(boots, key=lambda boot: (-len(boot.keys), boot.facts.seen_lines)):
        events += _without_copies(boot, copies)
    events = _without_repeated_logs(events)
    recorded = {(e.sid, e.address, e.status) for e in queued}
    events = [
        e for e in events if e.event != "smmu_event" or (e.sid, e.address, e.status) not in recorded
    ] + queued
    platform = _platform(boots, events, ipa_bits)
    for event in events:
        if event.device is None and event.sid is not None:
            event.device = platform.device_of_sid(event.sid)
    return Recording.of_events(platform, events)


def _without_copies(boot: Boot, copies: set[int]) -> list[Event]:
    """Which events of this file are not copies of those in another file of the run?"""
    dropped: set[int] = set()
    mine: set[int] = set()
    for key, start, end in boot.keys:
        if key in copies or key in mine:
            dropped.update(range(start, end))
        mine.add(key)
    copies |= mine
    return [event for index, event in enumerate(boot.events) if index not in dropped]


def _without_repeated_logs(events: list[Event]) -> list[Event]:
    """Which events are left when a kernel line that stands in two files counts once?"""
    seen: dict[tuple[str, float, str], str | None] = {}
    kept: list[Event] = []
    for event in events:
        if event.event in ("trouble", "swiotlb_full") and event.time is not None:
            key = (event.event, event.time, event.detail or "")
            if seen.setdefault(key, event.source) != event.source:
                continue
        kept.append(event)
    return kept


def _platform(boots: list[Boot], events: list[Event], ipa_bits: int | None) -> Platform:
    facts = _guest_facts(boots)
    platform = Platform(
        scheme=_scheme(facts),
        kernel=facts.kernel,
        pools=facts.pools,
        ram=facts.ram or facts.whole_ram,
        devices=facts.devices,
        msi_doorbells=facts.doorbells,
        machine="log",
        unparsed=[boot.unparsed for boot in boots if boot.unparsed],
        lost_events=sum(boot.lost_events for boot in boots),
        one_clock=False,
    )
    for event in events:
        if event.event in ("dma_map", "dma_alloc", "swiotlb_bounced") and event.device:
            platform.devices.setdefault(event.device, DeviceFacts())
    if facts.suppressed:
        platform.notes.append(
            f'{facts.suppressed} more "swiotlb buffer is full" messages were suppressed by the '
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
    _set_width(platform, facts, events, ipa_bits)
    _set_realm(platform, facts, ipa_bits)
    return platform


def _guest_facts(boots: list[Boot]) -> LogFacts:
    """Whose kernel log is the guest's? A Realm's before a host's, the fullest among equals."""
    return max(
        (boot.facts for boot in boots),
        key=lambda facts: (facts.realm, facts.bouncing, facts.seen_lines),
        default=LogFacts(),
    )


def _scheme(facts: LogFacts) -> str:
    if "SEV" in facts.encryption:
        return "amd-sev"
    if "SME" in facts.encryption:
        return "amd-sme"
    if facts.encryption or facts.architecture == "x86":
        return "none"
    return "arm-cca"


def _set_width(
    platform: Platform, facts: LogFacts, events: list[Event], ipa_bits: int | None
) -> None:
    inferred = None
    if platform.scheme == "arm-cca" and not _is_no_realm(facts):
        inferred = infer.from_dma_addresses(events, platform.ram) or infer.from_early_console(
            facts.earlycon, facts.uarts
        )
    if ipa_bits is not None:
        platform.ipa_bits, platform.origins["ipa_bits"] = ipa_bits, "option"
        if inferred is not None and inferred[0] != ipa_bits:
            platform.notes.append(f"--ipa-bits {ipa_bits} was given, but {inferred[1]}")
    elif inferred is not None:
        platform.ipa_bits, platform.origins["ipa_bits"] = inferred[0], f"inferred: {inferred[1]}"
        platform.notes.append(f"{inferred[1]}; --ipa-bits N tells it for certain")


def _is_no_realm(facts: LogFacts) -> bool:
    return facts.past_rsi and not facts.realm and not facts.bouncing


def _set_realm(platform: Platform, facts: LogFacts, ipa_bits: int | None) -> None:
    if facts.realm:
        platform.realm = True
    elif platform.scheme != "arm-cca":
        platform.realm = False
    elif ipa_bits is not None:
        platform.realm = True
        platform.notes.append("taken for a Realm because --ipa-bits was given; no log says so")
    elif _is_no_realm(facts):
        platform.realm = False
    elif platform.ipa_bits is not None:
        platform.realm = True
        platform.notes.append("taken for a Realm because of its DMA addresses; no log says so")
    elif facts.bouncing and facts.architecture == "arm64":
        platform.realm = True
        platform.notes.append(
            "taken for a Realm because the kernel bounces DMA for memory encryption"
        )
