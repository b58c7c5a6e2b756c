"""R: does the RMM tell the Realm the truth?

What the Realm derives from a wrong answer is not the Realm's mistake: here the answer itself is
held against what is so.
"""

from __future__ import annotations

from collections.abc import Iterator

from topbit.recording import Recording
from topbit.rules.finding import Finding
from topbit.rules.rule import a_realm, any_event, rule
from topbit.rules.wording import bits_of, evidence_of, shared_bit_name


def _the_width(recording: Recording) -> str:
    return "" if recording.platform.ipa_bits else "the width of the IPA space is not known"


@rule(
    "R1",
    "RSI_REALM_CONFIG tells the Realm the width of its own IPA space.",
    source="DEN0137 1.0, RsiRealmConfig.ipa_width; Linux 7.2 arch/arm64/kernel/rsi.c:"
    "arm64_rsi_init takes the shared bit from it",
    needs=[a_realm, _the_width, any_event("realm_config")],
)
def the_width_is_true(recording: Recording) -> Iterator[Finding]:
    """Which wrong width, and with it which wrong shared bit, was the Realm told?"""
    platform = recording.platform
    for row in recording.of_kind("realm_config").iter_rows(named=True):
        told = row["address"]
        if told is None or (platform.space and told == platform.space.shared_bit):
            continue
        yield Finding(
            "R1",
            "violation",
            "rmm",
            "the RMM told the Realm a wrong IPA width: the Realm takes a wrong shared bit from it",
            seen=f"ipa_width={told.bit_length()}: {bits_of(told)} as the shared bit",
            expected=f"ipa_width={platform.ipa_bits}: {shared_bit_name(platform)}",
            evidence=[evidence_of(row)],
            hint="look at the RMM, and at the Realm parameters (s2sz) that the host gave it; what "
            "the Realm did with that bit follows from it",
        )
