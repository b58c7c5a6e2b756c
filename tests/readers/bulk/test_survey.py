"""Whatever is read in bulk tells what it tells line by line, and only that."""

from __future__ import annotations

import importlib
import lzma
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from log_wrappings import GUEST, HOST, WRAPPINGS
from mixed_traces import Guest
from paths import DATA
from topbit.readers.bulk import survey, surveyor
from topbit.readers.bulk.chunk import Chunk
from topbit.readers.bulk.dull_lines import TELLING
from topbit.readers.bulk.helper import Helper
from topbit.readers.bulk.surveyor import Surveyed
from topbit.readers.bulk.trace_lines import TraceLines
from topbit.readers.columns import Columns, Piece
from topbit.readers.source import Source
from topbit.readers.stored_bytes import Bytes, StoredBytes
from topbit.readers.text import read_text
from trace_wrappings import DIALECTS, ENTRIES, PERF_TRACE

MIXED = "\n".join(Guest(seed=3, others=6).lines(1200, faults=2)) + "\n"
RECORDED = sorted(path for path in (DATA / "recordings").rglob("*.xz"))
TEXTS = {
    "mixed": MIXED,
    "CR LF": MIXED.replace("\n", "\r\n"),
    "no newline at the end": MIXED[:-1],
    **{name: dialect(ENTRIES * 3) for name, dialect in DIALECTS.items()},
    "perf trace": PERF_TRACE(ENTRIES * 3),
    **{f"log, {name}": wrapping([*HOST, *GUEST]) for name, wrapping in WRAPPINGS.items()},
    **{
        f"{path.parent.name}/{path.stem}": lzma.decompress(path.read_bytes()).decode(
            "utf-8", "replace"
        )
        for path in RECORDED
        if not path.name.endswith(".bin.xz")
    },
}
RAW = (
    "event 0x10 received:",
    *(f"\t0x{word:016x}" for word in (0x0000000800000010, 0x2_0000_0000, 0x10076B01000, 0)),
)
DECODED = (
    "event: F_TRANSLATION client: 0000:00:01.0 sid: 0x8 ssid: 0x0 iova: 0x10076b01000 "
    "ipa: 0x10076b01000",
    'unpriv data write s2 "Input address caused fault" stag: 0x0',
)
Told = tuple[list[Any], ...]


def told(data: Bytes) -> Told:
    """All that a text tells, boot by boot."""
    source = Source("t", "text", data)
    boots = read_text(source, lambda lines: None)
    return (
        [boot.table.rows() for boot in boots],
        [(boot.facts, boot.signs, boot.unparsed, boot.lost_events) for boot in boots],
        [(boot.vmm_ipa_bits, boot.lines, boot.notes) for boot in boots],
        [source.replaced],
    )


@pytest.fixture
def line_by_line(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], Told]:
    """How is a text read of which nothing is read in bulk?"""

    def none(chunk: Chunk, *known: Any) -> Any:
        return np.zeros(len(chunk), np.bool_)

    def no_trace(chunk: Chunk, known: Any) -> TraceLines:
        return TraceLines(Piece(0), none(chunk), none(chunk))

    def slowly(data: bytes) -> Told:
        with monkeypatch.context() as patch:
            patch.setattr(survey, "NUMBA_FROM", 1 << 60)
            patch.setattr(surveyor, "trace_lines", no_trace)
            patch.setattr(surveyor, "dull_lines", none)
            return told(data)

    return slowly


