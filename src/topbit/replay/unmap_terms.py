"""Which numbers stand for what unmaps do, and for what a map and its unmap share?"""

from __future__ import annotations

FITS, WRONG_SIZE, WRONG_WAY, TWICE, LONE = 0, 1, 2, 4, 8
"""What an unmap does: bits, of which it can have WRONG_SIZE and WRONG_WAY together."""
MISFIT = WRONG_SIZE | WRONG_WAY | TWICE

NOTHING = 0xFFFF_FFFF_FFFF_FFFF
"""Stands for a size that is not told."""

SIZE, WAY, MIX = 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0xD6E8FEB86659FD93
FOLD = 32
"""What makes one number of a size and a direction."""
