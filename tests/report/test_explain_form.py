"""How is the meaning of an address shown?"""

from __future__ import annotations

import json

import pytest

from topbit.addressing.explain import explain
from topbit.report.explain_form import render

ALIAS = 0x100_433C_E000


def lines(address: int, ipa_bits: int, note: str = "") -> list[str]:
    text = render(explain(address, ipa_bits), note, "text")
    assert text.endswith("\n")
    return text.splitlines()


def test_an_alias_is_shown_with_its_page() -> None:
    shown = lines(ALIAS, 41, "a note")
    assert shown[:5] == [
        "0x00000100433ce000 in an IPA space of 41 bits (shared bit: bit 40)",
        "  note        a note",
        "  half        unprotected (bit 40 set: shared memory)",
        "  canonical   0x00000000433ce000   the page as Linux names it",
        "  alias       0x00000000433ce000   the same page in the protected half",
    ]
    assert shown[5].startswith("  guest CPU               sees the shared page")


def test_a_plain_address_is_shown_with_its_alias() -> None:
    shown = lines(0x433C_E000, 41)
    assert shown[1:4] == [
        "  half        protected (bit 40 clear: private memory)",
        "  canonical   0x00000000433ce000   the page as Linux names it",
        "  alias       0x00000100433ce000   the same page in the unprotected half",
    ]


def test_an_address_beyond_the_space_is_shown_with_what_it_looks_like() -> None:
    shown = lines(ALIAS, 33)
    assert shown[1:3] == [
        "  half        none: it lies above the IPA space (0x0000000200000000)",
        "  looks like  an alias under 41 bits, of 0x00000000433ce000",
    ]
    assert not any(line.startswith("  looks like") for line in lines(1 << 60, 33))


@pytest.mark.parametrize(("bits", "wrong"), [(50, None), (51, "0x100"), (52, "0x200")])
def test_wide_spaces_come_with_a_warning(bits: int, wrong: str | None) -> None:
    warnings = [line for line in lines(0x1000, bits) if line.startswith("  beware")]
    assert [f"set {wrong} instead of bit {bits - 1}" in line for line in warnings] == (
        [True] if wrong else []
    )


@pytest.mark.parametrize(
    ("address", "bits", "half", "alias", "looks_like"),
    [
        (ALIAS, 41, "unprotected", "0x00000000433ce000", None),
        (0x433C_E000, 41, "protected", "0x00000100433ce000", None),
        (ALIAS, 33, "outside", None, 41),
    ],
)
def test_the_json_form(
    address: int, bits: int, half: str, alias: str | None, looks_like: int | None
) -> None:
    text = render(explain(address, bits), "not shown", "json")
    assert text.endswith("}\n")
    document = json.loads(text)
    assert document["address"] == f"0x{address:016x}"
    assert (document["half"], document["alias"]) == (half, alias)
    assert (document["ipa_bits"], document["shared_bit"]) == (bits, bits - 1)
    assert document["looks_like"] == looks_like
    assert isinstance(document["agents"], dict)
    assert "KVM" in document["agents"] or half != "unprotected"
