"""Which IPA width, start level and number of root tables go together."""

import pytest

from rmm_host import Host
from topbit.arch.rmi import Rmi
from topbit.rmm.rmi.realm import geometry_is_valid


@pytest.mark.parametrize(
    ("bits", "level", "roots", "lpa2"),
    [
        (32, 1, 1, False),
        (33, 1, 1, False),
        (33, 2, 8, False),
        (34, 2, 16, False),
        (39, 1, 1, False),
        (40, 1, 2, False),
        (40, 0, 1, False),
        (43, 1, 16, False),
        (48, 0, 1, False),
        (49, -1, 1, True),
        (52, -1, 1, True),
        (52, 0, 16, True),
    ],
)
def test_right_geometry_is_taken_and_any_other_number_of_roots_is_not(
    bits: int, level: int, roots: int, lpa2: bool
) -> None:
    for count in (*range(20), 32):
        right = geometry_is_valid(bits, level, count, lpa2=lpa2, pa_bits=52)
        assert right == (count == roots)


@pytest.mark.parametrize(
    ("bits", "level", "roots"),
    [(31, 1, 1), (39, 0, 1), (35, 2, 32), (44, 1, 32), (49, 0, 2), (40, 3, 1), (40, -1, 1)],
)
def test_wrong_geometry(bits: int, level: int, roots: int) -> None:
    assert not geometry_is_valid(bits, level, roots, lpa2=False, pa_bits=48)


def test_start_level_0_needs_44_bits_of_physical_address() -> None:
    assert not geometry_is_valid(40, 0, 1, lpa2=False, pa_bits=40)


@pytest.mark.parametrize(
    ("bits", "level", "roots"), [(34, 2, 16), (43, 1, 16), (48, 0, 1), (52, -1, 1), (52, 0, 16)]
)
def test_both_halves_are_mapped_where_they_begin_and_end(bits: int, level: int, roots: int) -> None:
    host = Host()
    host.create(bits, level, roots)
    host.rec()
    half = 1 << (bits - 1)
    for ipa in (0, half - 0x1000):
        host.tables(ipa)
        host.ok(Rmi.RTT_INIT_RIPAS, host.rd, ipa, ipa + 0x1000)
        host.data(ipa)
    host.ok(Rmi.REALM_ACTIVATE, host.rd)
    for ipa in (half, 2 * half - 0x1000):
        host.tables(ipa)
        host.ok(Rmi.RTT_MAP_UNPROTECTED, host.rd, ipa, 3, 0x8000_F000 | 0xD4)
    host.enter()
    for ipa, ns in ((0, False), (half - 0x1000, False), (half, True), (2 * half - 0x1000, True)):
        place = host.rmm.access(host.recs[0], ipa + 8, "r")
        assert getattr(place, "ns", None) is ns
