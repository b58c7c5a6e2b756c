"""Which scheme a kernel log tells."""

from __future__ import annotations

from pathlib import Path

import pytest

from run_files import REALM, run


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


@pytest.mark.parametrize("kernel", ["7.2.13", "7.3.4"])
def test_a_log_that_lost_a_line_has_two_readings(tmp_path: Path, kernel: str) -> None:
    bouncing = "software IO TLB: Memory encryption is active and system is using DMA bounce buffers"
    text = (
        f"Linux version {kernel} (x) (gcc) #1 aarch64\npercpu: Embedded 34 pages/cpu\n{bouncing}\n"
    )
    trace = "".join(
        f"a-1 [000] ..... 1.00{n}001: swiotlb_bounced: dev_name: 0000:00:01.0 dma_mask=ffffffff"
        f"ffffffff dev_addr=8457{n}000 size=64 FORCE\na-1 [000] ..... 1.00{n}002: dma_map_phys: "
        f"0000:00:01.0 dir=TO_DEVICE dma_addr=80fc20{n}000 size=64 phys_addr=8457{n}000 attrs=\n"
        for n in range(6)
    )
    alone = run(tmp_path, {"a": text}).platform
    # A pKVM guest bounces all DMA from 7.3 on; its addresses have no bit.
    assert alone.scheme == ("arm-pkvm" if kernel == "7.3.4" else "arm-cca")
    assert alone.realm is (False if kernel == "7.3.4" else None)
    traced = run(tmp_path, {"a": text + trace}).platform
    assert (traced.scheme, traced.realm, traced.ipa_bits) == ("arm-cca", True, 40)
    assert traced.inferred("realm")


def test_a_device_that_nobody_names_is_told(tmp_path: Path) -> None:
    text = REALM + "pci 0000:00:01.0: [1af4:1042] type 00\n"
    platform = run(tmp_path, {"a": text}, trusted=["0000:00:1.0", "0000:00:01.0"]).platform
    assert [note for note in platform.notes if "was given" in note] == [
        "--trusted 0000:00:1.0 was given, but nothing in the guest's files names such a device"
    ]
    platform = run(tmp_path, {"a": text}, viommu=["eth0"]).platform
    assert any(note.startswith("--viommu eth0 was given") for note in platform.notes)


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


SEV = "Memory Encryption Features active: AMD SEV SEV-ES SEV-SNP"


def test_the_c_bit_of_a_vmms_command_line(tmp_path: Path) -> None:
    qemu = "-object sev-snp-guest,id=sev0,cbitpos=51,reduced-phys-bits=1 \\\n"
    files = {"v": f"/usr/bin/qemu-system-x86_64 \\\n{qemu}", "a": SEV}
    platform = run(tmp_path, files).platform
    assert (platform.c_bit, platform.origins["c_bit"]) == (51, f"{tmp_path / 'v'}:2")
    assert [file.role for file in platform.files] == ["vmm", "guest"]
