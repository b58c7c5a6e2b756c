"""What does the guest's kernel do, going by its release?"""

from __future__ import annotations

import dataclasses

import pytest

from rule_events import REALM
from topbit.rules.releases import policy_of


@pytest.mark.parametrize(
    ("kernel", "alias"),
    [("6.14.1", False), ("6.14.2-rc1", True), ("7.3.4+deb13-cloud-arm64", True), (None, None),
     ("a kernel of my own", None)],
)  # fmt: skip
def test_a_release_that_is_known_has_a_policy(kernel: str | None, alias: bool | None) -> None:
    policy = policy_of(dataclasses.replace(REALM, kernel=kernel))
    assert (None if policy is None else policy.alias_for_shared) == alias
