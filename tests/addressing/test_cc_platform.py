"""What each platform marks, what of it stands in device addresses, and who is forced."""

import pytest

from topbit.addressing.cc_platform import cc_platform
from topbit.addressing.dma_direct import DMA_BIT_MASK
from topbit.addressing.kernel_policy import policy_for
from topbit.addressing.scheme import (
    SCHEMES,
    dma_addr_canonical,
    dma_addr_encrypted,
    dma_addr_unencrypted,
)
from topbit.errors import UsageError

NOW = policy_for("7.3")
X = 0x8000_0000


@pytest.mark.parametrize(
    ("name", "bit", "means", "encrypted", "unencrypted"),
    [
        ("arm-cca", 40, "shared", X, X | 1 << 40),
        ("arm-pkvm", None, "", X, X),
        ("amd-sme", 47, "private", X | 1 << 47, X),
        ("amd-sev", 51, "private", X | 1 << 51, X),
        ("amd-sev-es", 51, "private", X | 1 << 51, X),
        ("amd-sev-snp", 51, "private", X | 1 << 51, X),
        ("snp-vtom", 46, "shared", X, X),
        ("intel-tdx", 51, "shared", X, X),
        ("hyperv", 46, "shared", X, X),
        ("s390-pv", None, "", X, X),
        ("power-svm", None, "", X, X),
        ("none", None, "", X, X),
    ],
)
def test_what_stands_in_device_addresses(
    name: str, bit: int | None, means: str, encrypted: int, unencrypted: int
) -> None:
    platform = cc_platform(name, NOW)
    scheme = platform.device_scheme(NOW)
    assert (platform.bit, platform.set_means) == (bit, means)
    assert dma_addr_encrypted(scheme, X) == encrypted
    assert dma_addr_unencrypted(scheme, X) == unencrypted
    assert dma_addr_canonical(scheme, encrypted) == X
    assert dma_addr_canonical(scheme, unencrypted) == X


def test_every_scheme_is_a_platform() -> None:
    assert {cc_platform(name, NOW).name for name in SCHEMES} == set(SCHEMES)
    with pytest.raises(UsageError, match="did you mean 'arm-cca'"):
        cc_platform("arm-ccaa", NOW)


@pytest.mark.parametrize(
    ("name", "release", "forced"),
    [
        ("arm-cca", "6.12", False),
        ("arm-cca", "6.13", True),
        ("arm-pkvm", "7.2", False),
        ("arm-pkvm", "7.3", True),
        ("amd-sev-snp", "6.12", True),
        ("snp-vtom", "6.12", True),
        ("intel-tdx", "6.12", True),
        ("s390-pv", "6.12", True),
        ("power-svm", "6.12", True),
        ("amd-sme", "7.3", False),
        ("none", "7.3", False),
    ],
)
def test_who_is_forced_to_shared_memory(name: str, release: str, forced: bool) -> None:
    policy = policy_for(release)
    platform = cc_platform(name, policy)
    assert platform.forces(policy) is forced
    assert platform.force_dma_unencrypted(policy) is forced


@pytest.mark.parametrize(
    ("mask_bits", "limit", "iommu", "release", "forced"),
    [
        (64, 0, False, "7.3", False),
        (48, 0, False, "7.3", False),
        (47, 0, False, "7.3", True),
        (32, 0, False, "6.12", True),
        (64, DMA_BIT_MASK(40), False, "7.3", True),
        (32, 0, True, "7.2", True),
        (32, 0, True, "7.3", False),
    ],
)
def test_an_sme_host_forces_who_cannot_carry_the_c_bit(
    mask_bits: int, limit: int, iommu: bool, release: str, forced: bool
) -> None:
    policy = policy_for(release)
    got = cc_platform("amd-sme", policy).force_dma_unencrypted(
        policy,
        coherent_dma_mask=DMA_BIT_MASK(mask_bits),
        bus_dma_limit=limit,
        behind_iommu=iommu,
    )
    assert got is forced


@pytest.mark.parametrize(
    ("name", "release", "guest", "host"),
    [
        ("arm-cca", "7.2", False, False),
        ("arm-cca", "7.3", True, False),
        ("s390-pv", "7.2", False, False),
        ("s390-pv", "7.3", True, False),
        ("intel-tdx", "6.12", True, False),
        ("amd-sme", "6.12", False, True),
        ("none", "7.3", False, False),
    ],
)
def test_what_cc_platform_has(name: str, release: str, guest: bool, host: bool) -> None:
    policy = policy_for(release)
    platform = cc_platform(name, policy)
    assert platform.guest_mem_encrypt(policy) is guest
    assert platform.host_mem_encrypt is host
    assert platform.mem_encrypt is (name != "none")


def test_who_refuses_virtio_without_access_platform() -> None:
    refusing = {name for name in SCHEMES if cc_platform(name, NOW).needs_access_platform}
    assert set(SCHEMES) - refusing == {"arm-cca", "arm-pkvm", "amd-sme", "power-svm", "none"}


@pytest.mark.parametrize("release", ["7.4", "proposed:private-for-trusted"])
def test_only_proposals_ask_whether_a_device_was_accepted(release: str) -> None:
    policy = policy_for(release)
    platform = cc_platform("arm-cca", policy)
    assert platform.force_dma_unencrypted(policy, trusted=False)
    assert platform.force_dma_unencrypted(policy, trusted=True) is (release == "7.4")


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize(
    ("release", "mask", "offset"),
    [
        ("7.4", (1 << 40, 1 << 40), (0, 0)),
        ("proposed:zero-based-iova", (0, 1 << 40), (0, 0)),
        ("proposed:device-offsets", (0, 0), (1 << 40, 1 << 40)),
    ],
)
def test_what_the_proposals_put_into_addresses_of_devices(
    release: str, mask: tuple[int, int], offset: tuple[int, int], trusted: bool
) -> None:
    policy = policy_for(release)
    scheme = cc_platform("arm-cca", policy).device_scheme(policy, trusted=trusted)
    assert (scheme.unencrypted_mask, scheme.shared_offset) == (mask[trusted], offset[trusted])


def test_an_accepted_device_of_sev_tio_adds_an_offset() -> None:
    platform = cc_platform("sev-tio", NOW)
    accepted = platform.device_scheme(NOW, trusted=True)
    assert dma_addr_unencrypted(accepted, X) == X + (1 << 46)
    assert not platform.force_dma_unencrypted(NOW, trusted=True)
    assert platform.force_dma_unencrypted(NOW, trusted=False)
    assert dma_addr_unencrypted(platform.device_scheme(NOW), X) == X
