"""What of a syndrome says how wide an access is, and which register it moves?"""

import pytest

from topbit.arch.esr import ESR_ISV, ESR_SAS, XZR, access_bytes, register


# DDI0487 ESR_EL2, ISS of a data abort: SAS [23:22], SRT [20:16].
@pytest.mark.parametrize(
    ("iss", "size", "moved"),
    [
        (0x0100_0000, 1, 0),
        (0x0145_0040, 2, 5),
        (0x019F_0000, 4, XZR),
        (0x01DE_8007, 8, 30),
        (0x01E0_8000, 8, 0),  # SSE stands between the two
    ],
)
def test_the_load_or_store(iss: int, size: int, moved: int) -> None:
    assert iss & ESR_ISV
    assert (access_bytes(iss), register(iss)) == (size, moved)
    assert access_bytes(iss | ESR_SAS) == 8
