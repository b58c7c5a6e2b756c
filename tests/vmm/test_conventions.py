"""What do the VMMs that people use do?"""

import pytest

from topbit.errors import UsageError
from topbit.vmm.conventions import CONVENTIONS, policy_of


@pytest.mark.parametrize(
    ("name", "smmu_map", "masking", "fail_closed", "only_shared"),
    [
        ("kvmtool", "alias", "mask", True, True),
        ("kvmtool-before", "protected", "keep", True, True),
        ("qemu-rfc", "alias", "mask", False, False),
        ("qemu-nvidia", "both", "mask", True, True),
        ("plain", "protected", "keep", True, True),
    ],
)
def test_what_a_vmm_does(
    name: str, smmu_map: str, masking: str, fail_closed: bool, only_shared: bool
) -> None:
    policy = policy_of(name)
    assert (policy.convention, policy.smmu_map, policy.masking) == (name, smmu_map, masking)
    assert (policy.fail_closed, policy.only_shared) == (fail_closed, only_shared)


def test_every_convention_has_its_name_and_a_source() -> None:
    for name, convention in CONVENTIONS.items():
        assert convention.name == name
        assert len(convention.source) > 20
        assert not convention.summary.endswith(".")


def test_no_such_vmm() -> None:
    with pytest.raises(UsageError, match="did you mean 'kvmtool'"):
        policy_of("kvmtol")
