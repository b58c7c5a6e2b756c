"""What the RMM answers to the Realm: configuration, measurement, attestation."""

import hashlib
import struct
import subprocess
import sys

import pytest

from rmm_host import PAGE, Host
from topbit.arch.rmi import ExitReason, Rmi
from topbit.arch.rsi import Rsi
from topbit.rmm import Exit, Translated


def running(**kwargs: bool) -> Host:
    host = Host()
    host.create(**kwargs)
    host.rec()
    host.ram([0, PAGE])
    host.enter()
    return host


def page_of(host: Host, ipa: int) -> int:
    place = host.rmm.access(host.recs[0], ipa, "r")
    assert isinstance(place, Translated)
    return place.pa


def test_version_and_features() -> None:
    host = running()
    assert host.returns(Rsi.VERSION, 0x1_0000) == (0, 0x1_0000, 0x1_0000)
    for other in (0, 0x1_0001, 0x2_0000, (1 << 64) - 1):
        assert host.returns(Rsi.VERSION, other)[0] == 1
    assert host.returns(Rsi.FEATURES, 0) == (0, 0)


def test_realm_config_is_written_whole() -> None:
    host = running(sha512=True)
    pa = page_of(host, PAGE)
    host.memory.fill(pa, PAGE, 0xFF)
    assert host.returns(Rsi.REALM_CONFIG, PAGE) == (0,)
    page = host.memory.read(pa, PAGE)
    assert struct.unpack_from("<Q", page)[0] == 33
    assert page[8] == 1
    assert page[0x200:0x240] == b"personal".ljust(64, b"\xa5")
    assert not any(page[0x240:])
    for wrong in (8, 1 << 32, PAGE * 2, (1 << 64) - PAGE):
        assert host.returns(Rsi.REALM_CONFIG, wrong) == (1,)


def test_config_of_a_page_without_memory_asks_the_host_and_is_repeated() -> None:
    host = running()
    host.rmm.interrupt(host.recs[0])
    host.ok(Rmi.DATA_DESTROY, host.rd, PAGE)
    host.enter()
    got = host.rsi(Rsi.REALM_CONFIG, PAGE)
    assert isinstance(got, Exit)
    assert got.retry
    assert (got.reason, got.esr, got.hpfar) == (ExitReason.SYNC, 0x90000007, PAGE >> 8)
    assert not host.enter().advance


@pytest.mark.parametrize("sha512", [False, True])
def test_measurements_are_extended_as_the_specification_says(sha512: bool) -> None:
    host = running(sha512=sha512)
    new = hashlib.sha512 if sha512 else hashlib.sha256
    size = new().digest_size
    words = (1, 2, 3, 4, 5, 6, 7, 8)
    assert host.returns(Rsi.MEASUREMENT_EXTEND, 2, 13, *words) == (0,)
    expected = new(bytes(size) + struct.pack("<8Q", *words)[:13]).digest().ljust(64, b"\0")
    assert host.returns(Rsi.MEASUREMENT_READ, 2) == (0, *struct.unpack("<8Q", expected))
    assert host.returns(Rsi.MEASUREMENT_READ, 1) == (0, *[0] * 8)
    for wrong in ((0, 8), (5, 8), (1, 65)):
        assert host.returns(Rsi.MEASUREMENT_EXTEND, *wrong)[0] == 1
    assert host.returns(Rsi.MEASUREMENT_READ, 5)[0] == 1


def rim(change: str = "") -> bytes:
    """The RIM of a Realm that differs in one thing."""
    host = Host()
    host.create(sha512=change == "algorithm")
    host.rec(pc=8 if change == "entry" else 0)
    host.tables(0)
    src = host.granule(delegate=False)
    host.memory.write(src, b"other" if change == "content" else b"image")
    ipa = PAGE if change == "place" else 0
    host.ok(Rmi.RTT_INIT_RIPAS, host.rd, 0, PAGE * (2 if change == "ram" else 1))
    data = host.granule()
    measured = change != "unmeasured"
    host.ok(Rmi.DATA_CREATE, host.rd, data, ipa, src, int(measured))
    assert host.memory.read(data, 5) == host.memory.read(src, 5)
    return host.realm.measurements.values[0]


def test_the_rim_tells_what_the_realm_was_made_of() -> None:
    changes = ("", "algorithm", "entry", "content", "place", "ram", "unmeasured")
    assert len({rim(change) for change in changes}) == len(changes)
    assert rim() == rim()


def test_first_rim_extension_against_the_layout_in_the_specification() -> None:
    host = Host()
    host.create()
    before = host.realm.measurements.values[0]
    host.tables(0)
    host.ok(Rmi.RTT_INIT_RIPAS, host.rd, 0, PAGE)
    descriptor = bytearray(0x100)
    struct.pack_into("<QQ32s", descriptor, 0, 2, 0x100, before)
    struct.pack_into("<QQ", descriptor, 0x50, 0, PAGE)
    assert host.realm.measurements.values[0] == hashlib.sha256(descriptor).digest()


def read_token(host: Host, challenge: tuple[int, ...], step: int) -> bytes:
    status, limit = host.returns(Rsi.ATTESTATION_TOKEN_INIT, *challenge)
    assert status == 0
    pa, token = page_of(host, PAGE), b""
    while True:
        status, size = host.returns(Rsi.ATTESTATION_TOKEN_CONTINUE, PAGE, 16, step)
        token += host.memory.read(pa + 16, size)
        if status == 0:
            break
        assert (status, size) == (3, step)
    assert len(token) <= limit
    return token


def test_token_is_well_formed_verifies_and_says_that_it_is_no_hardware() -> None:
    cwt = pytest.importorskip("cwt")
    import cbor2

    host = running()
    challenge = (1, 2, 3, 4, 5, 6, 7, 8)
    token = cbor2.loads(read_token(host, challenge, 100))
    assert token.tag == 399
    attestor, claims = host.rmm.attestor(), {}
    for number, key in ((44234, attestor.platform_key), (44241, attestor.realm_key)):
        verifier = cwt.COSEKey.from_pem(key, alg="ES384")
        claims[number] = cbor2.loads(cwt.COSE.new().decode(token.value[number], verifier))
    realm, platform = claims[44241], claims[44234]
    assert realm[10] == struct.pack("<8Q", *challenge)
    assert realm[44238] == host.realm.measurements.values[0]
    assert realm[44235] == b"personal".ljust(64, b"\xa5")
    assert len(realm[44239]) == 4
    assert platform[10] == hashlib.sha256(realm[44237]).digest()
    assert b"not from hardware" in platform[2396]
    other = cwt.COSEKey.from_pem(attestor.platform_key, alg="ES384")
    with pytest.raises(cwt.VerifyError):
        cwt.COSE.new().decode(token.value[44241], other)


def test_token_calls_out_of_turn() -> None:
    host = running()
    assert host.returns(Rsi.ATTESTATION_TOKEN_CONTINUE, PAGE, 0, 100) == (2,)
    for wrong in ((PAGE, PAGE, 0), (PAGE, 1, PAGE), (8, 0, 8), (1 << 32, 0, 8), (PAGE, 0, 1 << 63)):
        assert host.returns(Rsi.ATTESTATION_TOKEN_CONTINUE, *wrong)[0] == 1


def test_without_the_extra_there_is_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    host = running()
    monkeypatch.setitem(sys.modules, "cwt", None)
    assert host.returns(Rsi.ATTESTATION_TOKEN_INIT) == (2,)


def test_the_rmm_loads_no_cryptography_before_it_is_asked_for() -> None:
    code = "import sys, topbit.rmm; print({'cwt', 'cbor2', 'cryptography'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
