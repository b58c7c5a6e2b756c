"""The SMMU model gives the results recorded in the vectors of tests/data/vectors."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from replay_smmu import replay  # noqa: E402

VECTORS = ROOT / "tests" / "data" / "vectors"


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("smmu-s2-public.jsonl.xz", 3675),
        ("smmu-s2-concatenated-expected.jsonl.xz", 2032),
    ],
)
def test_no_vector_differs(name: str, count: int) -> None:
    compared, differences = replay(VECTORS / name)
    assert differences == []
    assert compared == count
