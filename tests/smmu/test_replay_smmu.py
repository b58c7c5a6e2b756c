"""The SMMU model gives the results recorded in the vectors of tests/data/vectors."""

import pytest

from paths import DATA
from replay_smmu import replay

VECTORS = DATA / "vectors"


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
