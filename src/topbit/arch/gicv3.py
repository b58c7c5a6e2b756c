"""Which GICv3 state may a host give to the virtual CPU of a Realm?

Source: Arm IHI0069, ICH_HCR_EL2 and ICH_LR<n>_EL2; DEN0137 1.0, RMI_REC_ENTER, condition
rec_gicv3.
"""

from __future__ import annotations

from collections.abc import Sequence

from topbit.arch.bitfield import Layout, bit, bits

NUM_LRS = 16
# UIE, LRENPIE, NPIE, VGrp0EIE, VGrp0DIE, VGrp1EIE, VGrp1DIE and TDIR are the host's to set.
HCR_OF_THE_HOST = 0x40FE


class ListRegister(Layout):
    """Which virtual interrupt does a list register hold? (ICH_LR<n>_EL2)"""

    vINTID = bits(31, 0)
    HW = bit(61)
    State = bits(63, 62)


def is_valid(hcr: int, list_registers: Sequence[int]) -> bool:
    """May a REC be entered with this ICH_HCR_EL2 and these list registers?

    The host sets the bits of `HCR_OF_THE_HOST` alone. A list register that holds an interrupt
    names no physical one (HW), and no virtual one that another holds too.
    """
    if hcr & ~HCR_OF_THE_HOST:
        return False
    live = [word for word in list_registers if ListRegister.State.get(word)]
    named = {ListRegister.vINTID.get(word) for word in live}
    return len(named) == len(live) and not any(ListRegister.HW.get(word) for word in live)
