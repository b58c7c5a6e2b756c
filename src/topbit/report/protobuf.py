"""How is a message of Protocol Buffers written? As much of it as a trace needs.

Source: Protocol Buffers, "Encoding": a field is its number and wire type, then its value: a varint
(type 0), or a length and so many bytes (type 2).
"""

from __future__ import annotations


def varint(value: int) -> bytes:
    """How is a number below 2**64 written: seven bits a byte, the lowest first?"""
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


def number(field: int, value: int) -> bytes:
    """How is a field of an unsigned number, an enum or a bool written?"""
    return varint(field << 3) + varint(value)


def message(field: int, content: bytes) -> bytes:
    """How is a field of a message, or of bytes, written?"""
    return varint(field << 3 | 2) + varint(len(content)) + content


def text(field: int, content: str) -> bytes:
    """How is a field of text written?"""
    return message(field, content.encode("utf-8", "backslashreplace"))
