"""Which bits of a structure hold which field? One declarative helper for every format.

A format is a class whose attributes are `bits(hi, lo)` or `bit(n)`, named as the specification
names them, with `word=` for structures of several 64-bit words:

    class STE(Layout, words=8):
        V = bit(0)
        Config = bits(3, 1)
        S2VMID = bits(15, 0, word=2)

    ste = STE(V=1, Config=6)      # fields by name; the others are zero
    ste.Config                    # 6
    ste.S2VMID = 7                # ValueError if it does not fit
    ste.pack()                    # 64 bytes, little-endian
    STE.unpack(data).Config
    STE.Config.get(word)          # on plain ints and on uint64 arrays alike

`aligned(hi, lo)` is a field that holds an address: its value keeps its low zero bits.
"""

from __future__ import annotations

import struct
from typing import Any, ClassVar, Self, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T", int, NDArray[np.uint64])


class Field:
    """Which bits of which word does a field take, and what is its value?

    Args:
        hi, lo: most and least significant bit.
        word: index of the 64-bit word of the structure.
        shift: how far the value is shifted down when read (0 keeps an address as it stands).
    """

    __slots__ = ("hi", "lo", "mask", "name", "shift", "word")

    def __init__(self, hi: int, lo: int, word: int = 0, *, shift: int | None = None) -> None:
        if not 0 <= lo <= hi <= 63:
            raise ValueError(f"bits [{hi}:{lo}] do not lie in one 64-bit word")
        self.hi = hi
        self.lo = lo
        self.word = word
        self.shift = lo if shift is None else shift
        self.mask = ((1 << (hi - lo + 1)) - 1) << lo
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Field: ...
    @overload
    def __get__(self, instance: Layout, owner: type) -> int: ...
    def __get__(self, instance: Layout | None, owner: type) -> Field | int:
        if instance is None:
            return self
        return self.get(instance.words[self.word])

    def __set__(self, instance: Layout, value: int) -> None:
        instance.words[self.word] = self.put(instance.words[self.word], value)

    def get(self, word: T) -> T:
        """What is this field's value in `word`? `word`: an int or a uint64 array."""
        if isinstance(word, int):
            return (word & self.mask) >> self.shift
        return (word & np.uint64(self.mask)) >> np.uint64(self.shift)

    def put(self, word: int, value: int) -> int:
        """What is `word` with this field set to `value`?

        Raises:
            ValueError: the value does not fit the field.
        """
        placed = value << self.shift
        if value < 0 or placed & ~self.mask:
            raise ValueError(f"{self} cannot hold 0x{value:x}")
        return (word & ~self.mask) | placed

    def __str__(self) -> str:
        return f"{self.name}[{self.hi}:{self.lo}]"


def bits(hi: int, lo: int, word: int = 0) -> Field:
    """Declare the field [hi:lo] of the given 64-bit word, read as a number."""
    return Field(hi, lo, word)


def bit(n: int, word: int = 0) -> Field:
    """Declare the one-bit field [n] of the given 64-bit word."""
    return Field(n, n, word)


def aligned(hi: int, lo: int, word: int = 0) -> Field:
    """Declare a field whose value is an address: bits [hi:lo] in place, the rest zero."""
    return Field(hi, lo, word, shift=0)


class Layout:
    """What do the words of a structure say, field by field?

    Subclass with `words=N` for a structure of N little-endian 64-bit words.
    """

    WORDS: ClassVar[int] = 1
    FIELDS: ClassVar[dict[str, Field]] = {}

    __slots__ = ("words",)
    words: list[int]

    def __init_subclass__(cls, words: int = 1, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.WORDS = words
        cls.FIELDS = {k: v for k, v in vars(cls).items() if isinstance(v, Field)}

    def __init__(self, **fields: int) -> None:
        self.words = [0] * self.WORDS
        for name, value in fields.items():
            if name not in self.FIELDS:
                raise TypeError(f"{type(self).__name__} has no field {name!r}")
            setattr(self, name, value)

    @classmethod
    def of(cls, *words: int) -> Self:
        """Which structure do these 64-bit words spell?

        Raises:
            ValueError: not as many words as the structure has.
        """
        if len(words) != cls.WORDS:
            raise ValueError(f"{cls.__name__} has {cls.WORDS} words, got {len(words)}")
        self = cls()
        self.words[:] = words
        return self

    @classmethod
    def size(cls) -> int:
        """How many bytes does the structure take?"""
        return cls.WORDS * 8

    @classmethod
    def unpack(cls, data: bytes | bytearray | memoryview) -> Self:
        """Which structure do these little-endian bytes spell?

        Raises:
            ValueError: `data` is not exactly as long as the structure.
        """
        if len(data) != cls.WORDS * 8:
            raise ValueError(f"{cls.__name__} has {cls.WORDS * 8} bytes, got {len(data)}")
        return cls.of(*struct.unpack(f"<{cls.WORDS}Q", data))

    def pack(self) -> bytes:
        """Which little-endian bytes spell this structure?"""
        return struct.pack(f"<{self.WORDS}Q", *self.words)

    def fields(self) -> dict[str, int]:
        """What is the value of every field, by name?"""
        return {name: getattr(self, name) for name in self.FIELDS}

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.words == self.words

    def __hash__(self) -> int:
        return hash((type(self), tuple(self.words)))

    def __repr__(self) -> str:
        shown = " ".join(f"{k}=0x{v:x}" for k, v in self.fields().items() if v)
        return f"<{type(self).__name__} {shown}>"
