"""Who refuses a virtio device that bypasses the DMA API?"""

import pytest

from topbit.addressing.cc_platform import cc_platform
from topbit.addressing.kernel_policy import policy_for
from topbit.linux.virtio import uses_dma_api, virtio_features_ok

MODERN, PLATFORM = 1 << 32, 1 << 33


@pytest.mark.parametrize(
    ("scheme", "features", "line"),
    [
        ("amd-sev-snp", MODERN | PLATFORM, ""),
        ("amd-sev-snp", MODERN, "device must provide VIRTIO_F_ACCESS_PLATFORM"),
        ("intel-tdx", PLATFORM, "device must provide VIRTIO_F_VERSION_1"),
        ("s390-pv", 0, "device must provide VIRTIO_F_VERSION_1"),
        ("arm-cca", 0, ""),
        ("arm-pkvm", MODERN, ""),
        ("power-svm", MODERN, ""),
        ("none", 0, ""),
    ],
)
def test_which_devices_are_taken(scheme: str, features: int, line: str) -> None:
    platform = cc_platform(scheme, policy_for("7.3"))
    assert virtio_features_ok(platform, features) == (-19 if line else 0, line)


@pytest.mark.parametrize(("features", "used"), [(MODERN, False), (MODERN | PLATFORM, True)])
def test_whose_addresses_come_from_the_dma_api(features: int, used: bool) -> None:
    assert uses_dma_api(features) is used
