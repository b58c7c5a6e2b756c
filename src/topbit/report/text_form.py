"""What is the report for people: the platform, what was seen, the findings, the verdict?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from topbit.errors import printable
from topbit.recording import Platform
from topbit.report.boot import BootReport
from topbit.report.summary import Summary
from topbit.report.transfers import lines as transfer_lines
from topbit.rules import Finding, NotChecked
from topbit.rules.finding import Verdict, verdict_of
from topbit.rules.privacy import Answered
from topbit.rules.wording import address, shared_bit_name

AGENT_NAMES = {"vmm": "VMM", "rmm": "RMM", "smmu": "SMMU"}
LABEL = 9
"""Width of the first column below a finding."""


def render(boots: Sequence[BootReport]) -> str:
    """What is the whole report, with line ends?

    Names and log lines in it may come from a hostile guest or a file of somebody else: none of
    them speaks to the terminal or makes a line of its own.
    """
    return "".join(printable(line) + "\n" for line in _lines(boots))


def _lines(boots: Sequence[BootReport]) -> Iterator[str]:
    for number, boot in enumerate(boots, 1):
        if len(boots) > 1:
            yield f"boot {number} of {len(boots)}"
        yield from _platform(boot.platform)
        yield from _summary(boot.platform, boot.summary)
        for entry in boot.platform.unparsed:
            # Only text has lines, which are counted from 1.
            lines, place = ("lines", f" at line {entry.line}") if entry.line else ("places", "")
            yield (
                f"unparsed {entry.count} {lines} of {entry.source} look like events and could not "
                f"be read, the first{place}: {entry.text}"
            )
        yield ""
        yield from _private_dma(boot.private_dma)
        for finding in boot.checked.findings:
            yield from finding_lines(finding)
            yield ""
        yield from _not_checked(boot.checked.not_checked)
    yield _verdict_line(boots)


def _verdict_line(boots: Sequence[BootReport]) -> str:
    """What is the verdict, in one line?"""
    findings = [finding for boot in boots for finding in boot.checked.findings]
    violations = [finding for finding in findings if finding.severity == "violation"]
    others = len(findings) - len(violations)
    rest = f"; {others} warning{'s' * (others != 1)} or note{'s' * (others != 1)}" * bool(others)
    verdict = verdict_of(boot.checked for boot in boots)
    if verdict is Verdict.INCONCLUSIVE:
        return f"verdict: inconclusive{rest}"
    if not violations:
        return f"verdict: no violation{rest}"
    agents = dict.fromkeys(AGENT_NAMES.get(f.agent, f.agent) for f in violations)
    rules = dict.fromkeys(finding.rule for finding in violations)
    return f"verdict: VIOLATION of {', '.join(rules)}; at fault: {', '.join(agents)}{rest}"


def _platform(platform: Platform) -> Iterator[str]:
    kernel = f"Linux {platform.kernel}" if platform.kernel else "unknown kernel"
    guest = {True: "a Realm", False: "no Realm", None: "not known whether a Realm"}[platform.realm]
    if platform.scheme != "arm-cca":
        guest = f"scheme {platform.scheme}"
    yield f"guest    {kernel}, {guest}"
    if platform.space is not None:
        origin = platform.origins.get("ipa_bits", "").partition(":")[0]
        origin = {"option": "--ipa-bits"}.get(origin, origin)
        yield (
            f"IPA      {platform.ipa_bits} bits"
            + (f" ({origin})" if origin else "")
            + f": bit {platform.space.bit_number} is the shared bit"
        )
    elif platform.realm:
        yield "IPA      width unknown (--ipa-bits N tells it)"
    for name, ranges in (("RAM", platform.ram), ("swiotlb", platform.pools)):
        for base, size in ranges:
            yield f"{name:<8} {address(base)}-{address(base + size - 1)} ({_amount(size)})"
    changed = platform.changed_policies()
    if changed:
        yield "settings " + ", ".join(f"{key}={value}" for key, value in changed.items())
    for note in platform.notes:
        yield f"note     {note}"


def _summary(platform: Platform, summary: Summary) -> Iterator[str]:
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
        yield f"seen     {summary.smmu_events} SMMU events"
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
            yield _row(AGENT_NAMES.get(piece.agent, piece.agent), piece.text + place)
    if answers:
        yield ""


def finding_lines(finding: Finding) -> Iterator[str]:
    """How is one finding shown?"""
    times = f"  ({finding.count} times)" if finding.count > 1 else ""
    yield f"{finding.severity.upper()} {finding.rule}  {finding.message}{times}"
    agent = AGENT_NAMES.get(finding.agent, finding.agent)
    who = f"{agent}, on {finding.device}" if finding.device else agent
    yield _row("at fault" if finding.severity == "violation" else "about", who)
    if finding.seen:
        yield _row("seen", finding.seen)
    if finding.expected:
        yield _row("expected", finding.expected)
    for piece in finding.evidence:
        place = f"   {piece.place}" if piece.place else ""
        yield _row(AGENT_NAMES.get(piece.agent, piece.agent or "evidence"), piece.text + place)
    if finding.hint:
        yield _row("mend", finding.hint)
    if finding.source:
        yield _row("source", finding.source)


def _row(label: str, text: str) -> str:
    return f"  {label:<{LABEL}} {text}"


def _not_checked(entries: Sequence[NotChecked]) -> Iterator[str]:
    by_reason: dict[str, list[str]] = {}
    for entry in entries:
        by_reason.setdefault(entry.reason, []).append(entry.rule)
    for reason, rules in by_reason.items():
        yield f"not checked: {', '.join(rules)}: {reason}"


def _amount(size: int) -> str:
    for unit, shift in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >= 1 << shift and not size % (1 << shift):
            return f"{size >> shift} {unit}"
    return f"{size} bytes"
