"""Which answers of a device are none?"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from topbit.arch import spdm
from topbit.arch.ipa import Pa
from topbit.arch.spdm import Spdm
from topbit.rmm.conversation import MAX_CHAIN, identify
from topbit.rmm.device import DeviceFault, Message, Pdev

SLOT = 2


def portion(data: bytes, remainder: int, length: int | None = None) -> bytes:
    """A CERTIFICATE response with a part of the chain."""
    told = spdm.PORTIONS.pack(len(data) if length is None else length, remainder)
    return spdm.header(Spdm.CERTIFICATE) + told + data


def identified(certificates: Iterator[bytes]) -> tuple[Pdev, list[bytes]]:
    """What is known of a device that answers so, and what it was asked for its certificates?"""
    pdev = Pdev(Pa(0), 0, 0, 1, SLOT, 0)
    said, asked = identify(pdev), []
    agreed = iter((Spdm.VERSION, Spdm.CAPABILITIES, Spdm.ALGORITHMS, Spdm.DIGESTS))
    request = next(said)
    try:
        while True:
            assert isinstance(request, Message)
            if spdm.code_of(request.data) == Spdm.GET_CERTIFICATE:
                asked.append(request.data)
                request = said.send(next(certificates))
            else:
                request = said.send(spdm.header(next(agreed)))
    except StopIteration:
        return pdev, asked


def test_a_chain_is_asked_for_portion_by_portion() -> None:
    pdev, asked = identified(iter([portion(b"abc", 5), portion(b"defg", 1), portion(b"h", 0)]))
    assert pdev.session.certificate == b"abcdefgh"
    begins = spdm.header(Spdm.GET_CERTIFICATE, SLOT)
    assert asked == [begins + spdm.PORTIONS.pack(at, spdm.PORTION) for at in (0, 3, 7)]


LARGEST = b"\0" * 0x8000


@pytest.mark.parametrize(
    ("certificates", "why"),
    [
        ([spdm.header(Spdm.CERTIFICATE) + b"\1\0\0"], "a certificate chain without its lengths"),
        ([portion(b"ab", 0, length=3)], "a certificate chain of another length than it says"),
        ([portion(b"abc", 0, length=2)], "a certificate chain of another length than it says"),
        ([portion(b"a", 1), portion(b"", 1)], "a certificate chain of another length"),
        ([portion(LARGEST, 0x8001)], "the certificate chain does not end"),
        ([portion(LARGEST, 1), portion(LARGEST, 1)], "the certificate chain does not end"),
        ([spdm.header(Spdm.DIGESTS)], "the device's answer is no CERTIFICATE"),
    ],
)
def test_what_is_no_chain_is_refused(certificates: list[bytes], why: str) -> None:
    with pytest.raises(DeviceFault, match=why):
        identified(iter(certificates))


def test_the_longest_chain_is_taken() -> None:
    pdev, _ = identified(iter([portion(LARGEST, 0x8000), portion(LARGEST, 0)]))
    assert len(pdev.session.certificate) == MAX_CHAIN
