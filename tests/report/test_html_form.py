"""The page: what it says, that it adds up, and that nothing hostile gets out of its text."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser

import pytest

import topbit
from map_events import REFUSED
from paths import DATA
from report_kinds import EVENTS, F1, KINDS, LOGS, MANY
from report_made import boot
from topbit.errors import InputError
from topbit.recording import DeviceFacts, FileFacts
from topbit.report.html_form import MOST_FINDINGS, render, render_error, render_matrix

VOID = {"meta", "path", "br", "input"}
TABLE = {"table", "thead", "tbody", "tr", "th", "td"}
TEXT = {"p", "h1", "h2", "h3", "h4", "a", "b", "i", "small", "span", "code", "ul", "ol", "li"}
PARTS = {"header", "main", "footer", "section", "article", "nav", "div", "dl", "dt", "dd"}
HEAD = {"html", "head", "meta", "title", "style", "body"}
ALLOWED = HEAD | PARTS | TEXT | TABLE | {"details", "summary", "svg", "path"}


class Page(HTMLParser):
    """Which elements, attributes and words does a page have?"""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        self.text += " "
        self.tags.add(tag)
        self.attributes |= told.keys()
        if "id" in told:
            self.ids.append(told["id"] or "")
        if "href" in told:
            self.links.append(told["href"] or "")
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        self.text += " "
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.text += data


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_is_well_formed_and_safe_and_its_links_lead_somewhere(kind: str) -> None:
    text = render(KINDS[kind])
    page = Page(text)
    assert page.tags <= ALLOWED
    assert not {name for name in page.attributes if name.startswith("on") or name == "src"}
    assert len(page.ids) == len(set(page.ids))
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    assert all(char.isprintable() or char == "\n" for char in text)
    assert text.endswith("</html>\n")
    assert "Content-Security-Policy" in text


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("ok", ["No violation", "1 GiB", "2 of 62 rules were checked"]),
        ("violation", ["Violation", "At fault: VMM . Rules broken: F1 .", "3 findings"]),
        ("inconclusive", ["Inconclusive", "A device did not answer.", "who is it"]),
        ("nothing judged", ["Inconclusive", "Nothing in it could be judged."]),
        ("unfinished", ["Not finished", "The guest did not do all of its work: the guest is st"]),
        ("empty", ["No violation", "Nothing that was recorded has an address.", "No event"]),
        ("two boots", ["Boot 2 of 2", "2 boots"]),
        ("not checked", ["no event # of it"]),
    ],
)
def test_what_the_page_says(kind: str, words: list[str]) -> None:
    text = " ".join(Page(render(KINDS[kind])).text.split())
    assert [word for word in words if word not in text] == []


@pytest.mark.parametrize(
    ("facts", "words", "without"),
    [
        ({}, "kernel 6.14.0 Guest an Arm CCA Realm IPA space 41 bits, shared bit 40", "C bit"),
        ({"realm": False, "scheme": "amd-sev", "ipa_bits": None, "c_bit": 51},
         "Guest scheme amd-sev C bit bit 51 Recorded", "IPA space"),
        ({"realm": False, "scheme": "amd-sev", "ipa_bits": None},
         "shown as one half: only a Realm's address space has two.", "IPA space"),
        ({"realm": False, "scheme": "none", "ipa_bits": None, "origins": {"kernel": "logs/h:1"},
          "files": [FileFacts("logs/h", role="host")]},
         "Host kernel 6.14.0 Host no confidential machine Recorded 1 event, from files", "Guest"),
        ({"devices": {}}, "nvme0 - nothing describes it; seen in 1 event - -", "2 events"),
        ({}, "RAM 1 GiB", "nothing describes it"),
        ({"devices": {"a": DeviceFacts(driver="nvme")}}, "a - not told - nvme", "assigned"),
        ({"devices": {"a": DeviceFacts(sid=8)}}, "a 0x8 assigned - -", "not told"),
        ({"devices": {"a": DeviceFacts(trusted=True)}}, "a - assigned, trusted (T=1)", "not told"),
        ({"devices": {"a": DeviceFacts(emulated=True)}}, "a - emulated - -", "not told"),
    ],
)  # fmt: skip
def test_what_the_page_says_of_a_platform(
    facts: dict[str, object], words: str, without: str
) -> None:
    platform = dataclasses.replace(LOGS, **facts)  # type: ignore[arg-type]
    made = boot(platform, recorded=EVENTS[:1], events=1)
    text = " ".join(Page(render([made])).text.split())
    assert words in text
    assert without not in text


def test_the_legends_explain_what_is_drawn() -> None:
    text = " ".join(Page(render(KINDS["ok"])).text.split())
    assert "private RAM swiotlb pool given by the guest A RAM" in text
    assert "maps use of the bounce pool nvme0" in text


def test_a_finding_is_told_whole() -> None:
    text = " ".join(Page(render(KINDS["violation"])).text.split())
    for part in (
        "violation F1 the VMM did not map the unprotected alias 16 times",
        "At fault: VMM , on nvme0",
        "Seen nvme0 read 0x0000010076b01000: F_TRANSLATION",
        "Expected a stage-2 mapping",
        "guest dma_map nvme0 ... logs/trace one.txt:812",
        "Mend map it",
        "Source cover letter",
        "2 in logs/trace one.txt look like events and could not be read; the first at line 7",
    ):
        assert part in text, part


def test_hostile_words_are_shown_as_they_are() -> None:
    text = Page(render(KINDS["hostile"])).text
    assert "</script><script>alert(1)</script>" in text
    assert r"\x1b[2J\x00\x9b1m\r\n" in text
    assert r"\u202e" in text


def test_findings_beyond_the_first_are_counted_and_the_page_stays_small() -> None:
    text = render(KINDS["many"])
    page = Page(text)
    cards = [name for name in page.ids if re.fullmatch(r"b1-f\d+", name)]
    assert len(cards) == MOST_FINDINGS
    assert f"{MANY - MOST_FINDINGS:,} more findings are not shown here" in page.text
    assert f"F1, VMM: {MANY - MOST_FINDINGS:,}" in page.text
    assert len(text) < 1_000_000


@pytest.mark.parametrize("made", [{"vmm.smmu_map": "protected"}, "vmm-maps-protected-half"])
def test_the_counts_add_up(made: object) -> None:
    if isinstance(made, dict):
        recording = topbit.run("seed", settings=made)
    else:
        (recording,) = topbit.read(DATA / "recordings" / str(made))
    text = render(topbit.check(recording).boots)
    events = len(recording.frame)
    assert f"Recorded</dt><dd>{events:,} events" in text
    lanes = [int(n.replace(",", "")) for n in re.findall(r"<small>([\d,]+) events</small>", text)]
    assert sum(lanes) == events
    kinds = re.search(r"Events by kind.*?</table>", text, re.DOTALL)
    assert kinds
    numbers = re.findall(r'<td class="number">([\d,]+)</td>', kinds[0])
    assert sum(int(number.replace(",", "")) for number in numbers) == events


def test_pins_lead_to_their_findings() -> None:
    text = render([boot(LOGS, [F1], recorded=[*EVENTS, REFUSED])])
    assert text.count('class="pin') == 0  # its evidence is no event of the recording
    report = topbit.check(topbit.run("seed", settings={"vmm.smmu_map": "protected"}))
    pins = re.findall(r'class="pin[^"]*" style="left:[\d.]+%" href="#b1-f(\d+)"', str(
        render(report.boots)))  # fmt: skip
    assert {"1", "2"} <= set(pins)


@pytest.mark.slow
@pytest.mark.parametrize("name", [scenario.name for scenario in topbit.scenarios()])
def test_the_page_of_every_scenario(name: str) -> None:
    page = Page(render(topbit.check(topbit.run(name)).boots))
    assert "Address map" in page.text


@pytest.mark.parametrize("folder", sorted((DATA / "recordings").iterdir()), ids=lambda p: p.name)
def test_the_page_of_every_recording(folder: object) -> None:
    page = Page(render(topbit.check(str(folder)).boots))
    assert "Address map" in page.text


def test_the_matrix_is_a_page() -> None:
    page = Page(render_matrix(topbit.matrix()))
    assert set(page.links) <= {f"#{name}" for name in page.ids}
    text = " ".join(page.text.split())
    assert "6.15 protected yes F_TRANSLATION VMM: F1 V1 shared memory no rule broken" in text
    assert "12 of 30 cells, in 10 runs, without a broken rule." in text


def test_an_error_is_a_page() -> None:
    page = Page(render_error(InputError("is <empty>", where="a", hint="fill it")))
    assert "a : is <empty> fill it" in " ".join(page.text.split())
