"""Which release keeps which convention."""

import pytest

from topbit.addressing.kernel_policy import parse_release, policy_for
from topbit.errors import UsageError


@pytest.mark.parametrize(
    ("release", "realm", "alias", "pte", "force"),
    [
        ("6.12.107", False, False, False, True),
        ("6.13.0", True, False, False, True),
        ("6.13.10", True, False, False, True),
        ("6.13.11", True, True, False, True),
        ("6.14.0", True, False, False, True),
        ("6.14.1", True, False, False, True),
        ("6.14.2", True, True, False, True),
        ("6.15", True, True, False, True),
        ("6.18.15+deb13-cloud-arm64", True, True, False, True),
        ("6.19.9", True, True, False, True),
        ("6.19.10", True, True, True, True),
        ("v7.0-rc6", True, True, True, True),
        ("7.2.13", True, True, True, True),
        ("7.3.4", True, True, True, False),
    ],
)
def test_dates(release: str, realm: bool, alias: bool, pte: bool, force: bool) -> None:
    policy = policy_for(release)
    assert policy.realm_guest is realm
    assert policy.alias_for_shared is alias
    assert policy.canonical_before_lookup is alias
    assert policy.pte_encoded_shared_bit is pte
    assert policy.swiotlb_force is force


def test_only_wide_realms_with_52_bit_pas_get_the_wrong_bit() -> None:
    assert policy_for("7.3").realm_scheme(52, pa_bits_52=True).unencrypted_mask == 0x200
    assert policy_for("7.3").realm_scheme(52, pa_bits_52=False).unencrypted_mask == 1 << 51
    assert policy_for("7.3").realm_scheme(50, pa_bits_52=True).unencrypted_mask == 1 << 49
    assert policy_for("6.18").realm_scheme(52, pa_bits_52=True).unencrypted_mask == 1 << 51


@pytest.mark.parametrize("text", ["", "six", "6", "latest"])
def test_what_is_no_release(text: str) -> None:
    with pytest.raises(UsageError, match="no kernel release"):
        parse_release(text)
