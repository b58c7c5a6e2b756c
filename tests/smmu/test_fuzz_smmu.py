"""No bytes and no register values make the SMMU raise (the long run: tools/fuzz_smmu.py)."""

import pytest

from fuzz_smmu import fuzz


@pytest.mark.parametrize("seed", [11, 12])
def test_hostile_bytes_and_registers(seed: int) -> None:
    outcomes = fuzz(10_000, seed)
    for name in ("ok", "F_TRANSLATION", "F_WALK_EABT", "F_STE_FETCH", "C_BAD_STE"):
        assert outcomes[name] > 0
