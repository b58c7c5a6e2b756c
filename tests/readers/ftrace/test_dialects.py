"""One and the same trace is read alike, whichever tool printed it."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import pytest

from paths import DATA
from topbit.readers.read import read
from topbit.report.boot import BootReport
from trace_wrappings import DIALECTS, ENTRIES, PERF_TRACE

WHEN = ("time", "source", "line")
TIMELESS = {"uptime clock", "counter clock", "no prefix", "babeltrace", "ftrace_dump_on_oops"}
"""Dialects without a time that can be compared with the others'."""


def rows(path: Path) -> list[dict[str, Any]]:
    (recording,) = read([path], ipa_bits=41)
    assert recording.platform.unparsed == []
    return recording.frame.drop(WHEN).rows(named=True)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    path = tmp_path_factory.mktemp("plain") / "trace.txt"
    path.write_text(DIALECTS["trace"](ENTRIES))
    return rows(path)


def test_the_trace_itself(plain: list[dict[str, Any]]) -> None:
    assert [row["event"] for row in plain] == [
        "dma_alloc", "swiotlb_bounced", "dma_map", "dma_map", "dma_map", "dma_map", "dma_unmap",
        "dma_sync", "iommu_map", "iommu_unmap",
    ]  # fmt: skip
    assert [row["address"] for row in plain[2:5]] == [0x10097002000, 0x10097003000, 0x10097004000]


@pytest.mark.parametrize("name", DIALECTS)
def test_every_dialect(tmp_path: Path, plain: list[dict[str, Any]], name: str) -> None:
    path = tmp_path / "trace.txt"
    path.write_bytes(DIALECTS[name](ENTRIES).encode())
    assert rows(path) == plain
    if name not in TIMELESS:
        (recording,) = read([path], ipa_bits=41)
        assert recording.frame["time"].round(6).to_list()[:3] == [4.100001, 4.100051, 4.100101]


def test_perf_trace_tells_the_fields_one_by_one(
    tmp_path: Path, plain: list[dict[str, Any]]
) -> None:
    singles = [entry for entry in ENTRIES if entry[1] in ("dma_map_phys", "dma_unmap_phys")]
    path = tmp_path / "trace.txt"
    path.write_text(PERF_TRACE(singles))
    # Without the IOMMU's events the trace is taken for the guest's.
    expected = [row | {"agent": "guest"} for row in (plain[2], plain[5], plain[6])]
    assert rows(path) == expected


def collected() -> dict[str, bytes]:
    with tarfile.open(DATA / "wrappings" / "traces.tar.xz") as tar:
        return {name: file.read() for name in tar.getnames() if (file := tar.extractfile(name))}


COLLECTED = collected()


@pytest.mark.parametrize("data", COLLECTED.values(), ids=COLLECTED.keys())
def test_collected_dialects(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "trace.txt"
    path.write_bytes(data)
    (recording,) = read([path], ipa_bits=41)
    (finding,) = BootReport.of(recording).checked.findings
    assert (finding.rule, finding.device, finding.agent) == ("M1", "0000:00:01.0", "guest")
    assert len(recording.frame) == 7
    assert recording.platform.unparsed == []


OLD = "4.100000: map: IOMMU: iova=0x00000000fff00000 paddr=0x0000000884570000 size=0x1000"
VENDOR = (
    "4.100000: map: IOMMU: 1d84000.ufshc iova=0x00000000fff00000 - 0x00000000fff01000 "
    "paddr=0x0000000884570000 size=4096"
)


@pytest.mark.parametrize(
    ("line", "device"), [(OLD, None), (VENDOR, "1d84000.ufshc")], ids=["3.x", "vendor"]
)
def test_other_forms_of_iommu_events(tmp_path: Path, line: str, device: str | None) -> None:
    path = tmp_path / "trace.txt"
    path.write_text(line)
    (row,) = rows(path)
    assert (row["event"], row["device"]) == ("iommu_map", device)
    assert (row["address"], row["pa"], row["size"]) == (0xFFF00000, 0x884570000, 4096)


def test_6_12_allocations_without_a_direction(tmp_path: Path) -> None:
    path = tmp_path / "trace.txt"
    path.write_text(
        "4.100000: dma_alloc: 0000:c2:00.0 dma_addr=fe980000 size=524288 "
        "virt_addr=000000006cadbcb1 flags=GFP_KERNEL attrs=\n"
    )
    (row,) = rows(path)
    assert (row["event"], row["direction"], row["size"]) == ("dma_alloc", None, 524288)


def test_a_program_of_bpftrace(tmp_path: Path, plain: list[dict[str, Any]]) -> None:
    path = tmp_path / "trace.txt"
    path.write_text(
        "11:02:04.100 tracepoint:dma:dma_map_phys: dev=0000:00:02.0 dir=2 "
        "dma_addr=0x10097002000 size=4096 phys_addr=0x8463dc000 attrs=0x0\n"
    )
    assert rows(path) == [plain[2] | {"agent": "guest"}]


@pytest.mark.parametrize(
    "line",
    [
        "dma_map_phys: failed to map the ring",
        "[    1.000000] mydrv: dma_alloc: no memory",
        "dma_alloc(dev, size) returned NULL",
    ],
)
def test_somebody_elses_message_with_our_names(tmp_path: Path, line: str) -> None:
    path = tmp_path / "trace.txt"
    path.write_text(DIALECTS["trace"](ENTRIES) + line + "\n")
    (recording,) = read([path], ipa_bits=41)
    assert recording.platform.unparsed == []
