"""Which columns do many records of one event make at once?

Records of the few events that make up nearly all of a trace. Those in which anything is out of the
ordinary are told apart, and left to `raw_event`.

Sources: Linux 7.2 include/trace/events/{dma,swiotlb}.h.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from topbit.readers.bulk.names import LONGEST as LONGEST_NAME
from topbit.readers.bulk.names import NONE, Names
from topbit.readers.bulk.words import FIRST_OF, MARGIN, U64, WORD, Mask, Places, Words
from topbit.readers.columns import BITS, EXACT, HAS, Columns, Piece
from topbit.readers.growing import Array
from topbit.readers.trace_dat.event_format import Field, Format
from topbit.readers.trace_dat.raw_event import (
    SINGLES,
    WAYS,
    attribute_words,
    bounced_fields,
    reader_of,
    single_fields,
)
from topbit.recording.schema import DMA_MAPPING_ERROR, ERROR

_UNKNOWN = -1
LONGEST = MARGIN
"""Bytes that a record's fields reach to at most; what is longer is read one by one."""


@dataclass(frozen=True, slots=True)
class _Form:
    """What is one event's form?

    Attributes:
        event: kind of the event that it tells.
        fields: where its fields stand, as `single_fields` or `bounced_fields` has them.
        detail: of the event.
        attributes: the words of a value of `attrs`.
    """

    event: str
    fields: list[Field | None]
    detail: str | None
    attributes: Callable[[int], str | None]

    @property
    def needed(self) -> int:
        """How many bytes must a record have?"""
        return max(field.offset + field.size for field in self.fields if field is not None)


