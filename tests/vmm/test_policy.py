"""A policy is the same whether a program or a scenario's text says it."""

import pytest

from topbit.vmm.policy import Backing, MapFault, Masking, SmmuMap, VmmPolicy


def test_values_may_be_given_as_their_strings() -> None:
    said = VmmPolicy(
        smmu_map="both",  # type: ignore[arg-type]
        masking="require",  # type: ignore[arg-type]
        map_fault="unmap",  # type: ignore[arg-type]
        backing="in-place",  # type: ignore[arg-type]
    )
    assert said == VmmPolicy(
        SmmuMap.BOTH, Masking.REQUIRE, MapFault.UNMAP, backing=Backing.IN_PLACE
    )
    # The VMM compares by identity.
    assert said.smmu_map is SmmuMap.BOTH
    assert said.masking is Masking.REQUIRE
    assert said.map_fault is MapFault.UNMAP
    assert said.backing is Backing.IN_PLACE


@pytest.mark.parametrize("field", ["smmu_map", "masking", "map_fault", "backing"])
def test_no_other_string_is_taken(field: str) -> None:
    with pytest.raises(ValueError, match="'up' is not a valid"):
        VmmPolicy(**{field: "up"})


def test_the_convention_is_the_usual_policy() -> None:
    usual = VmmPolicy()
    assert (usual.smmu_map, usual.masking) == (SmmuMap.ALIAS, Masking.MASK)
    assert (usual.fail_closed, usual.invalidate, usual.msi_doorbell) == (True, True, True)
    assert (usual.map_fault, usual.backing) == (MapFault.NONE, Backing.SEPARATE)
