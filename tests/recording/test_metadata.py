"""Metadata of recordings, whoever wrote it."""

from __future__ import annotations

import json

import pytest

from topbit.recording import DeviceFacts, FileFacts, Platform, Reading, Unparsed
from topbit.recording.metadata import LARGEST, platform_of

WHOLE = Platform(
    scheme="amd-sev",
    c_bit=51,
    realm=False,
    pools=[(0x1000, 2048)],
    devices={"0000:00:02.0": DeviceFacts(sid=0x10, trusted=True, dma_mask=(1 << 64) - 1)},
    dma_ranges=[(1, 2, 3)],
    policies={"vmm.smmu_map": "both"},
    notes=["a note"],
    unparsed=[Unparsed("trace.txt", 2, 7, "dma_map_phys: 00")],
    origins={"scheme": "dmesg.txt:3"},
    readings=[Reading("ipa_bits", "41", "the maps", "--ipa-bits")],
    files=[FileFacts("dmesg.txt", role="guest", kernel="7.2", replaced=3, damage=["cut"])],
)


@pytest.mark.parametrize("platform", [WHOLE, Platform()], ids=["whole", "empty"])
def test_what_was_written_is_read(platform: Platform) -> None:
    assert platform_of(json.dumps(platform.to_dict())) == platform


def test_unknown_keys_of_later_versions_are_left_out() -> None:
    text = json.dumps({"scheme": "none", "colour": "blue", "origins": {}})
    assert platform_of(text) == Platform(scheme="none")


@pytest.mark.parametrize(
    ("older", "origins"),
    [
        ({"ipa_bits": 41, "ipa_bits_from": "option"}, {"ipa_bits": "option"}),
        ({"ipa_bits": 41, "ipa_bits_from": ""}, {"ipa_bits": "recording"}),
        ({"ram": [[0, 1]], "pools": [], "machine": "model"}, {"ram": "scenario"}),
        ({"ram": [[0, 1]], "machine": "qemu"}, {"ram": "scenario"}),
        (
            {"ipa_bits": 41, "ipa_bits_from": "inferred", "realm": True},
            {"ipa_bits": "inferred: as the recording says", "realm": "recording"},
        ),
    ],
)
def test_older_recordings_get_origins(older: dict[str, object], origins: dict[str, str]) -> None:
    platform = platform_of(json.dumps(older))
    assert platform.origins == origins
    assert all(platform.certain(fact) for fact in origins)
    assert platform.inferred("ipa_bits") == (older.get("ipa_bits_from") == "inferred")


def test_a_fact_with_two_readings_is_not_certain() -> None:
    platform = Platform(origins={"ipa_bits": "inferred: why", "realm": "dmesg.txt:1"})
    assert platform.certain("ipa_bits")
    platform.readings = [Reading("ipa_bits", value, "", "") for value in ("41", "48")]
    assert not platform.certain("ipa_bits")
    assert platform.certain("realm")
    assert not platform.certain("kernel")


def test_whose_a_file_is() -> None:
    assert WHOLE.role_of("dmesg.txt") == "guest"
    assert WHOLE.role_of("other.txt") == WHOLE.role_of(None) == "unknown"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("null", "platform is no object"),
        ("[]", "platform is no object"),
        ("{", "delimiter|Expecting"),
        ('{"ipa_bits": "41"}', r"platform\.ipa_bits is \"41\", not a int"),
        ('{"ipa_bits": 0}', r"platform\.ipa_bits is 0, not in 32 to 52"),
        ('{"ipa_bits": 53}', "not in 32 to 52"),
        ('{"ipa_bits": true}', "is true, not a int"),
        ('{"ipa_bits": 41.0}', "is 41.0, not a int"),
        ('{"c_bit": 64}', "not in 0 to 63"),
        ('{"lost_events": -1}', "is -1, not in 0 to"),
        ('{"kernel": NaN}', "holds NaN, which is no number"),
        ('{"time": -Infinity}', "holds -Infinity"),
        ('{"devices": []}', r"platform\.devices is no object"),
        ('{"devices": {"d": {"sid": 4294967296}}}', r"devices\.d\.sid is 4294967296"),
        ('{"devices": {"d": {"trusted": 1}}}', r"devices\.d\.trusted is 1, not a bool"),
        ('{"pools": [[1]]}', r"pools\[0\] has 1 entries, not 2"),
        ('{"pools": [[1, 18446744073709551616]]}', r"pools\[0\] is 18446744073709551616"),
        ('{"pools": 7}', r"pools is no list"),
        ('{"unparsed": [{"count": 1}]}', r"unparsed\[0\]: .*missing"),
        ('{"files": [{"name": "x", "role": "judge"}]}', "none of guest"),
        ('{"origins": {"ipa_bits": 1}}', r"origins\.ipa_bits is 1, not a str"),
        ("[" * 100_000, "nested too deeply"),
        ('{"notes": ' + "[" * 500 + "]" * 500 + "}", r"notes\[0\] is"),
        ('"' + "x" * LARGEST + '"', "characters long"),
        ('{"lost_events": ' + "9" * 5000 + "}", "digit"),
    ],
)
def test_what_is_no_platform(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        platform_of(text)
