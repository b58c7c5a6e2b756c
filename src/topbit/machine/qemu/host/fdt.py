"""What does a flattened device tree say, and how is a changed one written?

Devicetree Specification v0.4, chapter 5. Nodes and properties keep their order, so that an
unchanged tree comes out as it went in.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from topbit.errors import InputError

MAGIC = 0xD00DFEED
BEGIN_NODE, END_NODE, PROP, NOP, END = 1, 2, 3, 4, 9
VERSION, LAST_COMPATIBLE = 17, 16
HEADER = struct.Struct(">10I")


@dataclass(slots=True)
class Node:
    """What does a node of the tree hold? Property values are the bytes as they stand in the tree.

    Attributes:
        name: with its unit address, such as ``memory@40000000``; empty for the root.
    """

    name: str
    properties: dict[str, bytes] = field(default_factory=dict)
    children: list[Node] = field(default_factory=list)

    def child(self, name: str) -> Node:
        """Which child has this name, or this name before the ``@``? KeyError if there is none."""
        for child in self.children:
            if name in (child.name, child.name.partition("@")[0]):
                return child
        raise KeyError(f"{self.name or '/'} has no node {name}")

    def walk(self) -> Iterator[Node]:
        """Which nodes are here and below? A node comes before its children."""
        yield self
        for child in self.children:
            yield from child.walk()

    def remove(self, *, compatible: str) -> int:
        """Remove the nodes below that are `compatible` with this; returns how many there were."""
        fitting = [child for child in self.children if child.is_compatible(compatible)]
        self.children = [child for child in self.children if child not in fitting]
        return len(fitting) + sum(child.remove(compatible=compatible) for child in self.children)

    def is_compatible(self, name: str) -> bool:
        """Is `name` one of the strings of the ``compatible`` property?"""
        return name.encode() in self.properties.get("compatible", b"").split(b"\0")

    def cells(self, name: str) -> tuple[int, ...]:
        """Which 32-bit numbers does a property hold?"""
        value = self.properties[name]
        return struct.unpack(f">{len(value) // 4}I", value)


@dataclass(slots=True)
class Tree:
    """What is the whole: the root, the reserved memory ranges (address, size), the boot CPU?"""

    root: Node
    reserved: list[tuple[int, int]] = field(default_factory=list)
    boot_cpu: int = 0


def cells(*values: int) -> bytes:
    """Which property value holds these 32-bit numbers?"""
    return struct.pack(f">{len(values)}I", *values)


def cells64(*values: int) -> bytes:
    """Which property value holds these 64-bit numbers, two cells each?"""
    return struct.pack(f">{len(values)}Q", *values)


def text(*values: str) -> bytes:
    """Which property value holds these strings?"""
    return b"".join(value.encode() + b"\0" for value in values)


def parse(blob: bytes, where: str = "device tree") -> Tree:
    """Which tree is in this blob?

    Raises:
        InputError: it is not a device tree of version 17, or it is cut off.
    """
    try:
        magic, _, struct_at, strings_at, reserved_at, version, last, boot_cpu, _, _ = (
            HEADER.unpack_from(blob)
        )
        if magic != MAGIC or last > VERSION or version < LAST_COMPATIBLE:
            raise InputError("is not a flattened device tree", where=where)
        return Tree(
            _Reader(blob, struct_at, strings_at).root(), _reserved(blob, reserved_at), boot_cpu
        )
    except (struct.error, IndexError, ValueError) as error:
        raise InputError(f"is a damaged device tree: {error}", where=where) from error


def pack(tree: Tree) -> bytes:
    """Which blob holds this tree? Version 17, strings shared."""
    strings: dict[str, int] = {}
    block = bytearray()
    string_block = bytearray()

    def string(name: str) -> int:
        if name not in strings:
            strings[name] = len(string_block)
            string_block.extend(name.encode() + b"\0")
        return strings[name]

    def node(item: Node) -> None:
        block.extend(cells(BEGIN_NODE) + _aligned(text(item.name)))
        for name, value in item.properties.items():
            block.extend(cells(PROP, len(value), string(name)) + _aligned(value))
        for child in item.children:
            node(child)
        block.extend(cells(END_NODE))

    node(tree.root)
    block.extend(cells(END))
    reserved = b"".join(cells64(*entry) for entry in [*tree.reserved, (0, 0)])
    reserved_at = HEADER.size
    struct_at = reserved_at + len(reserved)
    strings_at = struct_at + len(block)
    total = strings_at + len(string_block)
    header = HEADER.pack(
        *(MAGIC, total, struct_at, strings_at, reserved_at, VERSION, LAST_COMPATIBLE),
        *(tree.boot_cpu, len(string_block), len(block)),
    )
    return header + reserved + bytes(block) + bytes(string_block)


class _Reader:
    """Reads the structure block: one token after the other."""

    def __init__(self, blob: bytes, at: int, strings_at: int) -> None:
        self.blob, self.at, self.strings_at = blob, at, strings_at

    def root(self) -> Node:
        if self._token() != BEGIN_NODE:
            raise ValueError("no root node")
        root = self._node(0)
        if self._token() != END:
            raise ValueError("text after the root node")
        return root

    def _node(self, depth: int) -> Node:
        if depth > 64:
            raise ValueError("nodes are nested too deeply")
        node = Node(self._string(self.at))
        self.at += (len(node.name) + 4) & ~3
        while (token := self._token()) != END_NODE:
            if token == BEGIN_NODE:
                node.children.append(self._node(depth + 1))
            elif token == PROP:
                length, name_at = struct.unpack_from(">II", self.blob, self.at)
                self.at += 8
                if self.at + length > len(self.blob):
                    raise ValueError("a property reaches beyond the end")
                value = self.blob[self.at : self.at + length]
                node.properties[self._string(self.strings_at + name_at)] = value
                self.at += (length + 3) & ~3
            else:
                raise ValueError(f"unknown token {token}")
        return node

    def _token(self) -> int:
        token = NOP
        while token == NOP:
            (token,) = struct.unpack_from(">I", self.blob, self.at)
            self.at += 4
        return int(token)

    def _string(self, at: int) -> str:
        return self.blob[at : self.blob.index(0, at)].decode("ascii")


def _reserved(blob: bytes, at: int) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    while (entry := struct.unpack_from(">QQ", blob, at)) != (0, 0):
        found.append(entry)
        at += 16
    return found


def _aligned(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
