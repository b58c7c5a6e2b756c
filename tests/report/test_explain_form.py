"""How is the meaning of an address shown?"""

from __future__ import annotations

import json
from typing import Any

import pytest

from report_schema import valid_explanation
from topbit.addressing.explain import explain
from topbit.recording.schema import COLUMNS
from topbit.report.explain_form import Explanation, render, wrapped
from topbit.report.story import Episode, Story
from topbit.rules.finding import Evidence, Finding

ALIAS = 0x100_433C_E000


def lines(address: int, ipa_bits: int, note: str = "") -> list[str]:
    text = render(Explanation(address, explain(address, ipa_bits), note), "text")
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


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        ("  guest   gives this", ["  guest   gives", "          this"]),
        ("  at the protected half: nothing", ["  at the protected", "  half: nothing"]),
        ("0x00000100433ce000 in a space", ["0x00000100433ce000", "in a space"]),
        ("", [""]),
    ],
)
def test_what_is_said_of_a_label_stays_beside_it(line: str, lines: list[str]) -> None:
    assert wrapped(line + "\n", 18).splitlines() == lines


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
    text = render(Explanation(address, explain(address, bits), "not shown"), "json")
    assert text.endswith("}\n")
    document = json.loads(text)
    assert document["address"] == f"0x{address:016x}"
    assert (document["half"], document["alias"]) == (half, alias)
    assert (document["ipa_bits"], document["shared_bit"]) == (bits, bits - 1)
    assert document["looks_like"] == looks_like
    assert isinstance(document["agents"], dict)
    assert "KVM" in document["agents"] or half != "unprotected"


def shown(**parts: Any) -> list[str]:
    return render(Explanation(**parts), "text").splitlines()


@pytest.mark.parametrize(
    ("address", "title"),
    [
        ((1 << 64) - 1, "0xffffffffffffffff is DMA_MAPPING_ERROR: no address, but how "
                        "dma_map_*() says that it failed"),
        (0, "0x0000000000000000 is NULL: in most machines no address at all"),
    ],
)  # fmt: skip
def test_what_is_no_address_is_known(address: int, title: str) -> None:
    lines = shown(address=address)
    assert lines[0] == title
    assert lines[1].startswith("  guest kernel  ")
    assert len(lines) == 5
    assert (
        valid_explanation(render(Explanation(address), "json"))["special"]
        == title.partition(" is ")[2]
    )


def test_null_is_explained_as_a_place_too_where_the_width_is_known() -> None:
    assert "  half        protected (bit 40 clear: private memory)" in lines(0, 41)
    assert not any("half" in line for line in lines((1 << 64) - 1, 41))


def test_a_line_is_told_before_its_address() -> None:
    said = Evidence("a \x1b[2Jline", "", 1, "guest")
    assert shown(address=0x1000, note="why not", said=said, tells="It is.") == [
        r"a \x1b[2Jline", "  tells       It is.", "", "0x0000000000001000", "  note        why not",
    ]  # fmt: skip
    assert shown(address=None, said=said) == [r"a \x1b[2Jline", "", "it tells no address"]
    document = valid_explanation(render(Explanation(None, said=said, tells="It is."), "json"))
    assert document["said"] == {"text": "a \x1b[2Jline", "tells": "It is."}
    assert [key for key, value in document.items() if value] == ["said"]


def row(time: float | None, **columns: Any) -> dict[str, Any]:
    return {name: columns.get(name) for name in COLUMNS} | {
        "agent": "vmm", "event": "iommu_map", "address": ALIAS, "time": time, **columns,
    }  # fmt: skip


def story(*episodes: Episode, findings: tuple[Finding, ...] = ()) -> Story:
    halves: dict[Any, int] = {"protected": 0x433C_E000, "unprotected": ALIAS}
    return Story(ALIAS, halves, ("guest RAM", "a swiotlb pool"), episodes, findings)


def test_a_story_is_told_half_by_half() -> None:
    once = Episode("unprotected", 1, row(1.5), row(1.5))
    often = Episode("page", 3, row(None, source="log", line=4), row(None))
    timed = Episode("page", 2, row(2.0, source="log", line=7), row(9.25))
    judged = Finding("F1", "violation", "vmm", "it is not mapped")
    told = shown(address=ALIAS, note="n", stories=[story(once, often, timed, findings=(judged,))])
    text = "iommu_map address=0x00000100433ce000"
    assert told[3:] == [
        "what was recorded of it (guest RAM and a swiotlb pool)",
        "  at the protected half, 0x00000000433ce000: nothing",
        "  at the unprotected half, 0x00000100433ce000",
        f"    VMM      1.500000 s  {text}",
        "  of the page, whichever half it is reached by",
        f"    VMM      {text}  (3 times)   log:4",
        f"    VMM      2.000000 s  {text}  (2 times, the last at 9.250000 s)   log:7",
        "  judged    VIOLATION F1  it is not mapped",
    ]
    document = valid_explanation(render(Explanation(ALIAS, stories=[story(timed)]), "json"))
    (episode,) = document["story"][0]["episodes"]
    assert (episode["place"], episode["count"], episode["last"]["time"]) == ("page", 2, 9.25)
    assert document["story"][0]["halves"]["unprotected"] == "0x00000100433ce000"


def test_stories_of_several_boots_are_numbered() -> None:
    told = shown(address=ALIAS, note="n", stories=[story(), story()])
    assert [line for line in told if line.startswith("boot")] == ["boot 1 of 2", "boot 2 of 2"]
    nowhere = Story(ALIAS, {"protected": ALIAS}, (), (), ())
    assert shown(address=ALIAS, note="n", stories=[nowhere])[-2:] == [
        "what was recorded of it (neither known RAM nor a known pool)",
        "  at the protected half, 0x00000100433ce000: nothing",
    ]
