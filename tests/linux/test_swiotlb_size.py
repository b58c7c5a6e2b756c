"""How large is the pool that a kernel makes at boot?"""

import pytest

from topbit.addressing.cc_platform import cc_platform
from topbit.addressing.kernel_policy import policy_for
from topbit.linux.swiotlb_size import allocated_size, swiotlb_size

MIB, GIB = 1 << 20, 1 << 30


@pytest.mark.parametrize(
    ("scheme", "release", "ram", "setting", "cpus", "mib"),
    [
        # Observed on Linux 7.3.4, a Realm of 1 GiB.
        ("arm-cca", "7.3", GIB, None, 2, 1),
        ("arm-cca", "7.3", GIB, 65536, 2, 128),
        ("arm-cca", "7.3", GIB, 16384, 2, 32),
        ("arm-cca", "7.3", GIB, 32768, 2, 1),
        ("arm-cca", "7.4", GIB, 32768, 2, 64),  # af3857eac74e
        ("arm-cca", "7.4", GIB, None, 2, 1),
        # arch_mm_preinit: before 7.3 a Realm is left at 64 MiB.
        ("arm-cca", "7.2", GIB, None, 2, 64),
        ("arm-cca", "7.2", 2 * GIB, None, 2, 64),
        ("arm-cca", "7.3", 2 * GIB, None, 2, 2),
        ("arm-cca", "7.3", 3 * GIB, None, 2, 4),  # 3 MiB, rounded up
        ("arm-cca", "7.3", 128 * GIB, None, 2, 64),
        ("arm-cca", "7.3", GIB, None, 16, 4),  # a segment for each CPU
        ("arm-cca", "7.3", GIB, None, 9, 4),
        # mem_encrypt_setup_arch: 6 % of RAM, 64 MiB to 1 GiB.
        ("amd-sev-snp", "7.3", GIB, None, 2, 64),
        ("amd-sev-snp", "6.12", 8 * GIB, None, 2, 512),
        ("intel-tdx", "7.3", 64 * GIB, None, 2, 1024),
        ("intel-tdx", "7.3", 64 * GIB, 262144, 2, 512),
        ("s390-pv", "7.3", 64 * GIB, None, 2, 64),
        ("amd-sme", "7.3", 64 * GIB, None, 2, 64),
        ("none", "7.3", 64 * GIB, None, 2, 64),
    ],
)
def test_the_size_that_is_wanted(
    scheme: str, release: str, ram: int, setting: int | None, cpus: int, mib: int
) -> None:
    policy = policy_for(release)
    platform = cc_platform(scheme, policy)
    assert swiotlb_size(policy, platform, ram, setting=setting, cpus=cpus) == mib * MIB


def test_ram_out_of_reach_keeps_the_default() -> None:
    policy = policy_for("7.3")
    platform = cc_platform("arm-cca", policy)
    assert swiotlb_size(policy, platform, GIB, reachable=False) == 64 * MIB


def test_a_setting_is_whole_segments() -> None:
    policy = policy_for("7.3")
    assert swiotlb_size(policy, cc_platform("none", policy), GIB, setting=129) == 512 << 10


@pytest.mark.parametrize(
    ("wanted", "room", "size"),
    [(64, 64, 64), (64, 63, 32), (64, 20, 16), (64, 1, 1), (1, 0, 0), (2, 0, 0)],
)
def test_a_pool_that_does_not_fit_is_halved(wanted: int, room: int, size: int) -> None:
    assert allocated_size(wanted * MIB, room * MIB) == size * MIB
