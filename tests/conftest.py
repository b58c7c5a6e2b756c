"""What holds for all tests."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

import needs

# A loaded machine takes its time. CI's own profile, which derives its examples, stays the base.
settings.register_profile("topbit", deadline=None)
settings.load_profile("topbit")


@pytest.fixture(autouse=True)
def _marked(request: pytest.FixtureRequest) -> Iterator[None]:
    needs.marked = request.node.get_closest_marker("qemu") is not None
    yield
    needs.marked = True
