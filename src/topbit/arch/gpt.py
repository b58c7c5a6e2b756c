"""Which granule protection table entry says which physical address space a granule is in?

Source: Arm DDI0487, "The Granule Protection Check Mechanism" (D9), GPT formats: a level 0 entry is
a block (one GPI for its whole range) or points to a level 1 table, of which each 64-bit entry
holds the GPIs of 16 granules, lowest address in the lowest bits.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from topbit.arch.ipa import Pa


class GPI(IntEnum):
    """In which physical address space (PAS) is a granule? The 4-bit GPI encoding."""

    NO_ACCESS = 0x0
    SECURE = 0x8
    NS = 0x9
    ROOT = 0xA
    REALM = 0xB
    ANY = 0xF


class PAS(IntEnum):
    """In which physical address space does an agent make an access? (NSE:NS)"""

    SECURE = 0b00
    NS = 0b01
    ROOT = 0b10
    REALM = 0b11


GPI_OF_PAS = {PAS.SECURE: GPI.SECURE, PAS.NS: GPI.NS, PAS.ROOT: GPI.ROOT, PAS.REALM: GPI.REALM}

L0_TABLE = 0b0011
GPIS_PER_ENTRY = 16
FSC_GPF = 0x28  # granule protection fault, not on a translation table walk


def l0_table(pa: Pa) -> int:
    """Which level 0 entry points to the level 1 table at `pa`?"""
    return L0_TABLE | pa


def l1_entries(gpis: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Which level 1 entries hold these GPIs? `gpis`: one per granule, a multiple of 16 of them."""
    pairs = gpis.astype(np.uint8).reshape(-1, 2)
    return (pairs[:, 0] | pairs[:, 1] << 4).astype(np.uint8).view("<u8").astype(np.uint64)


def l1_gpi(entry: int, granule: int) -> int:
    """What is the GPI of granule number `granule` (0..15) in a level 1 entry?"""
    return entry >> (4 * granule) & 0xF