@pytest.fixture(
    params=[(survey.CHUNK, False), (3000, False), (700, True)],
    ids=["one chunk", "small chunks", "small chunks, numba"],
)
def chunks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How is the text cut, and who looks at it?"""
    size, by_numba = request.param
    if by_numba:
        pytest.importorskip("numba")
        monkeypatch.setattr(survey, "NUMBA_FROM", 0)
    monkeypatch.setattr(survey, "CHUNK", size)


@pytest.mark.parametrize("word", TELLING)
def test_no_line_with_a_word_that_tells_something_is_passed_over(word: str) -> None:
    lines = [
        f"[    4.100000] {before}{word}{after}" for before in ("", "a", "ab") for after in "c "
    ]
    _, rest = lines_in_bulk("\n".join([*lines, word, f"it is {word}", "[    4.100000] dull"]))
    assert rest == len(lines) + 2 or "\n" in word


def test_most_lines_are_read_in_bulk() -> None:
    for name in ("mixed", "CR LF", "trace", "trace-cmd report", "perf script", "tgid column"):
        bulk, rest = lines_in_bulk(TEXTS[name])
        assert bulk > 5 * rest, name


@pytest.mark.usefixtures("chunks")
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_bulk_tells_what_single_lines_tell(
    text: str, line_by_line: Callable[[bytes], Told]
) -> None:
    assert told(text.encode()) == line_by_line(text.encode())


def lines_in_bulk(text: str) -> tuple[int, int]:
    """How many lines of a text are read in bulk, and how many one by one?"""
    found = survey.Survey(text.encode(), Columns("t"))
    rest = sum(len(part.rest) for part in found.parts(lambda lines: None))
    return len(found.lines) - rest, rest


def mutated(rng: random.Random, text: str) -> str:
    """The text with some of its characters changed, moved, or gone."""
    out = list(text)
    pieces = ("\n", " ", ": ", "=", "{", ",", "0x", "a", "G", "\t", "\x1b[0m", "é", "\r", "(", '"')
    for _ in range(rng.choice((1, 3, 10, 40))):
        at = rng.randrange(len(out))
        how = rng.random()
        if how < 0.4:
            out[at : at + rng.choice((0, 1))] = rng.choice(pieces)
        elif how < 0.6:
            del out[at : at + rng.choice((1, 2, 5, 40))]
        elif how < 0.8:
            start = rng.randrange(len(out))
            out[at:at] = out[start : start + rng.choice((1, 5, 40, 200))]
        else:
            out[at] = chr(rng.randrange(32, 127))
    return "".join(out)


@pytest.mark.parametrize("size", range(1, 500, 23))
@pytest.mark.parametrize("record", [RAW, DECODED, (*RAW, *DECODED)])
def test_a_record_of_several_lines_is_one_wherever_the_text_is_cut(
    size: int,
    record: tuple[str, ...],
    line_by_line: Callable[[bytes], Told],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told_by_smmu = [f"[    5.000001] arm-smmu-v3 9050000.smmuv3: {text}" for text in record]
    text = "\n".join(["[    5.000000] before", *told_by_smmu, "[    5.000002] behind"]).encode()
    expected = line_by_line(text)
    assert [row[1] for row in expected[0][0]] == ["smmu_event"]
    monkeypatch.setattr(survey, "CHUNK", size)
    assert told(text) == expected


_COMMON = "0000:00:01.0 dir=TO_DEVICE dma_addr=1007a772800 size="
_LISTS = "nents=2/2 ents=2/2 dma_addrs={0x10,0x20} sizes={0x100,0x200}"
BODIES = [
    f"dma_map_phys: {_COMMON}4096 phys_addr=5fb53000 attrs=",
    "dma_map_phys: 0000:00:01.0 dir=TO_DEVICE dma_addr=ffffffffffffffff size=1 phys_addr=1 attrs=",
    *(f"dma_map_phys: {_COMMON}{size} phys_addr=5fb53000 attrs=" for size in ("", "12345678",
      "123456789", "18446744073709551616", "0010", "-1", "1x")),
    *(f"dma_map_phys: {_COMMON}8 phys_addr={phys} attrs=" for phys in ("", "0", "G", "0x10",
      "ffffffffffffffff", "10000000000000000", "10 ", "Ff")),
    *(f"dma_map_phys: {_COMMON}8 phys_addr=1{tail}" for tail in ("", " attrs", " attrs=a",
      " attrs=A|B", " attrs= ", " attrs=A attrs=B", "  attrs=", " attrs=0x20", "attrs=")),
    f"dma_map_phys: {_COMMON}8 attrs= phys_addr=1",
    f"dma_unmap_phys: {_COMMON}8 phys_addr=1 attrs=",
    f"dma_unmap_phys: {_COMMON}8 attrs=SKIP_CPU_SYNC",
    f"dma_sync_single_for_cpu: {_COMMON}8",
    f"dma_sync_single_for_cpu: {_COMMON}8 ",
    f"dma_sync_single_for_cpu: {_COMMON}8 attrs=",
    *(f"{name}: {_COMMON}8 virt_addr={virtual}{flags} attrs="
      for name, flags in (("dma_alloc", " flags=GFP_KERNEL|__GFP_ZERO"), ("dma_free", ""))
      for virtual in ("0", "00", "00000000", "0000000000000000", "(null)", "12", "")),
    "dma_alloc: 0000:00:01.0 dma_addr=10 size=8 virt_addr=1 flags=GFP_KERNEL attrs=",
    "dma_free: 0000:00:01.0 dma_addr=10 size=8 virt_addr=1 attrs=",
    f"dma_alloc: {_COMMON}8 virt_addr=1 attrs=",
    f"dma_free: {_COMMON}8 virt_addr=1 flags=GFP_KERNEL attrs=",
    *(f"dma_map_sg: dev0 dir=TO_DEVICE {_LISTS}{buffers} attrs=" for buffers in ("",
      " phys_addrs={0x1,0x2}", " phys_addrs={0x1}", " phys_addrs={0x1,0x2,0x3}", " phys_addrs={}",
      " phys_addrs={0x1,}", " phys_addrs={1,0x2}", " phys_addrs={0x1,0xG}", " phys_addrs=",
      " phys_addrs={0x1,0x2", " phys_addrs={0x1 ,0x2}", " phys_addrs={0x1,0x2}}")),
    "dma_map_sg: dev0 dir=TO_DEVICE nents=2/2 ents=2/2 dma_addrs={0x10,0x20} sizes={0x100} "
    "phys_addrs={0x1,0x2} attrs=",
    "dma_map_sg: dev0 dir=TO_DEVICE nents=2/2 ents=2/2 dma_addrs={0x10,0x20} phys_addrs={0x1,0x2} "
    "sizes={0x100,0x1} attrs=",
    "dma_map_sg: dev0 dir=TO_DEVICE dma_addrs={0x10} sizes={0x100} phys_addrs={0x1} attrs=",
    *(f"dma_unmap_sg: dev0 dir=TO_DEVICE phys_addrs={{{entries}}} attrs="
      for entries in ("0x1,0x2", "0x1", "", "0x10000000000000000", "0x1,0x2,0x3,0x4,0x5,0x6")),
    *(f"dma_sync_sg_for_cpu: dev0 dir=TO_DEVICE dma_addrs={{{one}}} sizes={{{other}}}"
      for one, other in (("0x1", "0x2"), ("0x1,0x3", "0x2"), ("0x1,0x3", "0x2,0x4"))),
    *(f"swiotlb_bounced: dev_name: dev0 dma_mask={mask} dev_addr=10 size=8 {how}"
      for mask in ("ffffffff", "0", "G", "10000000000000000", "")
      for how in ("FORCE", "NORMAL", "OTHER", "", "FORCE ", "NORMAL=")),
    "map: IOMMU: iova=0x0000000000001000 - 0x0000000000002000 paddr=0x0000000000003000 size=4096",
    "map: IOMMU: iova=0x0000000000001000 - 0x0000000000002000 paddr=0x0000000000003000 size=04096",
    "unmap: IOMMU: iova=0x0000000000001000 - 0x0000000000002000 size=4096 unmapped_size=4096",
    "unmap: IOMMU: iova=0x0000000000001000 - 0x0000000000002000 size=4096 unmapped_size=0",
    "dma_map_phys: [TRUNCATED] dir=TO_DEVICE dma_addr=1 size=8 phys_addr=1 attrs=",
    "dma_map_phys: dev0 dir=SIDEWAYS dma_addr=1 size=8 phys_addr=1 attrs=",
    "dma_map_phys: dev0 dir=2 dma_addr=1 size=8 phys_addr=1 attrs=",
    "dma:dma_map_phys:        dev0 dir=NONE dma_addr=1 size=8 phys_addr=1 attrs=",
]  # fmt: skip
HEADS = [
    "         fio-2044    [000] ..... 4.100000: ",
    "         fio-2044    [000] ..... 4.100000123: ",
    "         fio-2044    [000] ..... 1234567.100000: ",
    "         fio-2044    [000] ..... 12345678.100000: ",
    "         fio-2044    [000] ..... .100000: ",
    "         fio-2044    [000] ..... 4.10000: ",
    "         fio-2044    [000] ..... x4.100000: ",
    "         dma_map_phys: -1 [000] ..... 4.100000: ",
    "qemu-system-aar-9    [000] ..... 4.100000: ",
    "4.100000: ",
    "",
]


@pytest.mark.usefixtures("chunks")
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["LF", "CR LF"])
def test_bodies_that_are_nearly_of_the_usual_form(
    end: str, line_by_line: Callable[[bytes], Told]
) -> None:
    bodies = [f"{HEADS[0]}{body}" for body in BODIES]
    heads = [f"{head}{body}" for head in HEADS for body in BODIES[:1] + BODIES[-8:-4]]
    # The second time all that repeats is known.
    text = end.join([*bodies, *heads] * 2).encode()
    assert told(text) == line_by_line(text)


def test_lines_shorter_than_usual_have_room(
    line_by_line: Callable[[bytes], Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("numba")
    scan = importlib.import_module("topbit.readers.bulk.scan")
    event = next(line.encode() for line in MIXED.split("\n") if "dma_map_phys" in line)
    lines = [b"", b"a", event, b"[    1.000000] x"] * 40
    expected = line_by_line(b"\n".join(lines))
    monkeypatch.setattr(survey, "NUMBA_FROM", 0)
    for usual in (1, 32, 1 << 20):
        monkeypatch.setattr(scan, "USUAL_LINE", usual)
        assert told(b"\n".join(lines)) == expected


@pytest.mark.parametrize("by_numba", [False, True])
@settings(deadline=None, max_examples=100)
@given(seed=st.integers(0, 1 << 32))
def test_mutated_lines_tell_the_same(seed: int, by_numba: bool) -> None:
    rng = random.Random(seed)
    start = [rng.randrange(len(MIXED)) for _ in range(3)]
    base = "".join(MIXED[at : at + 1500] for at in start)
    base += rng.choice(list(DIALECTS.values()))(ENTRIES)
    # What repeats in a trace is known before the mutated lines come.
    text = (MIXED[:6000] + mutated(rng, base)).encode("utf-8", "replace")
    with pytest.MonkeyPatch.context() as patch:
        slowly = line_by_line.__wrapped__(patch)  # type: ignore[attr-defined]
        expected = slowly(text)
        if by_numba:
            patch.setattr(survey, "NUMBA_FROM", 0)
            patch.setattr(survey, "CHUNK", 500)
        assert told(text) == expected


@pytest.fixture
def helped_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A trace that other processes help with, in many chunks."""
    path = tmp_path / "trace"
    path.write_text("\n".join(Guest(seed=4).lines(20_000, faults=2)))
    monkeypatch.setattr(survey, "HELPERS_FROM", 0)
    monkeypatch.setattr(survey, "CHUNK", 10_000)
    monkeypatch.setattr(survey, "_cores", lambda: 3)
    return path


