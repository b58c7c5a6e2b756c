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

from topbit.readers.bulk.names import NONE, Names
from topbit.readers.bulk.words import U64, Mask, Places, Words
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
                self._forms[number] = _Form(event, fields, detail, attribute_words(format_))

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
        taken = [_values(words, begins, field) for field in form.fields]
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
            columns[name] = np.full(len(begins), self._number(name, word), np.uint8)
        if seconds is not None:
            columns["time"] = seconds
            columns[EXACT] = np.full(len(begins), self._number(EXACT, "yes"), np.uint8)
        has = sum(int(BITS[name]) for name in BITS if name in columns or name == "line")
        columns[HAS] = np.full(len(begins), has, np.uint16)
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

    def _known_device(self, raw: str) -> int:
        name = raw.split("\0")[0]
        usual = name.isascii() and name.isprintable() and name and " " not in name
        return self._number("device", name) if usual else _UNKNOWN


def _values(words: Words, begins: Places, field: Field | None) -> U64:
    """What stands in a field of each record?"""
    if field is None:
        return np.zeros(len(begins), np.uint64)
    unused = np.uint64(8 * (8 - field.size))
    # A record can be too short for its field, and stand at the end.
    places = np.minimum(begins + field.offset, len(words.text) - 8)
    found: U64 = words.at(places) << unused >> unused
    return found
