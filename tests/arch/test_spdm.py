"""Which bytes are a device's messages, and which are none?"""

import pytest

from topbit.arch import spdm
from topbit.arch.spdm import Spdm

KEY, SESSION = b"key", 0x1234_5678


def test_a_header_is_version_code_and_two_parameters() -> None:
    assert spdm.header(Spdm.GET_MEASUREMENTS, 1, 0xFF) == bytes((0x12, 0xE0, 1, 0xFF))
    assert spdm.header(Spdm.GET_VERSION, version=spdm.VERSION_1_0) == bytes((0x10, 0x84, 0, 0))


@pytest.mark.parametrize(
    ("message", "code"), [(b"", -1), (b"\x12\xe0\0", -1), (b"\x12\xe0ab", 0xE0)]
)
def test_what_is_too_short_has_no_code(message: bytes, code: int) -> None:
    assert spdm.code_of(message) == code


def test_a_message_of_pci_sig_is_carried_as_dsp0275_says() -> None:
    carried = spdm.pci_sig(Spdm.VENDOR_DEFINED_REQUEST, spdm.PROTOCOL_TDISP, b"body")
    assert carried == bytes.fromhex("12fe0000 0300 02 0100 0500 01") + b"body"
    assert spdm.pci_sig_payload(carried) == (spdm.PROTOCOL_TDISP, b"body")


@pytest.mark.parametrize(
    "changed",
    [
        "12fe0000 0400 02 0100 0500 01 626f6479",  # another standards body
        "12fe0000 0300 02 0200 0500 01 626f6479",  # another vendor
        "12fe0000 0300 04 0100 0500 01 626f6479",  # an ID of another length
        "12fe0000 0300 02 0100 0600 01 626f6479",  # longer than it is
        "12fe0000 0300 02 0100 0500",  # too short
    ],
)
def test_what_carries_no_message_of_pci_sig(changed: str) -> None:
    assert spdm.pci_sig_payload(bytes.fromhex(changed)) is None


def test_a_sealed_message_is_opened_by_its_session_alone() -> None:
    record = spdm.seal(SESSION, KEY, b"message")
    assert record[:6] == bytes.fromhex("78563412 1700")
    assert record[6:13] == b"message"
    assert spdm.unseal(SESSION, KEY, record) == b"message"
    assert spdm.unseal(SESSION + 1, KEY, record) is None
    assert spdm.unseal(SESSION, b"other", record) is None


@pytest.mark.parametrize("at", [*range(8), -17, -1])
def test_a_changed_record_is_noticed(at: int) -> None:
    record = bytearray(spdm.seal(SESSION, KEY, b"message"))
    record[at] ^= 1
    assert spdm.unseal(SESSION, KEY, bytes(record)) is None


@pytest.mark.parametrize("size", [0, 5, 21])
def test_a_short_record_is_none(size: int) -> None:
    assert spdm.unseal(SESSION, KEY, spdm.seal(SESSION, KEY, b"")[:size]) is None


def test_keys_and_signatures_depend_on_the_key_and_all_that_was_said() -> None:
    for made, size in ((spdm.session_key, 48), (spdm.sign, spdm.SIGNATURE_SIZE)):
        results = {made(key, said) for key in (b"a", b"b") for said in (b"1", b"2")}
        assert {len(result) for result in results} == {size}
        assert len(results) == 4
