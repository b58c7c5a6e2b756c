"""One and the same log is read alike, whatever was put around its lines."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest

from log_wrappings import GUEST, HOST, WRAPPINGS, Wrapping
from more_wrappings import MORE, Bytes
from paths import DATA
from topbit.readers.read import read
from topbit.recording import Recording
from topbit.report.boot import BootReport

WHEN = ("time", "source", "line")


def told(recording: Recording) -> dict[str, Any]:
    """What does a recording tell, but when, and in which file?"""
    platform = recording.platform
    rows = recording.frame.drop(WHEN).rows(named=True)
    return {
        "realm": platform.realm,
        "kernel": platform.kernel,
        "ram": platform.ram,
        "pools": platform.pools,
        "ipa_bits": (platform.ipa_bits, platform.inferred("ipa_bits")),
        "scheme": platform.scheme,
        "devices": platform.devices,
        "roles": [file.role for file in platform.files],
        "events": sorted(rows, key=str),
        "unparsed": platform.unparsed,
        "findings": [
            (f.rule, f.agent, f.device) for f in BootReport.of(recording).checked.findings
        ],
    }


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return told(wrapped(tmp_path_factory.mktemp("plain"), WRAPPINGS["dmesg"]))


def wrapped(folder: Path, wrapping: Wrapping | Bytes) -> Recording:
    for name, lines in (("guest.log", GUEST), ("host.log", HOST)):
        text = wrapping(lines)
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    (recording,) = read([folder])
    return recording


def test_the_log_itself(plain: dict[str, Any]) -> None:
    assert (plain["realm"], plain["kernel"], plain["scheme"]) == (True, "6.16.12", "arm-cca")
    assert plain["ipa_bits"] == (41, True)
    assert plain["ram"] == [(0x80000000, 512 << 20)]
    assert plain["pools"] == [(0x97000000, 64 << 20)]
    assert plain["roles"] == ["guest", "host"]
    assert [(row["event"], row["device"]) for row in plain["events"]] == [
        ("swiotlb_full", "0000:00:02.0"),
        ("smmu_event", "0000:00:02.0"),
    ]
    assert plain["findings"] == [("F1", "vmm", "0000:00:02.0"), ("S1", "guest", "0000:00:02.0")]


@pytest.mark.parametrize("wrapping", WRAPPINGS.values(), ids=WRAPPINGS.keys())
def test_every_wrapping(tmp_path: Path, plain: dict[str, Any], wrapping: Wrapping) -> None:
    assert told(wrapped(tmp_path, wrapping)) == plain


@pytest.mark.parametrize("wrapping", MORE.values(), ids=MORE.keys())
def test_several_wrappings_at_once_and_other_encodings(
    tmp_path: Path, plain: dict[str, Any], wrapping: Bytes
) -> None:
    assert told(wrapped(tmp_path, wrapping)) == plain


def collected() -> dict[str, dict[str, bytes]]:
    """Wrappings that were collected, by name: the two files of each."""
    found: dict[str, dict[str, bytes]] = {}
    with tarfile.open(DATA / "wrappings" / "logs.tar.xz") as tar:
        for member in tar.getmembers():
            file = tar.extractfile(member)
            if file is not None:
                folder, _, name = member.name.partition("/")
                found.setdefault(folder, {})[name] = io.BytesIO(file.read()).getvalue()
    return found


COLLECTED = collected()


@pytest.mark.parametrize("files", COLLECTED.values(), ids=COLLECTED.keys())
def test_collected_wrappings(
    tmp_path: Path, plain: dict[str, Any], files: dict[str, bytes]
) -> None:
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    (recording,) = read([tmp_path])
    assert told(recording) == plain
