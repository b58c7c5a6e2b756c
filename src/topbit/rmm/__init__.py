"""The Realm Management Monitor: who owns each granule, and what does each Realm's table say?

Belongs here: granule states and their physical address spaces, Realm translation tables, Realm
and REC life cycles, the handlers of RMI (called by the host) and RSI (called by the Realm),
measurement and attestation.
Does not belong here: policy. What the host asks for, and when, is `vmm/`; what the guest does
with its addresses is `linux/`; which number names which command is `arch/`.
"""

from topbit.rmm.device import RealmSmmu
from topbit.rmm.exit import Sea, Translated
from topbit.rmm.granules import GranuleProtectionFault, Granules, State
from topbit.rmm.monitor import Rmm
from topbit.rmm.rec_run import Exit, Resume

__all__ = [
    "Exit",
    "GranuleProtectionFault",
    "Granules",
    "RealmSmmu",
    "Resume",
    "Rmm",
    "Sea",
    "State",
    "Translated",
]
