from __future__ import annotations

import io
import lzma
import stat
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import polars
import pytest

from paths import DATA
from topbit.arch.ipa import IpaSpace
from topbit.errors import InputError
from topbit.events import Event
from topbit.readers.read import read
from topbit.recording import (
    DeviceFacts,
    FileFacts,
    Platform,
    Reading,
    Recording,
    Unparsed,
)
from topbit.recording import recording as module
from topbit.recording.recording import require_place
from topbit.recording.schema import COLUMNS, KINDS, polars_schema
from topbit.rules import check

PLATFORM = Platform(
    realm=True,
    ipa_bits=41,
    origins={"ipa_bits": "option", "realm": "dmesg.txt:12"},
    readings=[Reading("ipa_bits", "41", "maps", "--ipa-bits")],
    files=[FileFacts("dmesg.txt", role="guest", role_from="its RSI line", damage=["cut"])],
    kernel="6.18.15",
    pools=[(0x76B00000, 64 << 20)],
    ram=[(0x40000000, 1 << 30)],
    devices={"0000:00:02.0": DeviceFacts(sid=0x10, dma_mask=(1 << 64) - 1)},
    dma_ranges=[(0, 0x80000000, 1 << 30)],
    policies={"vmm.smmu_map": "protected"},
    changed=["vmm.smmu_map"],
    unfinished="the guest is stuck",
    notes=["a note"],
    unparsed=[Unparsed("trace.txt", 2, 7, "dma_map_phys: 00")],
)
EVENTS = [
    Event("guest", "dma_map", device="0000:00:02.0", address=(1 << 64) - 1, phys=0x41E35000),
    Event("smmu", "smmu_event", sid=0x10, address=0x100433CE000, status="F_TRANSLATION", line=0),
]


def malformed() -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(lzma.decompress(MALFORMED_TAR.read_bytes()))) as tar:
        return {name: file.read() for name in tar.getnames() if (file := tar.extractfile(name))}


MALFORMED_TAR = DATA / "hostile" / "parquet.tar.xz"
MALFORMED = malformed()


def test_a_recording_survives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "run.parquet"
    Recording.of_events(PLATFORM, EVENTS).write(path)
    read = Recording.read(path)
    assert read.platform == PLATFORM
    assert read.frame.equals(Recording.of_events(PLATFORM, EVENTS).frame)
    assert read.frame["address"].to_list() == [(1 << 64) - 1, 0x100433CE000]


def test_it_shows_as_one_line() -> None:
    assert repr(Recording.of_events(PLATFORM, EVENTS)) == "<Recording: log, 2 events>"


def test_any_parquet_tool_reads_the_table(tmp_path: Path) -> None:
    path = tmp_path / "run.parquet"
    Recording.of_events(PLATFORM, EVENTS).write(path)
    frame = polars.read_parquet(path)
    assert tuple(frame.columns) == COLUMNS
    assert frame["event"].to_list() == ["dma_map", "smmu_event"]


def test_a_run_without_events_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / "empty.parquet"
    Recording.of_events(Platform(), []).write(path)
    assert Recording.read(path).frame.is_empty()


def test_writing_replaces_at_once_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "run.parquet"
    path.write_text("older")
    Recording.of_events(PLATFORM, EVENTS).write(path)
    assert [p.name for p in tmp_path.iterdir()] == ["run.parquet"]


def test_a_recording_gets_the_mode_of_any_new_file(tmp_path: Path) -> None:
    """The umask is the process's, so one of its own."""
    command = [sys.executable, "-m", "topbit", "run", "seed", "-o", str(tmp_path / "x.parquet")]
    subprocess.run(command, check=True, capture_output=True, umask=0o027)
    assert stat.S_IMODE((tmp_path / "x.parquet").stat().st_mode) == 0o640


def test_a_place_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere.*cannot write"):
        Recording.of_events(PLATFORM, EVENTS).write(tmp_path / "nowhere" / "run.parquet")


def test_a_device_is_not_replaced() -> None:
    """As root the rename over /dev/null would succeed."""
    with pytest.raises(InputError, match=r"/dev/null: cannot write: .*no file"):
        require_place(Path("/dev/null"))


def test_a_full_disk_is_a_clear_error_and_leaves_nothing(tmp_path: Path) -> None:
    """A limit of the file size stands for the disk; it is the process's, so one of its own."""
    code = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from topbit.cli import main\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "sys.exit(main(['run', 'seed', '-o', sys.argv[1]]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "x.parquet")], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "x.parquet: cannot write: File too large" in done.stderr
    assert done.stdout.startswith("verdict  OK: no violation")
    assert list(tmp_path.iterdir()) == []


def test_every_kind_uses_columns_of_the_table() -> None:
    for name, kind in KINDS.items():
        assert set(kind.columns) <= set(COLUMNS), name


def test_shared_bit() -> None:
    assert PLATFORM.space == IpaSpace(41)
    assert Platform().space is None
    assert PLATFORM.device_of_sid(0x10) == "0000:00:02.0"
    assert PLATFORM.device_of_sid(0x11) is None


@pytest.mark.parametrize("scenario", ["seed", "stale-mapping", "narrow-mask"])
def test_a_run_emits_only_documented_kinds_and_columns(scenario: str) -> None:
    from topbit.machine.model.machine import ModelMachine
    from topbit.scenario import find

    frame = ModelMachine(find(scenario)).run().frame
    for (kind,), rows in frame.group_by("event"):
        assert kind in KINDS
        used = {name for name in COLUMNS if rows[name].null_count() < len(rows)}
        common = {"agent", "event", "time", "source", "line", "detail"}
        assert used <= set(KINDS[str(kind)].columns) | common, kind


