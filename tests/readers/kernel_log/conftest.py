from __future__ import annotations

import pytest


@pytest.fixture
def unparsed() -> list[str]:
    """Collects the lines that could not be read."""
    return []
