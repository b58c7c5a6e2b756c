"""Which platform does the JSON in a recording's metadata describe?

Whoever wrote the file is not trusted: every value must be of the type that the field says, every
number in range, and the whole no larger than `LARGEST`. Unknown keys, of later versions, are left
out; what earlier versions did not write is filled in.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from typing import Any, NoReturn

from topbit.arch.ipa import IPA_BITS_MAX, IPA_BITS_MIN
from topbit.recording.platform import ROLES, Platform

LARGEST = 16 << 20
"""Characters of JSON."""
U64_MAX = (1 << 64) - 1
RANGES = {
    "ipa_bits": (IPA_BITS_MIN, IPA_BITS_MAX),
    "c_bit": (0, 63),
    "sid": (0, (1 << 32) - 1),
}
"""Smallest and largest value of fields that are narrower than 64 bits."""
CHOICES: dict[str, tuple[str, ...]] = {"role": ROLES}


def platform_of(text: str) -> Platform:
    """Which platform does the JSON describe?

    Raises:
        ValueError: not such a form; the message names the key.
    """
    if len(text) > LARGEST:
        raise ValueError(f"its platform is {len(text)} characters long")
    try:
        data = json.loads(text, parse_constant=_no_number)
    except RecursionError as error:
        raise ValueError("its platform is nested too deeply") from error
    if isinstance(data, dict):
        _fill_in(data)
    platform: Platform = _dataclass(Platform, data, "platform")
    return platform


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"its platform holds {name}, which is no number")


def _fill_in(data: dict[str, Any]) -> None:
    """Add the origins that recordings before format 2 did not have."""
    if "origins" in data:
        return
    told = data.pop("ipa_bits_from", "")
    known = "scenario" if data.get("machine") in ("model", "qemu") else "recording"
    names = ("scheme", "realm", "ipa_bits", "kernel", "ram", "pools")
    data["origins"] = {name: known for name in names if data.get(name) not in (None, [])}
    if told == "inferred" and "ipa_bits" in data["origins"]:
        data["origins"]["ipa_bits"] = "inferred: as the recording says"
    elif told == "option":
        data["origins"]["ipa_bits"] = "option"


def _dataclass(kind: Any, data: object, where: str) -> Any:
    if not isinstance(data, dict):
        raise ValueError(f"{where} is no object")
    hints = typing.get_type_hints(kind)
    values = {
        field.name: _value(hints[field.name], data[field.name], f"{where}.{field.name}")
        for field in dataclasses.fields(kind)
        if field.name in data
    }
    try:
        return kind(**values)
    except TypeError as error:
        raise ValueError(f"{where}: {error}") from error


def _value(hint: Any, data: object, where: str) -> Any:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return None if data is None else _value(inner[0], data, where)
    if origin is list:
        return [_value(inner[0], entry, f"{where}[{n}]") for n, entry in _entries(data, where)]
    if origin is tuple:
        entries = _entries(data, where)
        if len(entries) != len(inner):
            raise ValueError(f"{where} has {len(entries)} entries, not {len(inner)}")
        return tuple(
            _value(hint, entry, where) for hint, (_, entry) in zip(inner, entries, strict=True)
        )
    if origin is dict:
        if not isinstance(data, dict):
            raise ValueError(f"{where} is no object")
        return {key: _value(inner[1], entry, f"{where}.{key}") for key, entry in data.items()}
    if dataclasses.is_dataclass(hint):
        return _dataclass(hint, data, where)
    return _plain(hint, data, where)


def _entries(data: object, where: str) -> list[tuple[int, object]]:
    if not isinstance(data, list):
        raise ValueError(f"{where} is no list")
    return list(enumerate(data))


def _plain(hint: Any, data: object, where: str) -> Any:
    # In Python a bool is an int, in JSON it is none.
    if type(data) is not hint:
        raise ValueError(f"{where} is {json.dumps(data)[:40]}, not a {hint.__name__}")
    name = where.rpartition(".")[2]
    if hint is int:
        low, high = RANGES.get(name, (0, U64_MAX))
        if not low <= typing.cast(int, data) <= high:
            raise ValueError(f"{where} is {data}, not in {low} to {high}")
    elif name in CHOICES and data not in CHOICES[name]:
        raise ValueError(f"{where} is {data!r}, none of {', '.join(CHOICES[name])}")
    return data
