"""What is a rule, what does it need, and how is it registered?

A rule is a function over a `Recording` that yields `Finding`s, decorated with its id, its
statement, its source and what it needs:

    @rule(
        "M4",
        "A DMA address fits the device's mask.",
        source="Linux include/linux/dma-direct.h:dma_capable",
        needs=[any_event("dma_map", "dma_alloc")],
    )
    def addresses_fit_the_mask(recording: Recording) -> Iterator[Finding]: ...

A need is a function that says what the recording lacks ("" when it lacks nothing); a rule with an
unmet need is reported as not checked. A rule never asks where a recording came from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import TypeAlias

from topbit.recording import Recording
from topbit.replay.kept import kept
from topbit.rules.finding import Finding
from topbit.rules.releases import policy_of

Need: TypeAlias = Callable[[Recording], str]
Check: TypeAlias = Callable[[Recording], Iterator[Finding]]


@dataclass(frozen=True, slots=True)
class Rule:
    """Which convention is checked, and where does it come from?

    Attributes:
        id: its name.
        statement: what must hold.
        source: where that is said.
        needs: what a recording must have for it.
        check: what finds where it does not hold.
        former: the name that it had in topbit 0.1, if another.
    """

    id: str
    statement: str
    source: str
    needs: tuple[Need, ...]
    check: Check
    former: str = ""

    def lacks(self, recording: Recording) -> str:
        """What does the recording lack for this rule ("" if nothing)?"""
        for need in self.needs:
            lack = need(recording)
            if lack:
                return lack
        return ""


RULES: dict[str, Rule] = {}
"""All rules by id, in the order of their modules."""


def rule(
    rule_id: str,
    statement: str,
    *,
    source: str,
    needs: Sequence[Need] = (),
    former: str = "",
) -> Callable[[Check], Check]:
    """Register the decorated function as the rule `rule_id`."""

    def register(check: Check) -> Check:
        if rule_id in RULES:
            raise ValueError(f"two rules are called {rule_id}")

        @wraps(check)
        def by_its_names(recording: Recording) -> Iterator[Finding]:
            for finding in check(recording):
                if former:
                    finding.hint += f" ({rule_id} was {former} in topbit 0.1)"
                yield finding

        RULES[rule_id] = Rule(rule_id, statement, source, tuple(needs), by_its_names, former)
        return check

    return register


def one_clock(recording: Recording) -> str:
    """Do the events of all agents stand in the order in which they happened?"""
    if recording.platform.one_clock:
        return ""
    return "the recording does not tell in which order host and guest acted"


def any_event(*kinds: str) -> Need:
    """Is there an event of one of these kinds?"""

    def need(recording: Recording) -> str:
        return "" if recording.has(*kinds) else f"no {' or '.join(kinds)} event was recorded"

    return need


def whole_trace(recording: Recording) -> str:
    """Are all events of the guest there, so that what it did not trace did not happen?"""
    lost = recording.platform.lost_events
    return f"the trace lost {lost} events" if lost else ""


def a_realm(recording: Recording) -> str:
    """Is the guest known to be an Arm CCA Realm?"""
    platform = recording.platform
    if platform.scheme != "arm-cca":
        return f"the scheme is {platform.scheme}, which has no shared bit in DMA addresses"
    if platform.realm is None:
        return "nothing tells whether the guest is a Realm (add its kernel log, or --ipa-bits)"
    return "" if platform.realm else "the guest is no Realm"


def a_guest_of_shared_dma(recording: Recording) -> str:
    """Is the guest known to be one whose devices reach shared memory only?"""
    platform = recording.platform
    if platform.scheme == "arm-cca":
        return a_realm(recording)
    if platform.scheme in SHARED_DMA:
        return ""
    if platform.scheme == "arm-pkvm":
        policy = policy_of(platform)
        if policy is not None and policy.pkvm_force_unencrypted:
            return ""
        return "a pKVM guest bounces all DMA from Linux 7.3 on, and this one is not known to"
    return f"the scheme is {platform.scheme}: its devices need no shared memory"


SHARED_DMA = (
    "arm-cca", "amd-sev", "amd-sev-es", "amd-sev-snp", "snp-vtom", "intel-tdx", "hyperv",
    "s390-pv", "power-svm",
)  # fmt: skip
"""Schemes whose guests bounce all streaming DMA (force_dma_unencrypted(): Linux 7.2
arch/x86/mm/mem_encrypt.c, arch/s390/mm/init.c, arch/powerpc/platforms/pseries/svm.c,
arch/arm64/include/asm/mem_encrypt.h). Of pKVM's guests only those of 7.3 and later do
(`KernelPolicy.pkvm_force_unencrypted`)."""


def the_shared_bit(recording: Recording) -> str:
    """Is it known which bit is the shared bit?"""
    if recording.platform.ipa_bits is None:
        return "the width of the IPA space is not known (--ipa-bits N tells it)"
    return told_the_truth(recording)


@kept
def told_the_truth(recording: Recording) -> str:
    """Could the guest know its shared bit? What follows from a lie of the RMM is nobody else's."""
    space, told = recording.platform.space, set(recording.of_kind("realm_config")["address"])
    if told - {space and space.shared_bit}:
        return "the RMM told the Realm another shared bit than its own (R1)"
    return ""


def guest_ram(recording: Recording) -> str:
    """Is it known where the guest's RAM lies?"""
    return "" if recording.platform.ram else "nothing tells where the guest's RAM lies"


def sees_faults(recording: Recording) -> str:
    """Would a refused access stand in the recording?

    Without any fault there is nothing to blame, which is a result and no gap: only where no
    source of faults was there at all is anything lacking.
    """
    watched = recording.platform.machine in ("model", "qemu")  # they see every event
    if watched or recording.has("access", "smmu_event", "smmu_lost"):
        return ""
    return "no device access and no SMMU event was recorded"
