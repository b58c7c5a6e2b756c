"""Which release keeps which convention."""

import dataclasses

import pytest

from topbit.addressing.kernel_policy import (
    DIFFERENCES,
    PROPOSALS,
    KernelPolicy,
    differences,
    parse_release,
    policy_for,
)
from topbit.errors import UsageError


@pytest.mark.parametrize(
    ("release", "realm", "alias", "pte", "attrs"),
    [
        ("6.12.107", False, False, False, False),
        ("6.13.0", True, False, False, False),
        ("6.13.10", True, False, False, False),
        ("6.13.11", True, True, False, False),
        ("6.14.0", True, False, False, False),
        ("6.14.1", True, False, False, False),
        ("6.14.2", True, True, False, False),
        ("6.15", True, True, False, False),
        ("6.18.15+deb13-cloud-arm64", True, True, False, False),
        ("6.19.9", True, True, False, False),
        ("6.19.10", True, True, True, False),
        ("v7.0-rc6", True, True, True, False),
        ("7.2.13", True, True, True, False),
        ("7.3.4", True, True, True, True),
        ("7.4", True, True, True, True),
    ],
)
def test_dates(release: str, realm: bool, alias: bool, pte: bool, attrs: bool) -> None:
    policy = policy_for(release)
    assert policy.realm_guest is realm
    assert policy.alias_for_shared is alias
    assert policy.canonical_before_lookup is alias
    assert policy.pte_encoded_shared_bit is pte
    assert policy.capable_by_attrs is attrs


@pytest.mark.parametrize(
    ("name", "before", "since"),
    [
        ("dma_map_phys", "6.17.9", "6.18"),
        ("cc_shared_attr", "7.1", "7.2"),
        ("guest_mem_encrypt", "7.2.13", "7.3"),
        ("pkvm_force_unencrypted", "7.2.13", "7.3"),
        ("viommu_refuses_coherent", "7.2.13", "7.3"),
        ("sme_iommu_exempt", "7.2.13", "7.3"),
        ("remap_shares", "7.2.13", "7.3"),
        ("pool_failure_disables", "7.2.13", "7.3"),
        ("realm_pool_scaled", "7.2.13", "7.3"),
        ("pool_size_tracked", "7.3.4", "7.4"),
        ("restricted_pool_kib", "7.3.4", "7.4"),
    ],
)
def test_the_other_dates(name: str, before: str, since: str) -> None:
    assert (policy_for(before).has(name), policy_for(since).has(name)) == (False, True)


def test_a_stable_release_counts_for_its_own_series_only() -> None:
    assert not policy_for((6, 14, 0)).alias_for_shared  # later than 6.13.11
    assert policy_for((6, 13, 12)).alias_for_shared


def test_every_difference_is_a_field_with_a_source() -> None:
    assert {f.name for f in dataclasses.fields(KernelPolicy)} == {
        "release",
        "proposal",
        *DIFFERENCES,
    }
    for difference in DIFFERENCES.values():
        assert len(difference.source) > 10
        assert not difference.what.endswith(".")


@pytest.mark.parametrize("name", PROPOSALS)
def test_a_proposal_is_the_newest_kernel_with_one_change(name: str) -> None:
    policy = policy_for(name)
    (change,) = differences(policy, policy_for("7.4"))
    assert str(policy) == name
    assert change.dated == "in no release"
    assert policy.has(change.name)


def test_the_proposals_have_names() -> None:
    assert sorted(PROPOSALS) == [
        "proposed:canonical-mask-check",
        "proposed:device-offsets",
        "proposed:private-for-trusted",
        "proposed:zero-based-iova",
    ]
    with pytest.raises(UsageError, match="proposed:zero-based-iova"):
        policy_for("proposed:zero-base-iova")


def test_what_two_releases_differ_in() -> None:
    assert [d.name for d in differences(policy_for("6.14.0"), policy_for("6.14.2"))] == [
        "alias_for_shared",
        "canonical_before_lookup",
    ]
    assert differences(policy_for("6.15"), policy_for("6.16")) == []
    assert DIFFERENCES["alias_for_shared"].dated == "6.15 = 6.14.2 = 6.13.11"


@pytest.mark.parametrize(
    ("release", "written"),
    [("6.15", "6.15"), ("6.15.0", "6.15"), ("6.14", "6.14.0"), ("7.3.4", "7.3.4")],
)
def test_how_a_release_is_written(release: str, written: str) -> None:
    assert str(policy_for(release)) == written


def test_only_wide_realms_with_52_bit_pas_get_the_wrong_bit() -> None:
    assert policy_for("7.3").realm_scheme(52, pa_bits_52=True).unencrypted_mask == 0x200
    assert policy_for("7.3").realm_scheme(52, pa_bits_52=False).unencrypted_mask == 1 << 51
    assert policy_for("7.3").realm_scheme(50, pa_bits_52=True).unencrypted_mask == 1 << 49
    assert policy_for("6.18").realm_scheme(52, pa_bits_52=True).unencrypted_mask == 1 << 51


@pytest.mark.parametrize("text", ["", "six", "6", "latest"])
def test_what_is_no_release(text: str) -> None:
    with pytest.raises(UsageError, match="no kernel release"):
        parse_release(text)


def test_the_firmware_before_linux_gives_plain_addresses() -> None:
    policy = policy_for("edk2")
    assert (str(policy), policy.realm_guest, policy.alias_for_shared) == ("edk2", True, False)
    assert policy.canonical_before_lookup
