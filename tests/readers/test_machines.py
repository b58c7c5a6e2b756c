"""Traces of several machines in one text."""

from __future__ import annotations

from pathlib import Path

from run_files import OWN_MAP, VFIO, trace
from topbit.readers.machines import apart
from topbit.readers.read import read
from topbit.readers.source import Source


def prefixed(name: str, text: str) -> str:
    return "".join(f"{name:>16}: {line}\n" for line in text.splitlines())


MERGED = "cpus=2\n" + prefixed("trace.dat", VFIO) + prefixed("guest.dat", trace())


def test_each_machine_has_its_own_lines(tmp_path: Path) -> None:
    host, guest = apart(Source("merged", "text", MERGED.encode()))
    assert (host.name, guest.name) == ("merged (trace.dat)", "merged (guest.dat)")
    assert host.text.split("\n")[:2] == MERGED.split("\n")[:2]
    assert guest.text.split("\n")[:2] == ["", ""]
    path = tmp_path / "merged"
    path.write_text(MERGED)
    (recording,) = read([path])
    assert [file.role for file in recording.platform.files] == ["host", "guest"]
    assert (recording.platform.realm, recording.platform.ipa_bits) == (True, 41)
    assert recording.of_kind("dma_map")["agent"].unique().to_list() == ["guest"]
    assert recording.of_kind("dma_map")["line"][0] == 4


def test_one_machine_is_left_as_it_is() -> None:
    for text in (trace(), prefixed("trace.dat", trace()), prefixed("a", OWN_MAP + trace())):
        source = Source("one", "text", text.encode())
        assert apart(source) == [source]
