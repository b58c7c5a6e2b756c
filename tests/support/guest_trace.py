"""The trace of a guest: an event of a form that is short, and a record of it."""

from __future__ import annotations

import struct

FORMATS = (
    b"name: dma_free_sgt\nID: 3\nformat:\n"
    b"\tfield:__data_loc char[] device;\toffset:8;\tsize:4;\tsigned:0;\n"
    b"\tfield:__data_loc u64[] phys_addrs;\toffset:12;\tsize:4;\tsigned:0;\n"
    b"\tfield:u64 dma_addr;\toffset:16;\tsize:8;\tsigned:0;\n"
    b"\tfield:size_t size;\toffset:24;\tsize:8;\tsigned:0;\n"
    b"\tfield:enum dma_data_direction dir;\toffset:32;\tsize:4;\tsigned:0;\n"
)
RECORD = struct.pack("<HBBiIIQQI", 3, 0, 0, 1, 2 << 16 | 36, 0, 0x100_4000_0000, 4096, 1) + b"d\0"
