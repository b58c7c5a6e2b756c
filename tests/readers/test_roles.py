"""Whose each file of a run is, and what its facts come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from run_files import (
    DIRECT,
    EVENT,
    HOST_LOG,
    OWN_MAP,
    OWN_UNMAP,
    PLAIN,
    QEMU,
    REALM,
    RMI,
    TF_A,
    VFIO,
    VIRTIO,
    roles,
    run,
    trace,
)
from topbit.errors import UsageError
from topbit.readers.options import stream_option
from topbit.readers.read import read

MAP_FAILED = (
    "qemu-system-aarch64: -device vfio-pci,host=01:00.0: VFIO_MAP_DMA failed: Bad address\n"
    "qemu: hardware error: vfio: DMA mapping failed, unable to continue\n"
)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"a": REALM, "b": HOST_LOG}, ["guest", "host"]),
        ({"a": HOST_LOG, "b": REALM}, ["host", "guest"]),
        ({"a": REALM, "b": RMI}, ["guest", "host"]),
        ({"a": PLAIN, "b": RMI}, ["guest", "host"]),
        ({"a": trace(), "b": HOST_LOG + EVENT}, ["guest", "host"]),
        ({"a": trace(), "b": REALM}, ["guest", "guest"]),
        ({"a": REALM, "b": VFIO}, ["guest", "host"]),
        ({"a": trace(), "b": VFIO + OWN_MAP + DIRECT}, ["guest", "host"]),
        ({"a": trace() + REALM, "b": DIRECT}, ["guest", "host"]),
        ({"a": REALM + EVENT}, ["guest"]),
        ({"a": PLAIN + EVENT}, ["host"]),
        ({"a": PLAIN}, ["guest"]),
        # A guest's own SMMU; a host that is a guest itself.
        ({"a": VIRTIO + EVENT}, ["guest"]),
        ({"a": trace(), "b": VIRTIO}, ["guest", "host"]),
        ({"a": PLAIN + "kvm [1]: VHE mode initialized successfully"}, ["host"]),
        ({"a": EVENT, "b": trace()}, ["host", "guest"]),
        ({"a": DIRECT}, ["guest"]),
        ({"a": DIRECT, "b": RMI}, ["host", "host"]),
        ({"a": QEMU, "b": REALM}, ["vmm", "guest"]),
        ({"a": MAP_FAILED}, ["vmm"]),
        ({"a": "swiotlb_tbl_map_single: 9 callbacks suppressed\n"}, ["guest"]),
        ({"a": "dmar_fault: 9 callbacks suppressed\nDMAR: VT-d detected Invalidation\n"}, ["host"]),
        ({"a": TF_A, "b": REALM}, ["firmware", "guest"]),
        ({"a": TF_A + REALM}, ["guest"]),
        ({"a": "nothing\n", "b": REALM}, ["unknown", "guest"]),
    ],
)
def test_whose(tmp_path: Path, files: dict[str, str], expected: list[str]) -> None:
    platform = run(tmp_path, files).platform
    assert list(roles(platform).values()) == expected
    assert all(file.role_from for file in platform.files)


@pytest.mark.parametrize("other", [HOST_LOG, RMI, HOST_LOG + EVENT])
def test_a_hosts_log_never_overrides_the_guests_facts(tmp_path: Path, other: str) -> None:
    alone = run(tmp_path, {"a": REALM, "t": trace()}).platform
    both = run(tmp_path, {"a": REALM, "b": other * 2, "t": trace()}).platform
    for fact in ("realm", "kernel", "ram", "pools", "ipa_bits", "scheme", "origins"):
        assert getattr(both, fact) == getattr(alone, fact)
    without = run(tmp_path, {"b": other, "t": trace()}).platform
    assert (without.realm, without.kernel, without.ram) == (True, None, [])


def test_what_a_fact_comes_from(tmp_path: Path) -> None:
    platform = run(tmp_path, {"guest.log": "noise\n" + REALM, "t": trace()}).platform
    log = tmp_path / "guest.log"
    assert platform.origins["kernel"] == f"{log}:3"
    assert platform.origins["realm"] == platform.origins["scheme"] == f"{log}:4"
    assert platform.origins["ram"] == f"{log}:6"
    assert platform.origins["pools"] == f"{log}:7"
    assert platform.origins["ipa_bits"] == (
        "inferred: 6 of 6 DMA addresses are guest RAM with bit 40 set"
    )
    assert all(platform.certain(fact) for fact in ("realm", "ipa_bits", "ram"))


def test_the_user_says_whose_a_file_is(tmp_path: Path) -> None:
    (tmp_path / "guest").write_text(HOST_LOG)
    (tmp_path / "host").write_text(REALM)
    (recording,) = read([], guest=[tmp_path / "guest"], host=[tmp_path / "host"])
    assert roles(recording.platform) == {"guest": "guest", "host": "host"}
    assert {file.role_from for file in recording.platform.files} == {"option"}
    assert recording.platform.kernel == "6.15.0"
    (tmp_path / "x").write_text(TF_A)
    (recording,) = read([tmp_path / "guest"], vmm=[tmp_path / "x"], firmware=[tmp_path / "host"])
    assert roles(recording.platform)["x"] == "vmm"
    assert roles(recording.platform)["host"] == "firmware"


def test_what_the_hosts_own_devices_do_is_the_hosts(tmp_path: Path) -> None:
    files = {"t": trace(), "h": VFIO + OWN_MAP + OWN_UNMAP + DIRECT}
    frame = run(tmp_path, files).frame
    by_kind = frame.group_by("event", "agent").len().rows()
    assert sorted(by_kind) == [
        ("dma_map", "guest", 6),
        ("dma_map", "host", 6),
        ("iommu_map", "host", 1),
        ("iommu_map", "vmm", 1),
        ("iommu_unmap", "host", 1),
        ("swiotlb_bounced", "guest", 6),
    ]


def test_trouble_is_of_the_one_whose_log_tells_it(tmp_path: Path) -> None:
    line = "[    9.000000] foo 1.bar: Failed to decrypt memory, 4 pages will be leaked\n"
    files = {"a": REALM + line, "b": RMI + line.replace("9.0", "8.0"), "c": QEMU}
    rows = run(tmp_path, files).of_kind("trouble")
    assert sorted(rows["agent"]) == ["guest", "host", "vmm"]


def test_a_guests_own_iommu(tmp_path: Path) -> None:
    behind = "[    1.000000] virtio-pci 0000:03:00.0: Adding to iommu group 0\n"
    recording = run(tmp_path, {"a": REALM + behind, "t": OWN_MAP + DIRECT})
    assert roles(recording.platform) == {"a": "guest", "t": "guest"}
    assert recording.platform.devices["0000:03:00.0"].behind_iommu
    assert recording.of_kind("iommu_map")["agent"].to_list() == ["guest"]
    assert recording.platform.ipa_bits is None


def test_options_that_no_log_tells(tmp_path: Path) -> None:
    platform = run(
        tmp_path,
        {"a": REALM},
        ipa_bits=41,
        c_bit=51,
        trusted=["0000:00:05.0"],
        viommu=["0000:00:06.0"],
        streams={0x80: "0000:00:02.0", 0x10: "0000:00:07.0"},
    ).platform
    assert platform.devices["0000:00:05.0"].trusted
    assert platform.devices["0000:00:06.0"].behind_iommu
    assert platform.device_of_sid(0x80) == "0000:00:02.0"
    assert platform.device_of_sid(0x10) == "0000:00:07.0"
    assert (platform.ipa_bits, platform.c_bit) == (41, 51)
    told = {fact for fact, origin in platform.origins.items() if origin == "option"}
    assert told == {
        "ipa_bits", "c_bit", "trusted 0000:00:05.0", "viommu 0000:00:06.0",
        "stream 0000:00:02.0", "stream 0000:00:07.0",
    }  # fmt: skip


@pytest.mark.parametrize("text", ["0x8", "=x", "x=0000:00:01.0", "-1=d", "0x8="])
def test_streams_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="--stream"):
        stream_option(text)
    assert stream_option("0x8=0000:00:01.0") == (8, "0000:00:01.0")


@pytest.mark.parametrize(("name", "value"), [("c_bit", 31), ("c_bit", 64), ("streams", {-1: "d"})])
def test_options_out_of_range(tmp_path: Path, name: str, value: object) -> None:
    with pytest.raises(UsageError, match="--"):
        run(tmp_path, {"a": REALM}, **{name: value})
