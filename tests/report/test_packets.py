"""Many messages of one form are written as each of them is."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from topbit.report import packets as module
from topbit.report.packets import (
    DECIMAL,
    HEXADECIMAL,
    VARINT,
    Form,
    Number,
    begins_of,
    digits,
    varint_bytes,
)
from topbit.report.protobuf import varint

U64_MAX = (1 << 64) - 1
ENDS = sorted({0, U64_MAX, *(10**n for n in range(20)), *(10**n - 1 for n in range(1, 20))})
BITS = [1 << 7 * n for n in range(10)]
SEVENS = sorted({0, U64_MAX, *BITS, *(bit - 1 for bit in BITS)})


def test_how_wide_a_number_is() -> None:
    assert digits(np.array(ENDS, np.uint64)).tolist() == [len(str(value)) for value in ENDS]
    told = varint_bytes(np.array(SEVENS, np.uint64)).tolist()
    assert told == [len(varint(value)) for value in SEVENS]


def write(numbers: Mapping[str, int]) -> bytes:
    return (
        b"<" + varint(numbers["time"]) + f" 0x{numbers['address']:016x}".encode()
        + f" {numbers['size']} >".encode()
    )  # fmt: skip


@pytest.mark.parametrize("part", [1, 2, 1 << 16])
@pytest.mark.parametrize(("time", "size"), [(0, 0), (127, 9), (1 << 63, 10**19), (1 << 14, 12345)])
def test_messages_of_a_form(
    time: int, size: int, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PART", part)
    times, sizes = (np.array([value, value + 1, value], np.uint64) for value in (time, size))
    sizes[1] = size
    times[1] = time
    addresses = np.array([0, U64_MAX, 0x0123_4567_89AB_CDEF], np.uint64)
    numbers = {
        "time": Number(VARINT, len(varint(time)), times),
        "size": Number(DECIMAL, len(str(size)), sizes),
        "address": Number(HEXADECIMAL, 16, addresses),
    }
    expected = [
        write({name: int(number.values[at]) for name, number in numbers.items()}) for at in range(3)
    ]
    form = Form(write, numbers)
    assert {len(one) for one in expected} == {len(form)}
    begins, end = begins_of([len(form), 5, len(form), len(form)])
    out = np.zeros(end, np.uint8)
    form.into(out, begins[[3, 0, 2]])
    told = [out[begin : begin + len(form)].tobytes() for begin in begins[[3, 0, 2]].tolist()]
    assert told == expected
    assert out[begins[1] : begins[2]].tolist() == [0] * 5


def test_a_number_that_is_not_told_changes_nothing() -> None:
    form = Form(lambda numbers: b"same", {"n": Number(DECIMAL, 2, np.array([10, 11], np.uint64))})
    out = np.zeros(8, np.uint8)
    form.into(out, np.array([0, 4]))
    assert out.tobytes() == b"samesame"


def test_a_number_that_stands_there_in_another_way_is_no_form() -> None:
    number = Number(DECIMAL, 2, np.array([10], np.uint64))
    with pytest.raises(ValueError, match="n does not stand once"):
        Form(lambda numbers: f"{numbers['n']} {numbers['n']}".encode(), {"n": number})


def test_messages_stand_one_behind_the_other() -> None:
    begins, end = begins_of([3, 0, 2])
    assert (begins.tolist(), end) == ([0, 3, 3], 5)
    assert begins_of([])[1] == 0
