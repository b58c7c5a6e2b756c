"""Which of QEMU's CPU models runs a Realm, and does it have what a Realm needs?

What a model has decides how fast the guest is, and nothing about DMA. FEAT_FGT makes QEMU check
for fine-grained traps at many accesses to system registers as soon as there is an EL2. FEAT_LPA2
gives the kernel page tables of five levels. FEAT_PAuth lets Linux change SCTLR_EL1 at each switch
between a process and a kernel thread (arch/arm64/kernel/process.c:__switch_to), at which QEMU
forgets the whole TLB (target/arm/helper.c:sctlr_write): two times for each request to a disk, and
in a Realm each page that is found again costs a walk of both stages.
"""

from __future__ import annotations

from dataclasses import dataclass

from topbit.errors import UsageError

# The EL2 program does not give SVE and SME to the guest.
MODELS = {
    "neoverse-n2": "neoverse-n2,pauth=off,sve=off",
    "neoverse-v1": "neoverse-v1,pauth=off,sve=off",
    "max": "max,sve=off,sme=off",
}
NARROW, WIDE = "neoverse-n2", "max"
NARROW_BITS = 48  # IPA bits without FEAT_LPA2
_PA_BITS = (32, 36, 40, 42, 44, 48, 52, 56)  # by ID_AA64MMFR0_EL1.PARange


def words(model: str, ipa_bits: int) -> str:
    """What does QEMU's option -cpu get?

    Args:
        model: what the user asks for, a name of `MODELS` or words of QEMU's; empty for no wish.
        ipa_bits: width of the Realm's IPA space.
    """
    model = model or (NARROW if ipa_bits <= NARROW_BITS else WIDE)
    return MODELS.get(model, model)


@dataclass(frozen=True, slots=True)
class CpuFeatures:
    """Which features does a vCPU have? As its ID registers tell (Arm DDI0487, D24.2).

    Attributes:
        pa_bits: width of its physical addresses.
        lpa2: FEAT_LPA2 at stage 2 with 4 KiB granules.
        fwb: FEAT_S2FWB.
        fgt: FEAT_FGT.
        hcx: FEAT_HCX.
        sve: FEAT_SVE.
        sme: FEAT_SME.
    """

    pa_bits: int
    lpa2: bool
    fwb: bool
    fgt: bool
    hcx: bool
    sve: bool
    sme: bool

    ID_REGISTERS = (
        "ID_AA64MMFR0_EL1",
        "ID_AA64MMFR1_EL1",
        "ID_AA64MMFR2_EL1",
        "ID_AA64PFR0_EL1",
        "ID_AA64PFR1_EL1",
    )

    @classmethod
    def read(cls, values: list[int]) -> CpuFeatures:
        """Which features do the values of `ID_REGISTERS` tell?"""
        mmfr0, mmfr1, mmfr2, pfr0, pfr1 = values
        stage2 = _field(mmfr0, 40)  # TGran4_2; 0: as TGran4 says
        return cls(
            pa_bits=_PA_BITS[min(_field(mmfr0, 0), len(_PA_BITS) - 1)],
            lpa2=stage2 == 3 or (stage2 == 0 and _field(mmfr0, 28) == 1),
            fwb=_field(mmfr2, 40) > 0,
            fgt=_field(mmfr0, 56) > 0,
            hcx=_field(mmfr1, 40) > 0,
            sve=_field(pfr0, 32) > 0,
            sme=_field(pfr1, 24) > 0,
        )

    def require(self, ipa_bits: int) -> None:
        """Refuse a vCPU that cannot be a Realm's.

        Raises:
            UsageError: it lacks what the RMM's tables need, or has what the EL2 program does not
                give to a guest.
        """
        if not self.fwb:
            what = "no FEAT_S2FWB, the form of the memory attributes in a Realm's stage 2"
        elif ipa_bits > min(self.pa_bits, 52 if self.lpa2 else NARROW_BITS):
            what = f"no room for {ipa_bits} IPA bits: its addresses have {self.pa_bits}" + (
                "" if self.lpa2 else ", and it has no FEAT_LPA2"
            )
        elif self.sve or self.sme:
            name = "sve" if self.sve else "sme"
            raise UsageError(
                f"the CPU model has {name.upper()}, which topbit's Realms have not",
                where="--cpu",
                hint=f"add ,{name}=off to its name",
            )
        else:
            return
        hint = "max" if ipa_bits > NARROW_BITS else f"one of {', '.join(MODELS)}"
        raise UsageError(f"the CPU model has {what}", where="--cpu", hint=f"give {hint}")


def _field(register: int, shift: int) -> int:
    return register >> shift & 0xF
