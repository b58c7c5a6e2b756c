"""Which recordings do these files make?

The files are those of one run: the last boot of each text file, the event queues and the traces
belong together. Earlier boots in a log are recordings of their own.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import numpy as np

from topbit.errors import InputError, UsageError
from topbit.events import Event
from topbit.readers import infer, owners, platform_facts
from topbit.readers.boot import Boot
from topbit.readers.columns import TASK, table_of, together
from topbit.readers.copies import without_copies, without_repeated_logs
from topbit.readers.machines import apart
from topbit.readers.options import Options, ReadOptions, StrPath
from topbit.readers.roles import Seen, roles_of
from topbit.readers.source import OtherKindError, Source, files_of, open_source
from topbit.recording import FileFacts, Platform, Recording
from topbit.recording.schema import COLUMNS
from topbit.recording.trouble import TROUBLES

if TYPE_CHECKING:
    import polars


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
    paths: Iterable[StrPath] = (),
    *,
    progress: Callable[[int], None] = _ignore,
    **given: Unpack[ReadOptions],
) -> list[Recording]:
    """Which recordings do the files make: one for each boot, the last boot last?

    Args:
        paths: files or folders of one run; or one recording.
        progress: is told how many more lines were read, now and then.
        given: what the user says of the run, see `ReadOptions`.

    Raises:
        InputError: a file is missing, damaged from its beginning on, or tells nothing.
        UsageError: an option is out of its range or contradicts a recording.
    """
    named = {
        "guest": given.get("guest", ()),
        "host": given.get("host", ()),
        "vmm": given.get("vmm", ()),
        "firmware": given.get("firmware", ()),
    }
    roles = {
        path: role for role, some in named.items() for path in files_of([Path(p) for p in some])
    }
    options = Options(
        given.get("ipa_bits"),
        given.get("c_bit"),
        tuple(given.get("trusted", ())),
        tuple(given.get("viommu", ())),
        dict(given.get("streams", {})),
        roles,
    )
    options.check()
    with _no_garbage_collection():
        asked = [Path(path) for path in paths]
        return _read([*files_of(asked), *roles], {*asked, *roles}, options, progress)


@dataclass(frozen=True, slots=True)
class _Read:
    """What was read from one file?"""

    source: Source
    boots: list[Boot]
    queued: list[Event]

    @property
    def empty(self) -> bool:
        """Did the file tell nothing?"""
        return not self.queued and all(boot.empty for boot in self.boots)


def _read(
    files: list[Path], asked: set[Path], options: Options, progress: Callable[[int], None]
) -> list[Recording]:
    """Which recordings do `files` make, of which the user named those `asked` for?"""
    files = list(dict.fromkeys(files))
    if not files:
        raise UsageError("no file was given", hint="give the logs and traces of one run")
    told: list[_Read] = []
    others: list[FileFacts] = []
    for path in files:
        try:
            source = open_source(path)
        except OtherKindError as error:
            # A picture in a folder of logs is no reason not to read them.
            if path in asked or len(files) == len(others) + 1:
                raise
            others.append(FileFacts(str(path), "other", damage=[error.what]))
            continue
        if source.kind == "recording":
            if len(files) > 1:
                raise UsageError(
                    "a recording is checked alone",
                    where=str(path),
                    hint="give one .parquet file",
                )
            return [_recorded(path, options)]
        # Who reads a kind of file is loaded for the first of them: that takes a while.
        if source.kind == "event queue":
            from topbit.readers import smmu_queue

            told.append(_Read(source, [], smmu_queue.parse(source.name, source.data[:])))
        elif source.kind == "trace.dat":
            from topbit.readers.trace_dat.reader import read_trace_dat

            told.append(_Read(source, [read_trace_dat(source, progress)], []))
        else:
            from topbit.readers.text import read_text

            told += [_Read(one, read_text(one, progress), []) for one in apart(source)]
    if all(read.source.kind != "event queue" and read.empty for read in told):
        raise InputError(
            "holds no DMA trace event, no kernel log and no SMMU event",
            where=", ".join(str(path) for path in files),
            hint="give /sys/kernel/tracing/trace or a trace.dat with the dma and swiotlb events "
            "on, dmesg, or an event queue dump",
        )
    earlier = [
        _join([_Read(read.source, [boot], [])], options)
        for read in told
        for boot in read.boots[:-1]
        if not boot.empty
    ]
    last = [_Read(read.source, read.boots[-1:], read.queued) for read in told]
    counts = {read.source.name: len(read.boots) for read in told}
    recording = _join(last, options)
    recording.platform.files += others
    recording.platform.notes += [f"{file.name}: {file.damage[0]}" for file in others]
    for file in recording.platform.files:
        file.boots = max(counts.get(file.name, 1), 1)
    return [*earlier, recording]


def _recorded(path: Path, options: Options) -> Recording:
    recording = Recording.read(path)
    platform = recording.platform
    for name, given in (("ipa_bits", options.ipa_bits), ("c_bit", options.c_bit)):
        if given is None:
            continue
        known = getattr(platform, name)
        if known is not None and known != given:
            raise UsageError(
                f"{given} contradicts the recording, which has {known}",
                where=f"--{name.replace('_', '-')}",
            )
        setattr(platform, name, given)
        platform.origins[name] = "option"
    for device in options.trusted:
        if device in platform.devices:
            platform.devices[device].trusted = True
    for device in options.viommu:
        if device in platform.devices:
            platform.devices[device].behind_iommu = True
    if platform.changed is None:  # topbit 0.1 stored the settings alone
        from topbit.scenario.settings import unusual

        platform.changed = unusual(platform.policies)
    return recording


def _join(told: list[_Read], options: Options) -> Recording:
    """Which recording do the logs and traces of one run make together?"""
    boots = [boot for read in told for boot in read.boots]
    queued = [event for read in told for event in read.queued]
    said = {str(path): role for path, role in options.roles.items()}
    roles = roles_of([_seen(boot) for boot in boots], said, a_realm=options.ipa_bits is not None)
    behind: set[str] = set()
    tables: dict[str, polars.DataFrame] = {}
    for boot in boots:
        table, devices = owners.assign(boot.table, roles[boot.source][0])
        tables[boot.source] = table
        behind |= devices
    # The file with the most trace lines is the best copy, among equals the one that is nothing
    # but a trace; others only add what it lacks.
    order = sorted(boots, key=lambda boot: (-boot.exact_lines(), boot.facts.seen_lines))
    whole = together(without_copies([tables[boot.source] for boot in order]))
    whole = without_repeated_logs(whole)
    if queued:
        whole = together([_not_recorded(whole, queued), table_of(queued)])
    of = {role: [boot for boot in boots if roles[boot.source][0] == role] for role in ROLES}
    others = [boot for role in ("vmm", "firmware", "unknown") for boot in of[role]]
    platform = platform_facts.platform_of(of["guest"], of["host"], others, whole, options, behind)
    platform.files = [_file(read, roles) for read in told]
    for file in platform.files:
        platform.notes += [f"{file.name}: {damage}" for damage in file.damage]
        if file.replaced:
            platform.notes.append(
                f"{file.name}: {file.replaced} bytes that are no text were replaced"
            )
    return Recording(platform, _with_devices(whole, platform).select(COLUMNS))


def _not_recorded(table: polars.DataFrame, queued: list[Event]) -> polars.DataFrame:
    """Which events does the SMMU's own queue not tell?"""
    import polars

    recorded = {(event.sid, event.address, event.status) for event in queued}
    events = table.with_row_index("number").filter(polars.col("event") == "smmu_event")
    columns = events.select("number", "sid", "address", "status")
    told = [number for number, *record in columns.iter_rows() if tuple(record) in recorded]
    if not told:
        return table
    kept = np.ones(len(table), np.bool_)
    kept[told] = False
    return table.filter(kept)


