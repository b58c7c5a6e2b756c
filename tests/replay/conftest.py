"""What several tests of replays have in common."""

from __future__ import annotations

import pytest

from topbit.replay import loops as loops_module


@pytest.fixture(params=[False, True], ids=["NumPy", "numba"])
def loops(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Do loops of numba's look at each event, or NumPy at many?"""
    if request.param:
        pytest.importorskip("numba")
    monkeypatch.setattr(loops_module, "MANY", 0 if request.param else 1 << 60)
