"""Which bytes lock, start and stop an interface, and set the keys of a stream?"""

import pytest

from topbit.arch import tdisp
from topbit.arch.tdisp import IdeKm, Tdisp

LOCK = "10830000 10000000 0000000000000000"


def test_a_message_names_its_interface() -> None:
    made = tdisp.message(Tdisp.LOCK_INTERFACE_REQUEST, 0x10, b"body")
    assert made == bytes.fromhex(LOCK) + b"body"
    assert tdisp.parse(made) == (Tdisp.LOCK_INTERFACE_REQUEST, 0x10, b"body")


@pytest.mark.parametrize("other", [LOCK[:-2], "11" + LOCK[2:], ""])
def test_what_is_no_message_of_1_0(other: str) -> None:
    assert tdisp.parse(bytes.fromhex(other)) is None


def test_a_key_message_names_stream_and_key() -> None:
    made = tdisp.ide_km(IdeKm.KEY_PROG, 3, 0x12, b"key")
    assert made == bytes.fromhex("02 0000 03 00 12 00") + b"key"
    assert set(tdisp.ANSWER_TO.values()) == {IdeKm.QUERY_RESP, IdeKm.KP_ACK, IdeKm.K_GOSTOP_ACK}


def test_sizes_of_the_bodies() -> None:
    sizes = {
        name: getattr(tdisp, name).size
        for name in ("LOCK", "REPORT_REQUEST", "REPORT", "INTERFACE_REPORT", "MMIO_RANGE", "ERROR")
    }
    assert sizes == {
        "LOCK": 20, "REPORT_REQUEST": 4, "REPORT": 4, "INTERFACE_REPORT": 16, "MMIO_RANGE": 16,
        "ERROR": 8,
    }  # fmt: skip