MIXED = [
    Event("guest", "dma_map", address=1),
    Event("vmm", "convert", phys=2),
    Event("guest", "of a later version"),
    Event("guest", "dma_unmap", address=3),
    Event("guest", "dma_map", address=4, status="error"),
]


@pytest.fixture(params=[True, False], ids=["short", "long"], autouse=True)
def _length(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does a recording keep of what it was asked for?"""
    if not request.param:
        monkeypatch.setattr(module, "SHORT", 0)


def mixed() -> Recording:
    return Recording.of_events(PLATFORM, MIXED)


@pytest.mark.parametrize(
    ("kinds", "numbers"),
    [
        (("dma_map",), [0, 4]),
        (("dma_unmap", "dma_map", "access"), [0, 3, 4]),
        (("access",), []),
        (("of a later version",), []),
        ((), []),
        (tuple(KINDS), [0, 1, 3, 4]),
    ],
)
def test_events_of_some_kinds_in_order(kinds: tuple[str, ...], numbers: list[int]) -> None:
    recording = mixed()
    assert recording.scan(*kinds).collect()["number"].to_list() == numbers
    assert recording.of_kind(*kinds).equals(recording.frame[numbers])
    assert recording.has(*kinds) is bool(numbers)


def test_the_place_of_each_event_among_kinds() -> None:
    assert mixed().places_among("dma_unmap", "access", "dma_map").of().tolist() == [2, 3, 3, 0, 2]
    assert mixed().places_among().of().tolist() == [0] * len(MIXED)


def test_events_of_a_kind_that_meet_a_condition() -> None:
    recording = mixed()
    failed = recording.of_kind("dma_map", where=polars.col("status") == "error")
    assert failed.equals(recording.frame[[4]])
    assert tuple(recording.of_kind("access", where=polars.col("sid") == 1).columns) == COLUMNS


def test_an_answer_is_the_askers_own() -> None:
    recording = mixed()
    for answer in (recording.of_kind("dma_map"), recording.scan("dma_map").collect()):
        answer.insert_column(0, polars.Series("mine", [1, 2]))
    assert tuple(recording.of_kind("dma_map").columns) == COLUMNS
    assert recording.scan("dma_map").collect_schema().names() == ["number", *COLUMNS]


def test_events_by_number() -> None:
    recording = mixed()
    assert recording.rows([3, 0]).equals(recording.scan("dma_map", "dma_unmap").collect()[[1, 0]])
    assert recording.rows([]).is_empty()
    assert recording.row(3) == recording.rows([3]).row(0, named=True)
    assert (recording.row(3)["number"], recording.row(3)["address"]) == (3, 3)


@pytest.mark.parametrize("name", ["vmm-maps-protected-half", "swiotlb-too-small-7.3"])
def test_words_that_are_numbers_to_the_machine_tell_the_same(name: str, tmp_path: Path) -> None:
    (terse,) = read([DATA / "recordings" / name])
    assert polars.Enum in {dtype.base_type() for dtype in terse.frame.schema.values()}
    schema = polars.Schema(polars_schema())
    plain = Recording(terse.platform, terse.frame.cast(schema))
    kinds = plain.frame["event"].unique().to_list()
    assert terse.of_kind(*kinds).equals(plain.frame)
    assert terse.of_kind(*kinds).schema == terse.of_kind().schema == schema
    assert terse.rows([3, 1]).equals(plain.rows([3, 1]))
    assert check(terse) == check(plain)
    terse.write(tmp_path / "r.parquet")
    again = Recording.read(tmp_path / "r.parquet")
    assert again.frame.schema == terse.frame.schema
    assert again.of_kind(*kinds).equals(plain.frame)


@pytest.mark.parametrize("words", [False, True])
def test_events_are_told_by_a_word(words: bool) -> None:
    recording = mixed()
    if words:
        kinds = polars.Enum(["vmm", "guest"])
        frame = recording.frame.with_columns(
            polars.col("agent").cast(kinds), polars.col("status").cast(polars.Enum(["error"]))
        )
        recording = Recording(PLATFORM, frame)
    assert recording.says("agent", "vmm", "host").tolist() == [False, True, False, False, False]
    assert recording.says("status", "error").tolist() == [False] * 4 + [True]
    assert not recording.says("agent", "host").any()
    assert not recording.says("device", "disk").any()


def test_what_is_left_out_is_of_no_kind_and_keeps_its_number() -> None:
    whole = mixed()
    left = whole.without(np.array([True, True, False, False, False]))
    assert (whole.told, left.told) == (5, 3)
    assert left.scan("dma_map").collect()["number"].to_list() == [4]
    assert not left.has("convert")
    assert left.of_kind("convert").is_empty()
    assert left.row(0)["address"] == 1
    other = left.on(Platform(ipa_bits=40))
    assert (other.platform.ipa_bits, other.told) == (40, 3)


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_a_part_at_a_time(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PART", size)
    parts = list(mixed().parts("dma_map", "dma_unmap"))
    assert len(parts) == -(-5 // size)
    assert polars.concat(parts).collect().equals(mixed().scan("dma_map", "dma_unmap").collect())
    assert list(mixed().parts("access")) == []
