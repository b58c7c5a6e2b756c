"""Which GIC state may a host give to a Realm's virtual CPU?"""

import pytest

from topbit.arch.gicv3 import ListRegister, is_valid

PENDING, ACTIVE = 1, 2


def held(intid: int, state: int = PENDING, hw: int = 0) -> int:
    return ListRegister(vINTID=intid, State=state, HW=hw).words[0]


@pytest.mark.parametrize("bit", range(64))
def test_bits_of_ich_hcr(bit: int) -> None:
    assert is_valid(1 << bit, []) == (bit in {*range(1, 8), 14})


@pytest.mark.parametrize(
    ("registers", "valid"),
    [
        ([0] * 16, True),
        ([held(27), held(30)], True),
        ([held(27), held(27)], False),
        ([held(27, ACTIVE), held(27, PENDING | ACTIVE)], False),
        ([held(27), held(27, 0)], True),
        ([held(27, 0), held(27, 0)], True),
        ([held(27), held(27 | 1 << 31)], True),
        ([held(27, hw=1)], False),
        ([held(27, 0, hw=1)], True),
    ],
)
def test_list_registers(registers: list[int], valid: bool) -> None:
    assert is_valid(0, registers) == valid