class BulkDecoder:
    """Who turns records into columns, many at a time?

    Args:
        formats: of the events, by number.
        columns: where the events go, whose vocabularies the pieces are of.
    """

    def __init__(self, formats: dict[int, Format], columns: Columns) -> None:
        self._columns = columns
        self._lock = threading.Lock()  # of the vocabularies
        self._devices = Names()
        self._device_numbers = np.array([_UNKNOWN], np.int32)
        self._forms: dict[int, _Form] = {}
        for number, format_ in formats.items():
            fields, detail = None, None
            if format_.name in SINGLES:
                fields, event = single_fields(format_), SINGLES[format_.name]
                if event == "dma_sync":
                    detail = format_.name.rsplit("single_", 1)[-1]
            elif (event := format_.name) == "swiotlb_bounced":
                fields = bounced_fields(format_)
            if fields is not None and reader_of(fields) is not None:
                form = _Form(event, fields, detail, attribute_words(format_))
                if form.needed <= LONGEST:
                    self._forms[number] = form

    @property
    def numbers(self) -> frozenset[int]:
        """Which events' records can be read here?"""
        return frozenset(self._forms)

    def piece(
        self, number: int, words: Words, begins: Places, sizes: Places, seconds: Array | None
    ) -> tuple[Piece, Mask]:
        """Which events tell these records of the event of this number, and which are odd?

        Of odd ones the piece holds rows that mean nothing. `seconds`: their times, if the clock
        counts time at all.
        """
        form = self._forms[number]
        good = sizes >= form.needed
        taken = _values(words, begins, form.fields)
        columns: dict[str, Array] = {}
        columns["device"], known = self._device(words, begins, sizes, taken[0])
        good &= known
        if form.event == "swiotlb_bounced":
            _, columns["mask"], columns["phys"], columns["size"], force = taken
            how = [self._number("status", word) for word in ("NORMAL", "FORCE")]
            columns["status"] = np.array(how, np.uint8)[(force != 0).astype(np.int64)]
        else:
            self._range(form, taken, columns)
            good &= taken[3] < len(WAYS)
        same = {"agent": "guest", "event": form.event, "detail": form.detail}
        for name, word in same.items():
            columns[name] = _same(np.uint8(self._number(name, word)), len(begins))
        if seconds is not None:
            columns["time"] = seconds
            columns[EXACT] = _same(np.uint8(self._number(EXACT, "yes")), len(begins))
        has = sum(int(BITS[name]) for name in BITS if name in columns or name == "line")
        columns[HAS] = _same(np.uint16(has), len(begins))
        return Piece(len(begins), columns), ~good

    def _range(self, form: _Form, taken: list[U64], columns: dict[str, Array]) -> None:
        """The columns of the mapping, unmapping or sync of one range."""
        _, columns["address"], columns["size"], way, phys, attrs = taken
        ways = [self._number("direction", word) for word in WAYS]
        columns["direction"] = np.array(ways, np.uint8)[np.minimum(way, 3).astype(np.int64)]
        if form.event == "dma_map":
            columns["phys"] = phys
            failed = columns["address"] == DMA_MAPPING_ERROR
            columns["status"] = np.where(
                failed, np.uint8(self._number("status", ERROR)), np.uint8(0)
            )
        if form.fields[5] is not None:
            values, inverse = np.unique(attrs, return_inverse=True)
            numbers = [self._number("attrs", form.attributes(value)) for value in values.tolist()]
            columns["attrs"] = np.array(numbers, np.uint16)[inverse]

    def _number(self, column: str, word: str | None) -> int:
        with self._lock:
            return self._columns.words[column].number(word)

    def _device(
        self, words: Words, begins: Places, sizes: Places, where: U64
    ) -> tuple[Array, Mask]:
        """Which devices are named, and which names are the usual ones?"""
        if len(where) > 1 and self._are_alike(words, begins, where):
            found, usual = self._device(words, begins[:1], sizes[:1], where[:1])
            end = int(where[0] & np.uint64(0xFFFF)) + int(where[0] >> np.uint64(16))
            return _same(found[0], len(where)), (sizes >= end) & usual
        offset = (where & np.uint64(0xFFFF)).astype(np.int64)
        length = (where >> np.uint64(16)).astype(np.int64)
        inside = offset + length <= sizes
        start = begins + np.where(inside, offset, 0)
        codes = self._devices.encode(words, start, start + np.where(inside, length, 0))
        numbers, count = self._device_numbers, len(self._devices.texts)
        if len(numbers) < count:
            new = self._devices.texts[len(numbers) : count]
            told = np.array([self._known_device(text) for text in new], np.int32)
            self._device_numbers = numbers = np.concatenate((numbers, told))
        found = numbers[codes]
        return np.maximum(found, 0).astype(np.uint16), inside & (found > NONE)

    def _are_alike(self, words: Words, begins: Places, where: U64) -> bool:
        """Do all of these records hold the same name at the same place, as far as they tell?"""
        offset, length = int(where[0]) & 0xFFFF, int(where[0]) >> 16
        if not 0 < length <= LONGEST_NAME or offset + length > LONGEST or (where != where[0]).any():
            return False
        count = -(-length // WORD)
        names = words.several(np.minimum(begins + offset, len(words.text) - LONGEST), count)
        names[:, -1] &= FIRST_OF[length - WORD * (count - 1)]
        return all((names[:, number] == names[0, number]).all() for number in range(count))

    def _known_device(self, raw: str) -> int:
        name = raw.split("\0")[0]
        usual = name.isascii() and name.isprintable() and name and " " not in name
        return self._number("device", name) if usual else _UNKNOWN


def _same(value: np.generic, count: int) -> Array:
    """A column of one value in all rows; it takes no memory."""
    return np.broadcast_to(value, count)


def _values(words: Words, begins: Places, fields: list[Field | None]) -> list[U64]:
    """What stands in these fields of each record? 0 in one that there is not."""
    there = [field for field in fields if field is not None]
    first = min(field.offset for field in there)
    count = -(-(max(field.offset + field.size for field in there) - first) // WORD)
    # A record can be too short for its fields, and stand at the end.
    places = np.minimum(begins + first, len(words.text) - count * WORD)
    rows = words.several(places, count)
    found = []
    for field in fields:
        if field is None:
            found.append(np.zeros(len(begins), np.uint64))
            continue
        number, bits = divmod(8 * (field.offset - first), 64)
        unused = 64 - 8 * field.size
        values = rows[:, number].copy()
        if bits > unused:
            # It ends in the next word.
            values >>= np.uint64(bits)
            values |= rows[:, number + 1] << np.uint64(64 - bits)
            bits = 0
        if unused:
            values <<= np.uint64(unused - bits)
            values >>= np.uint64(unused)
        found.append(values)
    return found
