"""Kernel images as small as a reader of them accepts."""

import struct
from pathlib import Path

BANNER = b"Linux version 6.18.15+deb13-cloud-arm64 (debian-kernel@lists.debian.org) #1"
RSI = b"\0016RME: Using RSI version %lu.%lu\n\0"


def image(text: bytes = BANNER + b"\0" + RSI, flags: int = 0b1010) -> bytes:
    header = struct.pack("<IIQQQQQQ4sI", 0, 0, 0, 0x10000, flags, 0, 0, 0, b"ARM\x64", 0)
    return header + text + bytes(4096)


def written(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "Image"
    path.write_bytes(data)
    return path
