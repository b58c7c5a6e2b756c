"""Whose each file of a run is, and what its facts come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from log_wrappings import GUEST, HOST, stamp
from topbit.errors import UsageError
from topbit.readers import read
from topbit.readers.options import stream_option
from topbit.recording import Platform, Recording

REALM = "".join(f"{stamp(time)} {text}\n" for time, _, text in GUEST)
PLAIN = REALM.replace("RME: Using RSI version 1.0", "percpu: Embedded 34 pages/cpu")
PLAIN = PLAIN.replace("Memory encryption is active", "all is well")
EVENT = "".join(f"{stamp(time)} {text}\n" for time, _, text in HOST)
VIRTIO = PLAIN
PLAIN = PLAIN.replace("virtio-pci", "nvme")
HOST_LOG = PLAIN.replace("6.16.12", "6.15.0").replace("0x0000000080000000", "0x0000000040000000")
RMI = HOST_LOG + "[    0.100000] kvm [1]: RMI ABI version 1.0\n"
TASK = "         fio-812     [003] .....   101.{:06}: "


def trace(bit: int = 1 << 40, device: str = "0000:00:02.0", count: int = 6) -> str:
    """A trace of a guest that bounces all of its maps."""
    lines = []
    for n in range(count):
        phys, pool = 0x84570000 + n * 0x1000, 0x97200000 + n * 0x1000
        head = TASK.format(100 + 2 * n)
        lines.append(
            f"{head}swiotlb_bounced: dev_name: {device} dma_mask=ffffffffffffffff "
            f"dev_addr={phys:x} size=4096 FORCE"
        )
        head = TASK.format(101 + 2 * n)
        lines.append(
            f"{head}dma_map_phys: {device} dir=TO_DEVICE dma_addr={bit | pool:x} size=4096 "
            f"phys_addr={phys:x} attrs="
        )
    return "\n".join(lines) + "\n"


DIRECT = "".join(
    f"{TASK.format(n)}dma_map_phys: 0000:03:00.0 dir=TO_DEVICE dma_addr=ffff{n:x}000 size=4096 "
    f"phys_addr=1234{n:x}000 attrs=\n"
    for n in range(1, 7)
)
VFIO = (
    "  CPU 0/KVM-4021     [006] .....   900.000101: map: IOMMU: iova=0x0000010097200000 - "
    "0x0000010097208000 paddr=0x0000000884570000 size=32768\n"
)
OWN_MAP = (
    "  jbd2/nvme0n1-77    [006] .....   900.000202: map: IOMMU: iova=0x00000000ffff1000 - "
    "0x00000000ffff2000 paddr=0x0000000012341000 size=4096\n"
)
OWN_UNMAP = (
    "         swapper/0-1 [006] .....   900.000302: unmap: IOMMU: iova=0x00000000ffff1000 - "
    "0x00000000ffff2000 size=4096 unmapped_size=4096\n"
)
QEMU = "qemu-system-aarch64: vfio_dma_map(0x55de, 0xc0000, 0x20000, 0x7f75) = -22 (Invalid)\n"
TF_A = "NOTICE:  BL31: v2.11.0\nINFO:    BL31: Initializing runtime services\n"


def run(tmp_path: Path, files: dict[str, str], **options: Any) -> Recording:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return read([tmp_path / name for name in files], **options)[-1]


def roles(platform: Platform) -> dict[str, str]:
    return {Path(file.name).name: file.role for file in platform.files}


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


# Is it a Realm, and how wide is it?


@pytest.mark.parametrize(
    ("text", "bits"),
    [
        (trace(1 << 32), 33),
        (trace(1 << 40), 41),
        (trace(1 << 51), 52),
        # too few, no bit, a bit that is no width, one map that was not bounced
        (trace(count=3), None),
        (trace(0), None),
        (trace(1 << 52), None),
        (trace() + DIRECT, None),
        # an address without the bit, and one with another
        (trace() + trace(0, count=1), None),
        (trace() + trace(1 << 41, count=1), None),
        # IOVAs from the top of 48, 36 and 32 bits
        (DIRECT.replace("ffff", "ffffffff"), None),
        (DIRECT.replace("ffff", "fffa8"), None),
        (DIRECT, None),
    ],
)
def test_the_one_pattern_that_only_a_realm_makes(
    tmp_path: Path, text: str, bits: int | None
) -> None:
    platform = run(tmp_path, {"t": text}).platform
    assert (platform.realm, platform.ipa_bits) == ((True, bits) if bits else (None, None))
    assert platform.certain("realm") == platform.certain("ipa_bits") == bool(bits)


def test_addresses_with_a_high_bit_have_readings(tmp_path: Path) -> None:
    platform = run(tmp_path, {"t": DIRECT.replace("ffff", "ffffffff")}).platform
    assert [(r.fact, r.value) for r in platform.readings] == [
        ("realm", "no"),
        ("realm", "yes"),
        ("scheme", "amd-sme"),
    ]
    assert all(r.why and r.decides for r in platform.readings)


def test_one_odd_address_does_not_outvote_the_rest(tmp_path: Path) -> None:
    odd = trace(1 << 40, count=1) + trace(0, count=6)
    platform = run(tmp_path, {"a": REALM, "t": odd}).platform
    assert platform.ipa_bits == 41
    assert not platform.certain("ipa_bits")
    assert {r.value for r in platform.readings} == {"41", "unknown"}
    many = trace(1 << 40) + trace(1 << 44, count=1)
    platform = run(tmp_path, {"a": REALM, "t": many}).platform
    assert platform.ipa_bits is None


def test_faulting_addresses_alone_tell_no_width(tmp_path: Path) -> None:
    assert run(tmp_path, {"h": EVENT}).platform.ipa_bits is None
    assert run(tmp_path, {"h": HOST_LOG + EVENT}).platform.ipa_bits is None
    # Of a Realm's own device, at its own RAM but for one bit, they do.
    assert run(tmp_path, {"a": REALM, "h": EVENT}).platform.ipa_bits == 41
    # Not if the stream is another's, ...
    other = EVENT.replace("0x0000001000000010", "0x0000088000000010")
    assert run(tmp_path, {"a": REALM, "h": other}).platform.ipa_bits is None
    # ... and with less certainty if the fault is one of stage 1.
    stage1 = EVENT.replace("0x0000028800000000", "0x0000020800000000")
    platform = run(tmp_path, {"a": REALM, "h": stage1}).platform
    assert (platform.ipa_bits, platform.certain("ipa_bits")) == (41, False)


def test_an_overflow_tells_the_width_as_a_map_does(tmp_path: Path) -> None:
    line = (
        "[    2.000000] e1000e 0000:00:03.0: swiotlb addr 0x0000010097000000+4096 overflow "
        "(mask ffffffff, bus limit 0).\n"
    )
    assert run(tmp_path, {"a": REALM + line}).platform.ipa_bits == 41


def test_a_vmm_tells_the_width(tmp_path: Path) -> None:
    lkvm = "  Info: (arm/aarch64/kvm.c) kvm__get_vm_type:194: max_ipa 8fffffff ipa_bits 33 max 48\n"
    platform = run(tmp_path, {"v": lkvm, "a": REALM}).platform
    assert (platform.ipa_bits, platform.origins["ipa_bits"]) == (33, f"{tmp_path / 'v'}:1")
    platform = run(tmp_path, {"v": lkvm, "a": REALM}, ipa_bits=41).platform
    assert any("--ipa-bits 41 was given, but" in note for note in platform.notes)
    assert not platform.certain("ipa_bits")


@pytest.mark.parametrize(
    ("lines", "scheme"),
    [
        ("Linux version 7.2 (x) (aarch64-linux-gnu-gcc) #1\nRME: Using RSI version 1.0", "arm-cca"),
        ("Linux version 7.4 (x) (gcc) #1 aarch64\narm_rmm: Using RSI version 2.0", "arm-cca"),
        ("Memory Encryption Features active: AMD SME", "amd-sme"),
        ("AMD Memory Encryption Features active: SEV", "amd-sev"),
        ("Memory Encryption Features active: AMD SEV SEV-ES", "amd-sev-es"),
        ("Memory Encryption Features active: AMD SEV SEV-ES SEV-SNP", "amd-sev-snp"),
        ("SEV: Status: SEV SEV-ES SEV-SNP vTom", "snp-vtom"),
        ("AMD Secure Memory Encryption (SME) active", "amd-sme"),
        ("Hyper-V: Isolation Config: Group A 0x1, Group B 0xba2", "snp-vtom"),
        ("Hyper-V: Isolation Config: Group A 0x1, Group B 0xba3", "intel-tdx"),
        ("Hyper-V: Isolation Config: Group A 0x1, Group B 0x1", "hyperv"),
        ("Memory Encryption Features active: Intel TDX", "intel-tdx"),
        ("Linux version 7.2 (x) (gcc) #1 ppc64le\nBOUNCING", "power-svm"),
        ("Linux version 7.2 (x) (gcc) #1 s390x\nBOUNCING", "s390-pv"),
        (
            "Linux version 7.2 (x) (gcc) #1 aarch64\nsmccc: KVM: hypervisor services detected "
            "(0x00000000 0x00000000 0x00000000 0x0000009d)",
            "arm-pkvm",
        ),
        (
            "Linux version 7.3 (x) (gcc) #1 aarch64\npercpu: Embedded 34 pages/cpu\nBOUNCING",
            "arm-pkvm",
        ),
        ("Linux version 7.2 (x) (gcc) #1 aarch64\npercpu: Embedded 34 pages/cpu", "none"),
        ("Linux version 7.2 (x) (x86_64-linux-gnu-gcc) #1", "none"),
    ],
)
def test_schemes(tmp_path: Path, lines: str, scheme: str) -> None:
    bouncing = "software IO TLB: Memory encryption is active and system is using DMA bounce buffers"
    text = lines.replace("BOUNCING", bouncing)
    platform = run(tmp_path, {"a": text}).platform
    assert (platform.scheme, platform.realm) == (scheme, scheme == "arm-cca")
    assert platform.origins["scheme"].startswith(str(tmp_path))


def test_a_quiet_log_has_two_readings(tmp_path: Path) -> None:
    text = REALM.replace("RME: Using RSI version 1.0", "")
    platform = run(tmp_path, {"a": text}).platform
    assert (platform.realm, platform.certain("scheme")) == (None, False)
    assert [(r.fact, r.value) for r in platform.readings] == [
        ("scheme", "arm-cca"),
        ("scheme", "arm-pkvm"),
    ]


def test_ipa_bits_of_another_scheme(tmp_path: Path) -> None:
    text = "Memory Encryption Features active: Intel TDX"
    platform = run(tmp_path, {"a": text}, ipa_bits=48).platform
    assert (platform.realm, platform.ipa_bits) == (False, None)
    assert any("tells of intel-tdx: no Realm" in note for note in platform.notes)


@pytest.mark.parametrize(("unit", "size"), [("MiB", 4 << 20), ("KiB", 4 << 10)])
def test_restricted_pools_of_both_releases(tmp_path: Path, unit: str, size: int) -> None:
    line = f"Reserved memory: created restricted DMA pool at 0x0000000090000000, size 4 {unit}\n"
    platform = run(tmp_path, {"a": REALM + line}).platform
    assert (0x90000000, size) in platform.pools
