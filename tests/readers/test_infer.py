"""Is it a Realm, and how wide is its IPA space, going by addresses?"""

from __future__ import annotations

from pathlib import Path

import pytest

from run_files import DIRECT, EVENT, HOST_LOG, REALM, run, trace
from topbit.readers import copies, infer


def swapped(text: str) -> str:
    """The same with two buffers bounced before both are mapped."""
    lines = text.splitlines()
    lines[1], lines[2] = lines[2], lines[1]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("text", "bits"),
    [
        (trace(1 << 32), 33),
        (trace(1 << 40), 41),
        (trace(1 << 51), 52),
        # too few, no bit, a bit that is no width, one map that was not bounced
        (trace(count=3), None),
        (trace(0), None),
        (trace(1 << 52), None),
        (trace() + DIRECT, None),
        # an address without the bit, and one with another
        (trace() + trace(0, count=1), None),
        (trace() + trace(1 << 41, count=1), None),
        # IOVAs from the top of 48, 36 and 32 bits
        (DIRECT.replace("ffff", "ffffffff"), None),
        (DIRECT.replace("ffff", "fffa8"), None),
        (DIRECT, None),
    ],
)
def test_the_one_pattern_that_only_a_realm_makes(
    tmp_path: Path, text: str, bits: int | None
) -> None:
    platform = run(tmp_path, {"t": text}).platform
    assert (platform.realm, platform.ipa_bits) == ((True, bits) if bits else (None, None))
    assert platform.certain("realm") == platform.certain("ipa_bits") == bool(bits)


def test_addresses_with_a_high_bit_have_readings(tmp_path: Path) -> None:
    platform = run(tmp_path, {"t": DIRECT.replace("ffff", "ffffffff")}).platform
    assert [(r.fact, r.value) for r in platform.readings] == [
        ("realm", "no"),
        ("realm", "yes"),
        ("scheme", "amd-sme"),
    ]
    assert all(r.why and r.decides for r in platform.readings)


def test_one_odd_address_does_not_outvote_the_rest(tmp_path: Path) -> None:
    odd = trace(1 << 40, count=1) + trace(0, count=6)
    platform = run(tmp_path, {"a": REALM, "t": odd}).platform
    assert platform.ipa_bits == 41
    assert not platform.certain("ipa_bits")
    assert {r.value for r in platform.readings} == {"41", "unknown"}
    many = trace(1 << 40) + trace(1 << 44, count=1)
    platform = run(tmp_path, {"a": REALM, "t": many}).platform
    assert platform.ipa_bits is None


def test_faulting_addresses_alone_tell_no_width(tmp_path: Path) -> None:
    assert run(tmp_path, {"h": EVENT}).platform.ipa_bits is None
    assert run(tmp_path, {"h": HOST_LOG + EVENT}).platform.ipa_bits is None
    # Of a Realm's own device, at its own RAM but for one bit, they do.
    assert run(tmp_path, {"a": REALM, "h": EVENT}).platform.ipa_bits == 41
    # Not if the stream is another's, ...
    other = EVENT.replace("0x0000001000000010", "0x0000088000000010")
    assert run(tmp_path, {"a": REALM, "h": other}).platform.ipa_bits is None
    # ... and with less certainty if the fault is one of stage 1.
    stage1 = EVENT.replace("0x0000028800000000", "0x0000020800000000")
    platform = run(tmp_path, {"a": REALM, "h": stage1}).platform
    assert (platform.ipa_bits, platform.certain("ipa_bits")) == (41, False)


def test_an_overflow_tells_the_width_as_a_map_does(tmp_path: Path) -> None:
    line = (
        "[    2.000000] e1000e 0000:00:03.0: swiotlb addr 0x0000010097000000+4096 overflow "
        "(mask ffffffff, bus limit 0).\n"
    )
    assert run(tmp_path, {"a": REALM + line}).platform.ipa_bits == 41


def test_a_vmm_tells_the_width(tmp_path: Path) -> None:
    lkvm = "  Info: (arm/aarch64/kvm.c) kvm__get_vm_type:194: max_ipa 8fffffff ipa_bits 33 max 48\n"
    platform = run(tmp_path, {"v": lkvm, "a": REALM}).platform
    assert (platform.ipa_bits, platform.origins["ipa_bits"]) == (33, f"{tmp_path / 'v'}:1")
    platform = run(tmp_path, {"v": lkvm, "a": REALM}, ipa_bits=41).platform
    assert any("--ipa-bits 41 was given, but" in note for note in platform.notes)
    assert not platform.certain("ipa_bits")


@pytest.mark.parametrize("size", [1, 3, 7])
@pytest.mark.parametrize(
    "files",
    [
        {"t": trace(1 << 40)},
        {"t": trace() + DIRECT},
        {"t": trace() + trace(1 << 41, count=1)},
        {"t": trace() + trace(0, count=1)},
        {"a": REALM, "t": trace(1 << 40, count=1) + trace(0, count=6)},
        {"a": REALM, "t": trace(1 << 40) + trace(1 << 44, count=1)},
        {"t": swapped(trace(1 << 40))},
    ],
    ids=str,
)
def test_parts_of_a_table_tell_what_the_whole_does(
    files: dict[str, str], size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(tmp_path, files).platform
    monkeypatch.setattr(infer, "PART", size)
    monkeypatch.setattr(copies, "PART", size)
    assert run(tmp_path, files).platform == whole
