"""Which STEs are legal, and which geometry do they give? (IHI0070 5.2)"""

import pytest

from topbit.arch.smmuv3 import STE, Config
from topbit.smmu.ste import ABORT, BYPASS, Illegal, Stage2, StreamConfig, decode


def ste(**fields: int) -> STE:
    base: dict[str, int] = {
        "V": 1,
        "Config": Config.S2,
        "S2VMID": 7,
        "S2T0SZ": 24,
        "S2SL0": 1,
        "S2PS": 5,
        "S2AA64": 1,
        "S2R": 1,
        "S2TTB": 0x4000_0000,
    }
    return STE(**(base | fields))


def stage2(entry: STE, oas_bits: int = 48) -> Stage2:
    decoded = decode(entry, oas_bits)
    assert isinstance(decoded, StreamConfig), decoded
    assert decoded.stage2 is not None
    return decoded.stage2


def test_plain_stage_2() -> None:
    decoded = stage2(ste())
    assert (decoded.input_bits, decoded.start_level, decoded.granule.shift) == (40, 1, 12)
    assert (decoded.output_bits, decoded.vmid, decoded.root) == (48, 7, 0x4000_0000)
    assert decoded.record
    assert decoded.access_flag
    assert not decoded.realm


@pytest.mark.parametrize("config", [0, 1, 2, 3])
def test_abort_and_its_reserved_relatives(config: int) -> None:
    assert decode(STE(V=1, Config=config), 48) is ABORT


def test_bypass_ignores_the_stage_2_fields() -> None:
    assert decode(STE(V=1, Config=Config.BYPASS, S2T0SZ=63, S2TG=3, S2S=1), 48) is BYPASS


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"V": 0}, "V"),
        ({"V": 0, "Config": 4}, "V"),
        ({"Config": 5}, "stage 1"),
        ({"Config": 7}, "stage 1"),
        ({"S2AA64": 0}, "S2AA64"),
        ({"S2ENDI": 1}, "S2ENDI"),
        ({"S2HA": 1}, "S2HA"),
        ({"S2HD": 1}, "S2HD"),
        ({"S2S": 1}, "S2S"),
        ({"S2TG": 3}, "S2TG"),
        ({"S2T0SZ": 40, "S2SL0": 0}, "S2T0SZ"),
        ({"S2T0SZ": 15, "S2SL0": 2}, "S2T0SZ"),
        ({"S2SL0": 3}, "S2SL0"),
        ({"S2SL0": 0}, "S2SL0"),  # 40 bits from level 2: 2^10 tables
        ({"S2T0SZ": 34}, "S2SL0"),  # 30 bits from level 1: nothing for level 1 to resolve
        ({"S2T0SZ": 20}, "S2SL0"),  # 44 bits from level 1: 32 tables
        ({"S2T0SZ": 25, "S2SL0": 2}, "S2SL0"),  # 39 bits from level 0
        ({"S2PS": 0, "S2TTB": 1 << 32}, "S2TTB"),
        ({"S2PS": 6, "S2TTB": 1 << 48}, "S2TTB"),
        ({"S2TG": 1, "S2SL0": 3}, "S2SL0"),
        ({"S2TG": 2, "S2SL0": 3, "S2T0SZ": 16}, "S2SL0"),
    ],
)
def test_illegal(fields: dict[str, int], named: str) -> None:
    decoded = decode(ste(**fields), 48)
    assert isinstance(decoded, Illegal)
    assert named in decoded.reason


@pytest.mark.parametrize(
    ("fields", "level", "bits"),
    [
        ({"S2T0SZ": 21}, 1, 43),  # 16 concatenated tables
        ({"S2T0SZ": 33}, 1, 31),
        ({"S2T0SZ": 16, "S2SL0": 2}, 0, 48),
        ({"S2T0SZ": 30, "S2SL0": 0}, 2, 34),
        ({"S2T0SZ": 17, "S2SL0": 2, "S2TG": 2}, 1, 47),
        ({"S2T0SZ": 24, "S2SL0": 1, "S2TG": 2}, 2, 40),
        ({"S2T0SZ": 35, "S2SL0": 0, "S2TG": 2}, 3, 29),
        ({"S2T0SZ": 16, "S2SL0": 2, "S2TG": 1}, 1, 48),
        ({"S2T0SZ": 22, "S2SL0": 1, "S2TG": 1}, 2, 42),
    ],
)
def test_start_levels(fields: dict[str, int], level: int, bits: int) -> None:
    decoded = stage2(ste(**fields))
    assert (decoded.start_level, decoded.input_bits) == (level, bits)


@pytest.mark.parametrize(
    ("fields", "level", "bits"),
    [
        ({"S2T0SZ": 12, "S2SL0": 0, "S2SL0_2": 1, "S2DS": 1}, -1, 52),
        ({"S2T0SZ": 12, "S2SL0": 2, "S2DS": 1}, 0, 52),
        ({"S2T0SZ": 12, "S2SL0": 3, "S2DS": 1, "S2TG": 2}, 0, 52),
        ({"S2T0SZ": 12, "S2SL0": 2, "S2TG": 1}, 1, 52),
    ],
)
def test_52_bits(fields: dict[str, int], level: int, bits: int) -> None:
    decoded = stage2(ste(S2PS=6, **fields), 52)
    assert (decoded.start_level, decoded.input_bits, decoded.output_bits) == (level, bits, 52)
    assert decoded.granule.ds
    assert isinstance(decode(ste(S2PS=6, **fields), 48), Illegal)


def test_52_bit_output_needs_ds_or_64k() -> None:
    decoded = stage2(ste(S2PS=6), 52)
    assert not decoded.granule.ds
    assert isinstance(decode(ste(S2PS=6, S2TTB=1 << 48), 52), Illegal)


def test_start_level_0_needs_44_bits_of_physical_address() -> None:
    assert isinstance(decode(ste(S2T0SZ=24, S2SL0=2), 40), Illegal)
    assert stage2(ste(S2T0SZ=24, S2SL0=2), 44).start_level == 0


def test_output_size_is_capped_and_its_reserved_value_is_the_largest() -> None:
    assert stage2(ste(S2PS=5), 44).output_bits == 44
    assert stage2(ste(S2PS=7), 48).output_bits == 48
    assert stage2(ste(S2PS=2), 48).output_bits == 40


def test_the_root_is_aligned_to_its_concatenated_size() -> None:
    assert stage2(ste(S2T0SZ=21, S2TTB=0x4000_1000)).root == 0x4000_0000
    assert stage2(ste(S2T0SZ=33, S2TTB=0x4000_1010)).root == 0x4000_1010


@pytest.mark.parametrize(
    ("fields", "oas", "root"),
    [
        ({"S2PS": 6}, 52, 0x4000_0040),  # two entries, but 64 bytes where the output is 52 bits
        ({"S2PS": 5}, 52, 0x4000_0070),
        ({"S2PS": 6}, 48, 0x4000_0070),
    ],
)
def test_a_root_for_52_bit_output_is_aligned_to_64_bytes(
    fields: dict[str, int], oas: int, root: int
) -> None:
    assert stage2(ste(S2T0SZ=33, S2TTB=0x4000_0070, **fields), oas).root == root
