"""What is the report as a page: one file, without script, that opens offline and prints?

The page is made of the templates beside this module. Everything that is put into them is escaped;
its own policy allows the browser neither a script nor a request.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from topbit import __version__
from topbit.errors import TopbitError, printable
from topbit.report.address_map import address_map, why_one_half
from topbit.report.boot import BootReport
from topbit.report.evidence_events import events_of
from topbit.report.journey import Step, journey
from topbit.report.map_view import MapView, amount, map_view
from topbit.report.not_checked import Cause, causes
from topbit.report.platform_lines import kernel_of
from topbit.report.sentence import agent_name, verdict_sentence
from topbit.report.timeline import positions, timeline
from topbit.report.timeline_view import MOST_DEVICES, PLACES, TimelineView, timeline_view
from topbit.report.transfers import lines as transfer_lines
from topbit.rules.finding import Finding, Verdict, verdict_of
from topbit.rules.rule import RULES
from topbit.rules.wording import address

if TYPE_CHECKING:
    import jinja2

    from topbit.report.matrix import Matrix

MOST_FINDINGS = 200
"""How many findings of a boot have a card of their own; what others there are is counted."""
MOST_WINDOWS = 6


@dataclass(frozen=True, slots=True)
class Card:
    """What is shown of one finding?"""

    number: int
    finding: Finding
    statement: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class BootView:
    """What is shown of one boot?

    Attributes:
        key: what the names of its anchors begin with.
        kinds: kind of event -> how many; they add up to all events.
        more: rule and agent of the findings without a card -> how many.
        not_checked: what rules could not be checked for, and what to give for it.
    """

    key: str
    boot: BootReport
    map: MapView
    timeline: TimelineView
    cards: tuple[Card, ...]
    more: dict[tuple[str, str], int]
    kinds: dict[str, int]
    not_checked: Sequence[Cause]
    transfers: list[str]


def render(boots: Sequence[BootReport]) -> str:
    """What is the page?"""
    findings = [finding for boot in boots for finding in boot.checked.findings]
    broken = [finding for finding in findings if finding.severity == "violation"]
    verdict = verdict_of(boot.checked for boot in boots)
    unfinished = boots[-1].platform.unfinished
    titles = {Verdict.VIOLATION: "Violation", Verdict.INCONCLUSIVE: "Inconclusive"}
    title = titles.get(verdict, "Not finished" if unfinished else "No violation")
    return _page(
        "page.html.j2",
        title=title,
        state="bad" if broken else "good" if title == "No violation" else "open",
        agents=list(dict.fromkeys(agent_name(f.agent) for f in broken)),
        rules=list(dict.fromkeys(f.rule for f in broken)),
        findings=findings,
        sentence=verdict_sentence(boots).partition(": ")[2].removeprefix("no violation; "),
        unfinished=unfinished,
        boots=[_boot(boot, f"b{number}") for number, boot in enumerate(boots, 1)],
    )


def render_matrix(matrix: Matrix) -> str:
    """What is the page of the matrix of the convention?"""
    used = sorted({rule for row in matrix.rows for rule in row.rules})
    return _page("matrix.html.j2", matrix=matrix, rules=[RULES[rule] for rule in used])


def render_error(error: TopbitError) -> str:
    """What is the page where there is no report?"""
    return _page("error.html.j2", error=error)


def _boot(boot: BootReport, key: str) -> BootView:
    recording, findings = boot.recording, boot.checked.findings[:MOST_FINDINGS]
    events = events_of(recording, (piece for each in findings for piece in each.evidence))
    _, at = positions(recording)
    cards = tuple(
        Card(number, finding, _statement(finding), journey(recording, finding, events))
        for number, finding in enumerate(findings, 1)
    )
    kinds = recording.frame["event"].value_counts(sort=True)
    return BootView(
        key,
        boot,
        map_view(address_map(recording, findings, MOST_WINDOWS)),
        timeline_view(timeline(recording, PLACES, MOST_DEVICES), at, findings, events),
        cards,
        dict(Counter((f.rule, f.agent) for f in boot.checked.findings[MOST_FINDINGS:])),
        dict(kinds.rows()),
        causes(boot.checked.not_checked, boot.platform),
        transfer_lines(boot.summary.transfers),
    )


def _statement(finding: Finding) -> str:
    rule = RULES.get(finding.rule)
    return rule.statement if rule else ""


def _page(template: str, **context: Any) -> str:
    return _environment().get_template(template).render(version=__version__, **context)


def _number(count: int, word: str) -> str:
    """How is a number of things said: "1 event", "1,000 events"?"""
    return f"{count:,} {word}{'s' * (count != 1)}"


def _environment() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("topbit.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        lstrip_blocks=True,
        # Names and log lines may hold what a terminal or a bidirectional text obeys.
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
    environment.filters["address"] = address
    environment.filters["amount"] = amount
    environment.filters["agent"] = agent_name
    environment.filters["number"] = _number
    environment.globals.update(kernel_of=kernel_of, why_one_half=why_one_half)
    return environment
