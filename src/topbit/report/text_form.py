"""What is the report for people?

The verdict in a sentence, the findings, what was seen and not judged, the platform and how its
facts are known, what was seen in numbers, and what could not be checked.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from topbit.errors import printable
from topbit.recording import Platform, Reading
from topbit.report.boot import BootReport
from topbit.report.not_checked import causes
from topbit.report.platform_lines import platform_lines, unread_lines
from topbit.report.sentence import agent_name, verdict_sentence
from topbit.report.summary import Summary
from topbit.report.transfers import lines as transfer_lines
from topbit.rules import Evidence, Finding, Unjudged
from topbit.rules.privacy import Answered
from topbit.rules.wording import shared_bit_name

LABEL = 9
"""Width of the first column."""


def render(boots: Sequence[BootReport], verbose: bool = False) -> str:
    """What is the whole report, with line ends?

    Names and log lines in it may come from a hostile guest or a file of somebody else: none of
    them speaks to the terminal or makes a line of its own.

    Args:
        boots: the boots of a run.
        verbose: tell rule by rule what could not be checked.
    """
    return "".join(printable(line) + "\n" for line in _lines(boots, verbose))


def wrapped(line: str, width: int) -> list[str]:
    """Which lines show one line of the report where only `width` characters fit?

    Nothing is cut off: a word that does not fit stays whole.
    """
    if len(line) <= width:
        return [line]
    indent = " " * (LABEL + 3 if line.startswith("  ") else LABEL)
    return textwrap.wrap(
        line,
        width,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _lines(boots: Sequence[BootReport], verbose: bool) -> Iterator[str]:
    yield f"verdict  {verdict_sentence(boots)}"
    for number, boot in enumerate(boots, 1):
        yield ""
        if len(boots) > 1:
            yield f"boot {number} of {len(boots)}"
            yield ""
        yield from _judged(boot)
        yield from platform_lines(boot.platform)
        yield from _summary(boot.platform, boot.summary)
        yield from unread_lines(boot.platform)
        if boot.checked.not_checked:
            yield ""
            yield from _not_checked(boot, verbose)


def _judged(boot: BootReport) -> Iterator[str]:
    """What was found, and what was seen and not judged?"""
    for finding in boot.checked.findings:
        yield from finding_lines(finding)
        yield ""
    for kind in boot.checked.unjudged:
        yield from unjudged_lines(kind)
        yield ""
    if boot.checked.undecided:
        yield from undecided_lines(boot.checked.undecided)
        yield ""
    yield from _private_dma(boot.private_dma)


def _summary(platform: Platform, summary: Summary) -> Iterator[str]:
    if summary.kinds:
        counts = sorted(summary.kinds.items(), key=lambda each: (-each[1], each[0]))
        yield "events   " + ", ".join(f"{count} {kind}" for kind, count in counts)
    if summary.dma_addresses:
        text = f"seen     {summary.dma_addresses} DMA addresses"
        if summary.with_shared_bit is not None and platform.realm and platform.ipa_bits:
            bit = shared_bit_name(platform)
            if summary.with_shared_bit == summary.dma_addresses:
                text += f", all with {bit}, set"
            else:
                text += f", {summary.with_shared_bit} with {bit}, set"
        yield text
    if summary.streaming_maps or summary.failed_maps:
        every = summary.bounced == summary.streaming_maps
        text = f"seen     {summary.streaming_maps} streaming maps, "
        text += "all" if every and summary.bounced else str(summary.bounced)
        text += " bounced"
        if summary.failed_maps:
            text += f"; {summary.failed_maps} failed"
        yield text
    if summary.accesses:
        yield f"seen     {summary.accesses} device accesses, {summary.refused} refused"
    if summary.smmu_events:
        yield f"seen     {summary.smmu_events} SMMU event{'s' * (summary.smmu_events != 1)}"
    for line in transfer_lines(summary.transfers):
        yield f"data     {line}"


def _private_dma(answers: Sequence[Answered]) -> Iterator[str]:
    """How is it shown which mappings of trusted devices are confidential, and why not?"""
    for answer in answers:
        mappings = f"{answer.count} mapping{'s' * (answer.count != 1)}"
        why = f": {answer.why}" if answer.why else ""
        yield f"private  {answer.device}: {mappings} {answer.answer}{why}"
        for piece in answer.evidence if why else ():
            place = f"   {piece.place}" if piece.place else ""
            yield _row(agent_name(piece.agent), piece.text + place)
    if answers:
        yield ""


def finding_lines(finding: Finding) -> Iterator[str]:
    """How is one finding shown?"""
    times = f"  ({finding.count} times)" if finding.count > 1 else ""
    yield f"{finding.severity.upper()} {finding.rule}  {finding.message}{times}"
    agent = agent_name(finding.agent)
    who = f"{agent}, on {finding.device}" if finding.device else agent
    yield _row("at fault" if finding.severity == "violation" else "about", who)
    if finding.seen:
        yield _row("seen", finding.seen)
    if finding.expected:
        yield _row("expected", finding.expected)
    for piece in finding.evidence:
        yield _row(agent_name(piece.agent or "evidence"), _placed(piece))
    yield from _either(finding.readings)
    if finding.hint:
        yield _row("mend", finding.hint)
    if finding.source:
        yield _row("source", finding.source)


def unjudged_lines(kind: Unjudged) -> Iterator[str]:
    """How is trouble of one kind shown that no finding judges?"""
    times = f"  ({kind.count} times)" if kind.count > 1 else ""
    yield f"NOT JUDGED {kind.kind}  {kind.tells}{times}"
    yield _row("first" if kind.count > 1 else "seen", _placed(kind.first))


def undecided_lines(readings: Sequence[Reading]) -> Iterator[str]:
    """How are the readings shown that fit, and what would decide between them?"""
    yield "UNDECIDED  more than one reading fits what was seen"
    yield from _either([f"{reading.fact} {reading.value}: {reading.why}" for reading in readings])
    for decides in dict.fromkeys(reading.decides for reading in readings):
        yield _row("decides", decides)


def _either(readings: Sequence[str]) -> Iterator[str]:
    for number, reading in enumerate(readings):
        yield _row("or" if number else "either", reading)


def _placed(evidence: Evidence) -> str:
    return evidence.text + (f"   {evidence.place}" if evidence.place else "")


def _row(label: str, text: str) -> str:
    return f"  {label:<{LABEL}} {text}"


def _not_checked(boot: BootReport, verbose: bool) -> Iterator[str]:
    if verbose:
        yield "not checked"
        for entry in boot.checked.not_checked:
            yield _row(entry.rule, f"{entry.statement} ({entry.reason})")
        return
    yield "not checked, and what to give for it (-v: rule by rule)"
    for cause in causes(boot.checked.not_checked, boot.platform):
        count = f"{len(cause.rules)} rule{'s' * (len(cause.rules) != 1)}"
        give = f"; {cause.give}" if cause.give else ""
        yield _row(count, f"{', '.join(cause.rules)}: {cause.lacks}{give}")
