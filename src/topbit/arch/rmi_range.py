"""How do calls of RMI 2.0 name physical memory: by descriptors of ranges, and by requests for it?

Source: Arm DEN0137 2.0 beta 0, RmiAddrRangeDesc4KB, RmiOpMemDonateReq, RmiResult; 2.0-bet3 for
the wider state.
"""

from __future__ import annotations

from enum import IntEnum

from topbit.arch.bitfield import Field, Layout, aligned, bit, bits
from topbit.arch.rmi import RmiStatus


class AddrRange(Layout):
    """Which physical blocks does one range descriptor name? (RmiAddrRangeDesc4KB, 2.0)"""

    SIZE = bits(1, 0)  # 0: 4 KiB (level 3), 1: 2 MiB, 2: 1 GiB
    COUNT = bits(11, 2)
    ADDR = aligned(51, 12)
    STATE = bit(63)

    DELEGATED = 0
    UNDELEGATED = 1
    MAX_COUNT = 1023


STATE_BET3: Field = bits(63, 62)
"""Which bits hold the state of a descriptor in 2.0-bet3?"""


class MapFlags(Layout):
    """What do the flags of the 2.0 map and unmap calls say? (MEMATTR, S2AP: RTT_UNPROT_MAP)"""

    OADDR_TYPE = bits(1, 0)
    LIST_COUNT = bits(15, 2)
    MEMATTR = bits(18, 16)
    S2AP_WRITE = bit(19)
    S2AP_READ = bit(20)
    S2AP_INDEX = bits(22, 21)  # the rest of an index, where permissions are indirect

    NONE = 0
    SINGLE = 1
    LIST = 2


class MemoryRequest(Layout):
    """Which memory does a stateful operation ask the host for? (RmiOpMemDonateReq, X2)"""

    BLK_SIZE = bits(1, 0)
    BLK_COUNT = bits(15, 2)
    CONTIG = bit(16)
    MEM_STATE = bit(17)  # 0: delegated


class Transfer(IntEnum):
    """What does an unfinished operation want next? (RmiResult with RMI_INCOMPLETE, X0[9:8])"""

    NONE = 0
    DONATE = 1
    RECLAIM = 2


def incomplete(transfer: int) -> int:
    """Which X0 says that an operation goes on, with this transfer of memory?"""
    return int(RmiStatus.INCOMPLETE) | transfer << 8


def transfer(result: int) -> Transfer:
    """Which transfer of memory does X0 ask for, whose status is RMI_INCOMPLETE?"""
    return Transfer(result >> 8 & 3)
