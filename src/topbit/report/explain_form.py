"""How is it shown what one address means, and what became of it?"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from topbit.addressing.explain import SPECIAL, Meaning, fmt, pte_form
from topbit.arch.ipa import IpaSpace
from topbit.errors import TopbitError, printable

if TYPE_CHECKING:
    from topbit.report.story import Episode, Story
    from topbit.rules import Evidence


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is there to say about what a user asked?

    Attributes:
        address: the address; None if the line tells none.
        meaning: what it means in an IPA space; None while its width is not known.
        note: how the width is known.
        said: what the line or record says, if one was given.
        tells: what that tells in general, one sentence, if it is trouble.
        stories: what each boot of a recording tells of the address.
    """

    address: int | None
    meaning: Meaning | None = None
    note: str = ""
    said: Evidence | None = None
    tells: str = ""
    stories: Sequence[Story] = ()


def render(told: Explanation, form: str) -> str:
    """Which text (or JSON document) explains it? With its line end."""
    if form == "json":
        return json.dumps(document(told), indent=2, allow_nan=False) + "\n"
    return "".join(printable(line) + "\n" for line in _lines(told))


def wrapped(text: str, width: int) -> str:
    """Which text fits `width` columns? What is said of a label stays beside it."""
    lines: list[str] = []
    for line in text.splitlines():
        label = re.match(r" +\S.*?  +| *", line)
        indent = " " * len(label[0] if label else "")
        lines += textwrap.wrap(
            line,
            width,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        ) or [""]
    return "\n".join(lines) + "\n"


def render_error(error: TopbitError) -> str:
    """What is the document where nothing could be explained?"""
    from topbit.report.json_form import render_error as of_report

    return of_report(error)


def document(told: Explanation) -> dict[str, Any]:
    """What is the document, as JSON values? `schema/explain.schema.json` says what stands in it."""
    meaning = told.meaning
    special, agents = SPECIAL.get(-1 if told.address is None else told.address, (None, ()))
    if special is None and meaning is not None:
        agents = meaning.agents
    return {
        "address": _shown(told.address),
        "special": special,
        "said": None if told.said is None else {"text": told.said.text, "tells": told.tells},
        "note": told.note,
        "ipa_bits": meaning and meaning.ipa_bits,
        "shared_bit": meaning and IpaSpace(meaning.ipa_bits).bit_number,
        "half": meaning and meaning.half,
        "canonical": meaning and _shown(meaning.canonical),
        "alias": meaning and _shown(meaning.alias),
        "looks_like": meaning and meaning.looks_like,
        "agents": dict(agents),
        "story": [_story_data(story) for story in told.stories],
    }


def _shown(address: int | None) -> str | None:
    return None if address is None else fmt(address)


def _lines(told: Explanation) -> Iterator[str]:
    if told.said is not None:
        yield told.said.text
        if told.tells:
            yield f"  tells       {told.tells}"
        yield ""
    if told.address is None:
        yield "it tells no address"
        return
    if told.address in SPECIAL:
        what, agents = SPECIAL[told.address]
        yield f"{fmt(told.address)} is {what}"
        yield from _table(agents)
    if told.meaning is not None and told.address != max(SPECIAL):
        yield from _meaning(told.meaning, told.note)
    elif told.address not in SPECIAL:
        yield fmt(told.address)
        yield f"  note        {told.note}"
    for number, story in enumerate(told.stories, 1):
        yield ""
        if len(told.stories) > 1:
            yield f"boot {number} of {len(told.stories)}"
        yield from _story(story)


def _meaning(meaning: Meaning, note: str) -> Iterator[str]:
    address, ipa_bits = meaning.address, meaning.ipa_bits
    space = IpaSpace(ipa_bits)
    bit = space.bit_number
    yield f"{fmt(address)} in an IPA space of {ipa_bits} bits (shared bit: bit {bit})"
    if note:
        yield f"  note        {note}"
    if meaning.half == "outside":
        yield f"  half        none: it lies above the IPA space ({fmt(space.size)})"
        if meaning.looks_like:
            yield (
                f"  looks like  an alias under {meaning.looks_like} bits, of "
                f"{fmt(IpaSpace(meaning.looks_like).protected(address))}"
            )
    else:
        state = "set: shared memory" if meaning.half == "unprotected" else "clear: private memory"
        other = "protected" if meaning.half == "unprotected" else "unprotected"
        yield f"  half        {meaning.half} (bit {bit} {state})"
        yield f"  canonical   {fmt(meaning.canonical)}   the page as Linux names it"
        yield f"  alias       {fmt(meaning.alias or 0)}   the same page in the {other} half"
    if meaning.looks_like is None and (wrong := pte_form(ipa_bits)):
        yield (
            f"  beware      kernels with 52-bit PAs set 0x{wrong:x} instead of bit {bit} in DMA "
            "addresses (PROT_NS_SHARED in page-table form)"
        )
    yield from _table(meaning.agents)


def _table(rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    width = max(len(who) for who, _ in rows)
    for who, what in rows:
        yield f"  {who:<{width}}  {what}"


HALVES = {
    "protected": "at the protected half, {}",
    "unprotected": "at the unprotected half, {}",
    "page": "of the page, whichever half it is reached by",
}


def _story(story: Story) -> Iterator[str]:
    from topbit.report.sentence import agent_name

    lies_in = " and ".join(story.lies_in) or "neither known RAM nor a known pool"
    yield f"what was recorded of it ({lies_in})"
    for place, title in HALVES.items():
        episodes = [episode for episode in story.episodes if episode.place == place]
        if place != "page" and place not in story.halves:
            continue
        title = title.format(fmt(story.halves[place]) if place in story.halves else "")
        if not episodes:
            if place != "page":
                yield f"  {title}: nothing"
            continue
        yield f"  {title}"
        for episode in episodes:
            yield f"    {agent_name(episode.first['agent']):<8} {_told(episode)}"
    for finding in story.findings:
        yield f"  judged    {finding.severity.upper()} {finding.rule}  {finding.message}"


def _told(episode: Episode) -> str:
    """What does an episode say: its first event, when and where, and how often?"""
    from topbit.rules.wording import evidence_of

    shown = evidence_of(episode.first)
    text = f"{_time(episode.first)}{shown.text}"
    if episode.count > 1:
        text += f"  ({episode.count} times{_until(episode.last)})"
    return text + (f"   {shown.place}" if shown.place else "")


def _time(row: dict[str, Any]) -> str:
    return "" if row["time"] is None else f"{row['time']:.6f} s  "


def _until(row: dict[str, Any]) -> str:
    return "" if row["time"] is None else f", the last at {row['time']:.6f} s"


def _story_data(story: Story) -> dict[str, Any]:
    from topbit.rules.wording import evidence_of

    return {
        "halves": {place: fmt(value) for place, value in story.halves.items()},
        "lies_in": list(story.lies_in),
        "episodes": [
            {
                "place": episode.place,
                "agent": episode.first["agent"],
                "event": episode.first["event"],
                "device": episode.first["device"],
                "status": episode.first["status"],
                "count": episode.count,
                "first": evidence_of(episode.first).to_dict() | {"time": episode.first["time"]},
                "last": evidence_of(episode.last).to_dict() | {"time": episode.last["time"]},
            }
            for episode in story.episodes
        ],
        "findings": [finding.to_dict() for finding in story.findings],
    }
