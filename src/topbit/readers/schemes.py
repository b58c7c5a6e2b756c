"""Which confidential computing scheme does a kernel log tell?

Sources: Linux 7.2 arch/arm64/kernel/rsi.c, drivers/firmware/smccc/kvm_guest.c, arch/x86/mm/
mem_encrypt.c, arch/x86/coco/sev/core.c, arch/x86/kernel/cpu/mshyperv.c, arch/x86/hyperv/ivm.c.
"""

from __future__ import annotations

from topbit.errors import UsageError
from topbit.readers.kernel_log.facts import LogFacts
from topbit.recording import Reading

ISOLATION = {1: "hyperv", 2: "snp-vtom", 3: "intel-tdx"}
"""Types of isolation of Hyper-V (include/hyperv/hvgdk.h: HV_ISOLATION_TYPE_*)."""
VTOM_ACTIVE = 1 << 5
PKVM_SERVICES = 0b11 << 3
"""MEM_SHARE and MEM_UNSHARE (include/linux/arm-smccc.h: ARM_SMCCC_KVM_FUNC_*)."""


def scheme_of(facts: LogFacts) -> tuple[str, str] | None:
    """Which scheme does the log tell, and which of its facts says so? None if it does not.

    The names are those of `addressing.scheme.SCHEMES`.
    """
    if facts.realm:
        return "arm-cca", "realm"
    if facts.isolation is not None and (name := ISOLATION.get(facts.isolation & 0xF)):
        return name, "isolation"
    told = facts.encryption.lower()
    for word, name in (
        ("tdx", "intel-tdx"),
        ("vtom", "snp-vtom"),
        ("snp", "amd-sev-snp"),
        ("sev-es", "amd-sev-es"),
        ("sev", "amd-sev"),
        ("sme", "amd-sme"),
    ):
        if word in told:
            return name, "encryption"
    if facts.bouncing and facts.architecture in ("s390", "power"):
        return {"s390": "s390-pv", "power": "power-svm"}[facts.architecture], "bouncing"
    if facts.architecture == "arm64" and facts.services & PKVM_SERVICES == PKVM_SERVICES:
        return "arm-pkvm", "services"
    if facts.past_rsi and facts.architecture == "arm64":
        if not facts.bouncing:
            return "none", "past_rsi"
        # A Realm would have named its RSI version, unless its log lost a line; since 7.3 a guest
        # of pKVM bounces all DMA too.
        return ("arm-pkvm", "bouncing") if _pkvm_bounces(facts.kernel) else None
    if facts.architecture not in ("", "arm64") and facts.kernel:
        return "none", "kernel"
    return None


def _pkvm_bounces(kernel: str | None) -> bool:
    """Does a kernel of this release bounce DMA in a guest of pKVM?"""
    from topbit.addressing.kernel_policy import policy_for

    try:
        return kernel is not None and policy_for(kernel).pkvm_force_unencrypted
    except UsageError:
        return False


def readings_of(facts: LogFacts) -> list[Reading]:
    """Which schemes fit a log that does not tell?"""
    if facts.bouncing and facts.architecture in ("", "arm64") and scheme_of(facts) is None:
        seen = "the kernel bounces DMA because memory is encrypted, and its log is not whole"
        decides = "the whole kernel log: a Realm's says 'Using RSI version'"
        return [
            Reading("scheme", "arm-cca", f"{seen}: a Realm", decides),
            Reading("scheme", "arm-pkvm", f"{seen}: a guest of pKVM, from Linux 7.3 on", decides),
        ]
    return []