def test_helpers_tell_what_one_process_tells(
    helped_trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = told(helped_trace.read_bytes())
    # All that is looked at is looked at by another process.
    monkeypatch.setattr(Helper, "ready", wait_until_ready(Helper.ready))
    helped = counted(monkeypatch)
    assert told(StoredBytes(helped_trace)) == alone
    assert len(helped) > 10


def wait_until_ready(ready: Callable[[Helper], bool]) -> Callable[[Helper], bool]:
    """Helpers that are there at once."""

    def waited(helper: Helper) -> bool:
        while not ready(helper):
            time.sleep(0.01)
        return True

    return waited


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Where the chunks begin that helpers looked at."""
    helped: list[int] = []
    survey_of = Helper.survey

    def survey_and_count(helper: Helper, start: int, end: int) -> Surveyed:
        found = survey_of(helper, start, end)
        helped.append(start)
        return found

    monkeypatch.setattr(Helper, "survey", survey_and_count)
    return helped


@pytest.mark.parametrize("when", ["at its start", "later"])
def test_helpers_that_die_lose_nothing(
    when: str, helped_trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = told(helped_trace.read_bytes())
    monkeypatch.setattr(Helper, "ready", wait_until_ready(Helper.ready))
    started = Helper.__init__

    def short_lived(helper: Helper, data: StoredBytes, columns: Columns) -> None:
        started(helper, data, columns)
        if when == "at its start":
            helper._process.kill()

    survey_of = Helper.survey

    def survey_and_die(helper: Helper, start: int, end: int) -> Surveyed:
        found = survey_of(helper, start, end)
        helper._process.kill()
        return found

    monkeypatch.setattr(Helper, "__init__", short_lived)
    monkeypatch.setattr(Helper, "survey", survey_and_die)
    assert told(StoredBytes(helped_trace)) == alone
