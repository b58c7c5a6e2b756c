"""The declarative bit-field helper."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topbit.arch.bitfield import Layout, aligned, bit, bits


class Sample(Layout, words=2):
    Low = bits(3, 0)
    Flag = bit(63)
    Address = aligned(47, 12, word=1)


def test_fields_by_name_and_in_place() -> None:
    sample = Sample(Low=5, Flag=1, Address=0x1234_5000)
    assert sample.words == [1 << 63 | 5, 0x1234_5000]
    assert (sample.Low, sample.Flag, sample.Address) == (5, 1, 0x1234_5000)
    sample.Low = 2
    assert sample.words[0] == 1 << 63 | 2


@pytest.mark.parametrize(("name", "value"), [("Low", 16), ("Flag", 2), ("Address", 0x800)])
def test_what_does_not_fit_is_refused(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=name):
        Sample(**{name: value})


def test_unknown_fields_and_wrong_sizes_are_refused() -> None:
    with pytest.raises(TypeError, match="no field 'Hgih'"):
        Sample(Hgih=1)
    with pytest.raises(ValueError, match="16 bytes"):
        Sample.unpack(bytes(8))
    with pytest.raises(ValueError, match="do not lie"):
        bits(64, 0)


@settings(deadline=None)
@given(st.integers(0, 15), st.booleans(), st.integers(0, (1 << 36) - 1))
def test_pack_and_unpack(low: int, flag: bool, page: int) -> None:
    sample = Sample(Low=low, Flag=int(flag), Address=page << 12)
    assert Sample.unpack(sample.pack()) == sample


@settings(deadline=None)
@given(st.lists(st.integers(0, (1 << 64) - 1), min_size=1))
def test_arrays_and_ints_agree(words: list[int]) -> None:
    array = np.array(words, np.uint64)
    for field in Sample.FIELDS.values():
        assert field.get(array).tolist() == [field.get(w) for w in words]