def _with_devices(table: polars.DataFrame, platform: Platform) -> polars.DataFrame:
    """The events, with the device of each stream where only that is told."""
    import polars

    lacking = polars.col("device").is_null() & polars.col("sid").is_not_null()
    sids = table.filter(lacking)["sid"].unique().to_list()
    known = {sid: name for sid in sids if (name := platform.device_of_sid(sid)) is not None}
    if not known:
        return table
    device = polars.col("device").cast(polars.String)
    of_stream = polars.col("sid").replace_strict(known, default=None, return_dtype=polars.String)
    words = {*table["device"].unique().drop_nulls().to_list(), *known.values()}
    named = polars.when(lacking).then(of_stream).otherwise(device)
    return table.with_columns(device=named.cast(polars.Enum(sorted(words))))


ROLES = ("guest", "host", "vmm", "firmware", "unknown")
_IOMMU_TROUBLE = [
    name for name in TROUBLES if name.startswith(("smmu_", "amd_vi", "dmar", "iommu_", "rmp_"))
]


def _seen(boot: Boot) -> Seen:
    """What is known about a file before its owner is?"""
    import polars

    column = polars.col
    facts = boot.facts
    table = boot.table
    is_traced = column("event").is_in(owners.DMA) & (column("event") != "swiotlb_full")
    kinds = set(table["event"].unique().to_list())
    is_iommu_trouble = (column("event") == "trouble") & column("status").is_in(_IOMMU_TROUBLE)
    of_iommu = column("event").is_in(owners.IOMMU) & column("detail").is_null()
    devices = table.lazy().filter(is_traced).select(column("device").unique()).collect()
    return Seen(
        boot.source,
        boot.signs,
        has_log=bool(facts.seen_lines),
        has_trace=not kinds.isdisjoint({*owners.DMA} - {"swiotlb_full"}),
        drives_iommu=_any(table, of_iommu & (column("agent") == "vmm")),
        vmm_task=_any(table, column(TASK) == "vmm"),
        iommu_faults=not kinds.isdisjoint({"smmu_event", "smmu_lost"})
        or _any(table, is_iommu_trouble),
        not_a_realm=facts.past_rsi and not facts.realm,
        is_realm=facts.realm or infer.from_pattern(table) is not None,
        bounces="swiotlb_bounced" in kinds,
        devices=frozenset(filter(None, devices.to_series().to_list())),
        viommu=frozenset(n for n, device in facts.devices.items() if device.behind_iommu),
        log_devices=frozenset(facts.devices),
    )


def _any(table: polars.DataFrame, what: polars.Expr) -> bool:
    return bool(table.select(what.any()).item())


def _file(read: _Read, roles: dict[str, tuple[str, str]]) -> FileFacts:
    source = read.source
    role, why = roles.get(source.name, ("smmu", "its records"))
    boot = read.boots[-1] if read.boots else None
    return FileFacts(
        source.name,
        source.kind,
        role,
        why,
        kernel=boot.facts.kernel if boot else None,
        lines=boot.lines if boot else len(read.queued),
        encoding=source.encoding,
        replaced=source.replaced,
        damage=list(source.damage),
    )
